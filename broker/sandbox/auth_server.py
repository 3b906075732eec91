"""The authorization server's HTTP side.

Owns: its routes and how requests are read. `grants` and `devices` decide, `documents` writes the answers, `wire` performs faults.
"""

import html
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import unquote_plus, urlencode

from aiohttp import web

from broker.model.secret import Secret
from broker.sandbox import documents, wire
from broker.sandbox.devices import Decision
from broker.sandbox.faults import ErrorStatus, Facts, Fault, RateLimit, Target, fault_name, forestalls
from broker.sandbox.grants import Alive, AuthorizationRequest, Client, GrantError, Issued
from broker.sandbox.stats import TokenPost
from broker.sandbox.world import World

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 section 5.1


class AuthServer:
    """The handlers, over one world."""

    def __init__(self, world: World) -> None:
        """Serve `world`."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        return [
            web.get("/authorize", self.authorize),
            web.post("/authorize", self.decide),
            web.post("/token", self.token),
            web.post("/revoke", self.revoke),
            web.post("/device_authorization", self.device_authorization),
            web.get("/device", self.device),
            web.post("/device", self.device_decide),
            web.get("/userinfo", self.userinfo),
            web.get("/.well-known/oauth-authorization-server", self.metadata),
            web.get("/.well-known/openid-configuration", self.metadata),
        ]

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """Approve or deny at once, or show the page that asks (RFC 6749 section 4.1.1)."""
        wire.note(self._world, request, None, None)
        params = dict(request.query)
        if refusal := self._refusal_page(params):
            return refusal
        settings = self._world.settings
        if settings.deny:
            return self._denied(params)
        if settings.auto_approve:
            return self._approved(params, params.get("sandbox_user") or self._world.next_user())
        shown = {k: v for k, v in params.items() if k != "sandbox_user"}
        return wire.html_response(documents.consent_page(shown, settings.users, params.get("scope", "").split()))

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Take the decision from the page."""
        try:
            params = await wire.read_params(request)
        except ValueError as error:
            return _bad_page(str(error))
        wire.note(self._world, request, params, None)
        if refusal := self._refusal_page(params):
            return refusal
        if params.get("decision") != "approve":
            return self._denied(params)
        return self._approved(params, params.get("sandbox_user") or self._world.next_user())

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Answer the token endpoint (RFC 6749 section 3.2), through the faults that wait for it."""
        try:
            params = await wire.read_params(request)
        except ValueError as error:
            self._count("", "invalid_request", None, None)
            return _refuse(GrantError("invalid_request", str(error)))
        grant_type = params.get("grant_type", "")
        user = self._owner(params)
        wire.note(self._world, request, params, user)
        fault = self._world.faults.take(Target.TOKEN, Facts(user=user, grant_type=grant_type))
        counted = False

        def count(outcome: str) -> None:
            nonlocal counted
            counted = True
            self._count(grant_type, outcome, fault, user)

        def work() -> web.Response:
            outcome, response = self._granted(request, params)
            count(outcome)
            return response

        if forestalls(fault):
            count("none")
        try:
            return await wire.under_fault(self._world, request, fault, work, _told_to_fail)
        finally:
            if not counted:  # the client left while a delay ran
                count("none")

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        """Revoke (RFC 7009): 200 whatever the token; credentials are checked only if they come, as Google does."""
        try:
            params = await wire.read_params(request)
        except ValueError as error:
            return _refuse(GrantError("invalid_request", str(error)))
        user = self._owner(params)
        wire.note(self._world, request, params, user)
        fault = self._world.faults.take(Target.REVOKE, Facts(user=user))
        return await wire.under_fault(
            self._world, request, fault, lambda: self._revoked(request, params), _told_to_fail
        )

    async def device_authorization(self, request: web.Request) -> web.StreamResponse:
        """Start a device login (RFC 8628 section 3.1)."""
        try:
            params = await wire.read_params(request)
            wire.note(self._world, request, params, None)
            client = self._client(request, params)
        except ValueError as error:
            return _refuse(GrantError("invalid_request", str(error)))
        except GrantError as error:
            return _refuse(error)
        scopes = tuple(params.get("scope", "").split())
        start = self._world.devices.start(client, scopes, self._world.clock.now())
        return wire.json_response(documents.device_answer(start, self._world.url), headers=_NO_STORE)

    async def device(self, request: web.Request) -> web.StreamResponse:
        """Show the page for a user code; with `user_code` given and auto-approval on, decide at once."""
        wire.note(self._world, request, None, None)
        settings = self._world.settings
        user_code = request.query.get("user_code", "")
        if user_code and (settings.auto_approve or settings.deny):
            decision = Decision.DENIED if settings.deny else Decision.APPROVED
            return self._decided(user_code, decision, request.query.get("sandbox_user"))
        return wire.html_response(documents.device_page(user_code, settings.users))

    async def device_decide(self, request: web.Request) -> web.StreamResponse:
        """Take the decision about a device from the page."""
        try:
            params = await wire.read_params(request)
        except ValueError as error:
            return _bad_page(str(error))
        wire.note(self._world, request, params, None)
        decision = Decision.APPROVED if params.get("decision") == "approve" else Decision.DENIED
        return self._decided(params.get("user_code", ""), decision, params.get("sandbox_user"))

    async def userinfo(self, request: web.Request) -> web.StreamResponse:
        """Tell whose access token it is."""
        token = bearer(request)
        user = self._world.grants.owner(token) if token else None
        wire.note(self._world, request, None, user)
        fault = self._world.faults.take(Target.USERINFO, Facts(user=user))
        return await wire.under_fault(self._world, request, fault, lambda: self._user_info(token), _told_to_fail)

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Describe the server (RFC 8414)."""
        wire.note(self._world, request, None, None)
        return wire.json_response(documents.metadata(self._world.url))

    def _refusal_page(self, params: Mapping[str, str]) -> web.Response | None:
        # Errors about the client or its redirect URI must never be sent to that URI (RFC 6749 section 4.1.2.1).
        try:
            self._world.grants.check_redirect(params.get("client_id", ""), params.get("redirect_uri", ""))
        except GrantError as error:
            return _bad_page(error.description)
        return None

    def _approved(self, params: Mapping[str, str], user: str) -> web.Response:
        try:
            wish = _authorization(params)
            code = self._world.grants.authorize(wish, user, self._world.clock.now())
        except GrantError as error:
            return self._back(params, {"error": error.error, "error_description": error.description})
        return self._back(params, documents.approval(code, wish.scopes))

    def _denied(self, params: Mapping[str, str]) -> web.Response:
        return self._back(params, {"error": "access_denied", "error_description": "The user refused."})

    def _back(self, params: Mapping[str, str], answer: dict[str, str]) -> web.Response:
        if state := params.get("state"):
            answer["state"] = state
        answer["iss"] = self._world.url  # RFC 9207
        uri = params["redirect_uri"]
        joint = "&" if "?" in uri else "?"
        return web.Response(status=302, headers={"Location": f"{uri}{joint}{urlencode(answer)}", **_NO_STORE})

    def _granted(self, request: web.Request, params: Mapping[str, str]) -> tuple[str, web.Response]:
        try:
            client = self._client(request, params)
            issued = self._issue(client, params)
        except GrantError as error:
            self._world.stats.reuse_detections += error.reuse
            return error.error, _refuse(error, basic="Authorization" in request.headers)
        body = documents.token_answer(
            issued,
            self._world.clock.now(),
            issuer=self._world.url,
            shape=self._world.settings.shape,
            presented=params.get("refresh_token"),
        )
        return "ok", wire.json_response(body, headers=_NO_STORE)

    def _issue(self, client: Client, params: Mapping[str, str]) -> Issued:
        now = self._world.clock.now()
        match params.get("grant_type"):
            case "authorization_code":
                verifier = Secret(params["code_verifier"]) if "code_verifier" in params else None
                code = Secret(_required(params, "code"))
                return self._world.grants.exchange(client, code, _required(params, "redirect_uri"), verifier, now)
            case "refresh_token":
                token = Secret(_required(params, "refresh_token"))
                return self._world.grants.refresh(client, token, now, tuple(params.get("scope", "").split()))
            case grant if grant == DEVICE_GRANT:
                device_code = Secret(_required(params, "device_code"))
                return self._world.devices.poll(self._world.grants, client, device_code, now)
            case None:
                raise GrantError("invalid_request", "Missing required parameter: grant_type")
            case other:
                raise GrantError("unsupported_grant_type", f"Invalid grant_type: {other[:80]}")

    def _client(self, request: web.Request, params: Mapping[str, str]) -> Client:
        # RFC 6749 section 2.3: HTTP Basic or body parameters, not both.
        in_header = _basic(request)
        if in_header is not None and "client_secret" in params:
            raise GrantError("invalid_request", "The client authenticates twice.")
        if in_header is not None:
            client_id, secret = in_header
            return self._world.grants.authenticate(client_id, secret)
        client_id = _required(params, "client_id")
        given = Secret(params["client_secret"]) if "client_secret" in params else None
        return self._world.grants.authenticate(client_id, given)

    def _revoked(self, request: web.Request, params: Mapping[str, str]) -> web.Response:
        try:
            if "client_id" in params or "Authorization" in request.headers:
                self._client(request, params)
            self._world.grants.revoke(Secret(_required(params, "token")))
        except GrantError as error:
            return _refuse(error)
        return web.Response(status=200)

    def _user_info(self, token: Secret | None) -> web.Response:
        standing = self._world.grants.introspect(token, self._world.clock.now()) if token else None
        if isinstance(standing, Alive):
            return wire.json_response(documents.user_info(standing))
        body = documents.error_answer("invalid_token", "The access token is missing, unknown, expired or revoked.")
        return wire.json_response(body, 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def _decided(self, user_code: str, decision: Decision, user: str | None) -> web.Response:
        who = user or self._world.next_user()
        if not self._world.devices.decide(user_code, decision, who, self._world.clock.now()):
            return _bad_page("This code is unknown, expired or used.")
        text = "approved" if decision is Decision.APPROVED else "denied"
        return wire.html_response(documents.page(f"Device {text}", "<p>You can close this window.</p>"))

    def _owner(self, params: Mapping[str, str]) -> str | None:
        for name in ("refresh_token", "code", "token"):
            if name in params:
                return self._world.grants.owner(Secret(params[name]))
        return None

    def _count(self, grant_type: str, outcome: str, fault: Fault | None, user: str | None) -> None:
        name = None if fault is None else fault_name(fault)
        self._world.stats.token_post(TokenPost(self._world.clock.now().wall, grant_type, outcome, name, user))


def bearer(request: web.Request) -> Secret | None:
    """Return the token of an `Authorization: Bearer` header."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return Secret(token.strip()) if scheme.lower() == "bearer" and token.strip() else None


def _authorization(params: Mapping[str, str]) -> AuthorizationRequest:
    if params.get("response_type") != "code":
        raise GrantError("unsupported_response_type", "Only response_type=code is supported.")
    challenge = params.get("code_challenge")
    if challenge is not None and params.get("code_challenge_method") != "S256":
        raise GrantError("invalid_request", "Only code_challenge_method=S256 is supported.")
    return AuthorizationRequest(
        client_id=params["client_id"],
        redirect_uri=params["redirect_uri"],
        scopes=tuple(params.get("scope", "").split()),
        challenge=challenge,
        offline=params.get("access_type") == "offline",
        prompt_consent="consent" in params.get("prompt", "").split(),
    )


def _required(params: Mapping[str, str], name: str) -> str:
    value = params.get(name)
    if not value:
        raise GrantError("invalid_request", f"Missing required parameter: {name}")
    return value


def _basic(request: web.Request) -> tuple[str, Secret] | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        colon = user = password = ""
    if not colon:
        raise GrantError("invalid_client", "The Authorization header is malformed.")
    return unquote_plus(user), Secret(unquote_plus(password))  # RFC 6749 section 2.3.1: both are form-encoded first


def _refuse(error: GrantError, *, basic: bool = False) -> web.Response:
    headers = dict(_NO_STORE)
    if basic and error.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="sandbox"'
    return wire.json_response(documents.error_answer(error.error, error.description), error.status, headers)


def _told_to_fail(fault: ErrorStatus | RateLimit) -> web.Response:
    if isinstance(fault, RateLimit):
        body = documents.error_answer("rate_limit_exceeded", "Too many requests.")
        return wire.json_response(body, 429, {"Retry-After": f"{fault.seconds:g}"})
    error = documents.oauth_error_for_status(fault.status)
    return wire.json_response(documents.error_answer(error.error, error.description), fault.status, _NO_STORE)


def _bad_page(reason: str) -> web.Response:
    return wire.html_response(documents.page("Request refused", f"<p>{html.escape(reason)}</p>"), 400)
