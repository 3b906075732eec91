"""Codex (ChatGPT) logins.

Owns: OpenAI's two ways to log in, its single-use refresh tokens and what its ID token tells, CLIProxyAPI's auth files (`type: codex`) under all the names
they had, and the limits of the plan. The device login is OpenAI's own: it ends in an authorization code, not in tokens.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth import device, refresh
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.grant import MAX_LIFETIME_SECONDS, Reading, lifetime_seconds, read_tokens
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, Pause, with_headers
from broker.oauth.sorting import Words, final_by_status, sort_failure
from broker.providers import fields, jwt, timestamps
from broker.providers.base import (
    Authorization,
    Client,
    DeviceCode,
    Document,
    Endpoints,
    Identity,
    Quota,
    QuotaWindow,
    Redirect,
    RefreshPolicy,
)
from broker.providers.flat import FlatProvider
from broker.providers.naming import file_piece
from broker.providers.setup import Setup

_DAY = 86_400.0

DEFAULTS = Setup(
    name="codex",
    title="Codex (ChatGPT)",
    client_id="app_EMoamEEZ73f0CkXaXp7hrann",
    endpoints=Endpoints(
        authorize_url="https://auth.openai.com/oauth/authorize",
        token_url="https://auth.openai.com/oauth/token",  # noqa: S106 - an address
        revoke_url="https://auth.openai.com/oauth/revoke",
        device_url="https://auth.openai.com/api/accounts/deviceauth/usercode",
        api_url="https://chatgpt.com/backend-api",
    ),
    scopes=("openid", "email", "profile", "offline_access"),
    # OpenAI takes `localhost` on these two ports and no other address.
    redirect=Redirect(host="localhost", port=1455, path="/auth/callback", fallback_ports=(1457,)),
    # CLIProxyAPI renews five days before the end: half of a token's ten days. Whoever is first leaves nothing for the other to spend.
    policy=RefreshPolicy(lead_seconds=5.5 * _DAY, lead_share=0.6, rotates=True, serial_group="codex"),
    # `prompt=login` keeps accounts apart: those of one browser session are reported to end each other.
    extra_params={"prompt": "login", "id_token_add_organizations": "true", "codex_cli_simplified_flow": "true"},
)
READING = Reading(
    words=Words(
        permanent=frozenset({"refresh_token_expired", "refresh_token_reused", "refresh_token_invalidated"}),
        limited=frozenset({"usage_limit_reached"}),
    )
)

_LIFETIME_SECONDS = 10 * _DAY  # where neither the answer nor the token says
_FINAL = frozenset({401})
_REFRESH_SCOPE = "openid profile email"
_AUTH_CLAIM, _PROFILE_CLAIM = "https://api.openai.com/auth", "https://api.openai.com/profile"

_DEVICE_SECONDS = 900.0
_INTERVAL_SECONDS, _INTERVAL_MAX_SECONDS, _STUMBLED_MAX_SECONDS = 5.0, 300.0, 60.0
_PENDING = frozenset({403, 404})
_REFUSING = frozenset({400, 401, 410})
_NOT_ENABLED = (
    "OpenAI offers no login by device code here: it is not enabled for the account; "
    "log in without --device, and with --no-browser where no browser can open"
)

_WINDOWS = {18_000: "5 hours", 604_800: "7 days"}


@dataclass(frozen=True, slots=True)
class Codex(FlatProvider):
    """The provider; see the module."""

    @property
    def fact_keys(self) -> tuple[str, ...]:
        """The one fact a file has as a field; the plan stands in the ID token."""
        return ("account_id",)

    # --- the file ---

    def read(self, document: Document, file_name: str) -> Record:
        """Read an auth file; raises FormatError."""
        record = FlatProvider.read(self, document, file_name)
        tokens = record.tokens
        if not tokens.expires_at:  # the file does not say when the token ends; the token does
            tokens = replace(tokens, expires_at=jwt.expiry(tokens.access_token) or tokens.expires_at)
        email = record.email or _email(jwt.claims(tokens.id_token))
        return replace(record, tokens=tokens, email=email, facts={**_facts(tokens.id_token), **record.facts})

    def write(self, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
        """Replace the grant; an ID token is part of it here, and brings the account id."""
        made = FlatProvider.write(self, document, tokens, now)
        fields.put_secret(made, "id_token", tokens.id_token, add=True)
        account = _facts(tokens.id_token).get("account_id")
        if account and not fields.get(made, "account_id"):
            made["account_id"] = account
        return made

    def file_name(self, record: Record, now: Now) -> str:  # noqa: ARG002 - the base's
        """Return CLIProxyAPI's name of today: `codex-<hash>-<email>-<plan>.json`, without what is not known."""
        account, plan = record.facts.get("account_id"), record.facts.get("plan", "")
        digest = hashlib.sha256(account.encode(errors="replace")).hexdigest()[:8] if account else ""
        who = file_piece(record.email or record.account.label) or "account"
        kind = re.sub(r"[^a-z0-9]+", "-", plan.lower()).strip("-")[:40]
        return "-".join(piece for piece in ("codex", digest, who, kind) if piece) + ".json"

    def blank(self, record: Record, client: Client, now: Now) -> dict[str, object]:  # noqa: ARG002 - the base's
        """Return a new file's document, in CLIProxyAPI's order of keys."""
        tokens = record.tokens
        return {
            "id_token": "",
            "access_token": "",
            "refresh_token": "",
            "account_id": record.facts.get("account_id", ""),
            "last_refresh": timestamps.write(now.wall),
            "email": record.email or "",
            "type": self.name,
            "expired": timestamps.write(tokens.expires_at) if tokens.expires_at is not None else "",
            "disabled": record.disabled,
        }

    # --- logging in ---

    def identify(self, tokens: Tokens, now: Now, project: str | None = None) -> PacedFlow[Identity]:  # noqa: ARG002 - the protocol's
        """Read who it is from the ID token."""
        yield from ()
        claims = jwt.claims(tokens.id_token)
        facts = _facts(tokens.id_token)
        notes = () if "account_id" in facts else ("OpenAI did not tell which ChatGPT account this is.",)
        return Identity(_email(claims), jwt.text_claim(claims, "sub"), facts, notes)

    def exchange(self, authorization: Authorization, given: Secret, client: Client, now: Now) -> Flow[Tokens]:
        """Exchange an authorization code; raises FlowFailedError."""
        return _ended((yield from FlatProvider.exchange(self, authorization, given, client, now)), now)

    def request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        """Ask for a code to show; raises FlowFailedError, as a refusal where such logins are not enabled."""
        return (yield from with_headers(self._request_code(client, now), self.headers))

    def poll(self, given: DeviceCode, client: Client, now: Callable[[], Now]) -> PacedFlow[Tokens]:
        """Wait for the person, then exchange the code that OpenAI hands out with its verifier; raises FlowFailedError."""
        answer = yield from with_headers(self._approved(given, now), self.headers)
        told = _body(answer)
        issued, verifier = _secret(told, "authorization_code"), _secret(told, "code_verifier")
        if issued is None or verifier is None:
            raise FlowFailedError(Transient("OpenAI approved the login and gave no code for it"))
        redirect = self._device_base() + "/deviceauth/callback"
        authorization = Authorization("", redirect, Secret(""), verifier)
        return (yield from self.exchange(authorization, issued, client, now()))

    def _request_code(self, client: Client, now: Now) -> Flow[DeviceCode]:
        answer = yield _json_post(self._device_url(), {"client_id": client.id})
        if answer.status == 404:
            raise FlowFailedError(Permanent(device.DENIED, _NOT_ENABLED))
        told = _body(answer)
        given = _secret(told, "device_auth_id")
        user_code = fields.hint(told, "user_code") or fields.hint(told, "usercode")
        if answer.status != 200 or given is None or user_code is None or len(user_code) > 64:
            failure = sort_failure(answer, now)
            lost = Transient("OpenAI answered without a device code")
            raise FlowFailedError(lost if isinstance(failure, AnswerLost) else failure)
        return DeviceCode(
            device_code=given,
            user_code=user_code,
            verification_uri=self._device_base() + "/codex/device",
            verification_uri_complete=None,
            expires_in=_device_life(told, now),
            interval=_interval(told.get("interval")),
        )

    def _approved(self, given: DeviceCode, now: Callable[[], Now]) -> PacedFlow[HttpResponse]:
        """Ask until the person has approved; return the answer that says so."""
        url = self._device_url().rpartition("/")[0] + "/token"
        body = {"device_auth_id": given.device_code, "user_code": given.user_code}
        pause, left = given.interval, given.expires_in
        while left > 0:
            left -= min(pause, left)
            yield Pause(pause)
            try:
                answer = yield _json_post(url, body)
            except FlowFailedError as error:
                pause = _stumbled(error.failure, pause)
                continue
            if answer.status == 200 and _secret(_body(answer), "authorization_code"):
                return answer
            pause = given.interval if answer.status in _PENDING else _stumbled(_judged(answer, now()), pause)
        raise FlowFailedError(Permanent(device.EXPIRED, "the code was not approved in time"))

    def _device_url(self) -> str:
        url = self.setup.endpoints.device_url
        if not url:
            raise FlowFailedError(Misconfigured("no_device_url", "no device_url is known for codex"))
        return url

    def _device_base(self) -> str:
        parts = urlsplit(self._device_url())
        return f"{parts.scheme}://{parts.netloc}"

    # --- afterwards ---

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        """Renew; what the answer leaves out is kept. Raises FlowFailedError."""
        return (yield from with_headers(self._refresh(record.tokens, client, now), self.headers))

    def _refresh(self, old: Tokens, client: Client, now: Now) -> Flow[Tokens]:
        client = self.setup.client(client)
        answer = yield refresh.request(self._token_url(), client, old, {"scope": _REFRESH_SCOPE})
        told = _body(answer) if answer.status == 200 else {}
        refresh_token, id_token = _secret(told, "refresh_token"), _secret(told, "id_token")
        if not fields.hint(told, "access_token") and (refresh_token or id_token):
            # Every field is optional. A new refresh token without an access token is still the only one that counts from now on.
            return replace(
                old,
                refresh_token=refresh_token or old.refresh_token,
                id_token=id_token or old.id_token,
                last_refresh=now.wall,
            )
        try:
            return _ended(read_tokens(answer, now, self.reading, old), now)
        except FlowFailedError as error:
            raise FlowFailedError(final_by_status(error.failure, answer, _FINAL, self.reading.words)) from None

    def revoke(self, record: Record, client: Client) -> HttpRequest | None:
        """Return the revocation request: JSON, not the form of RFC 7009."""
        url, tokens = self.setup.endpoints.revoke_url, record.tokens
        kind, token = (
            ("refresh_token", tokens.refresh_token) if tokens.refresh_token else ("access_token", tokens.access_token)
        )
        if not url or not token:
            return None
        body = {"token": token, "token_type_hint": kind, "client_id": client.id}
        return replace(_json_post(url, body), headers={**self.headers, "Accept": "application/json"})

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        """Return the flow that asks for the plan's limits; None where no endpoint is known."""
        base = self.setup.endpoints.api_url
        return with_headers(_quota(base, record, now), self.headers) if base else None


def _quota(base: str, record: Record, now: Now) -> Flow[Quota]:
    bearer, account = record.tokens.access_token, record.facts.get("account_id")
    if not bearer:
        return Quota(notes=("There is no access token to ask with.",))
    headers = {"Accept": "application/json", **({"Chatgpt-Account-Id": account} if account else {})}
    answer = yield HttpRequest("GET", base.rstrip("/") + "/wham/usage", headers=headers, bearer=bearer)
    if answer.status != 200:
        raise FlowFailedError(sort_failure(answer, now))
    told = _body(answer)
    plan, limits = fields.hint(told, "plan_type"), told.get("rate_limit")
    limits = limits if isinstance(limits, Mapping) else {}
    found = (_window(limits.get(name), now) for name in ("primary_window", "secondary_window"))
    windows = tuple(window for window in found if window is not None)
    notes = ("The limit is reached.",) if limits.get("limit_reached") is True else ()
    if not windows and not plan:
        notes = ("OpenAI's answer holds no limits that could be read.",)
    return Quota(plan, windows, notes)


def _window(told: object, now: Now) -> QuotaWindow | None:
    if not isinstance(told, Mapping):
        return None
    used, length = lifetime_seconds(told.get("used_percent")), lifetime_seconds(told.get("limit_window_seconds"))
    at, after = timestamps.read(told.get("reset_at")), lifetime_seconds(told.get("reset_after_seconds"))
    resets = at.seconds if at else None if after is None else now.wall + after
    if used is None and resets is None:
        return None
    name = "limit" if length is None else _WINDOWS.get(int(length), f"{length / 3600:g} hours")
    return QuotaWindow(name, None if used is None else min(used / 100, 1.0), resets)


def _ended(tokens: Tokens, now: Now) -> Tokens:
    """Return a new grant whose end is known: by the answer, else by the token itself."""
    if tokens.expires_at is not None:
        return tokens
    told = jwt.expiry(tokens.access_token)
    ends = now.wall + _LIFETIME_SECONDS if told is None else min(told, now.wall + MAX_LIFETIME_SECONDS)
    return replace(tokens, expires_at=ends)


def _facts(id_token: Secret | None) -> dict[str, str]:
    told = jwt.claims(id_token).get(_AUTH_CLAIM)
    if not isinstance(told, Mapping):
        return {}
    found = {"account_id": fields.hint(told, "chatgpt_account_id"), "plan": fields.hint(told, "chatgpt_plan_type")}
    return {name: value for name, value in found.items() if value}


def _email(claims: Mapping[str, object]) -> str | None:
    profile = claims.get(_PROFILE_CLAIM)
    return fields.hint(claims, "email") or (fields.hint(profile, "email") if isinstance(profile, Mapping) else None)


def _judged(answer: HttpResponse, now: Now) -> Failure:
    """Return the failure a poll met; raise the one that ends the polling, as any refusal but "pending" does."""
    failure = sort_failure(answer, now)
    if isinstance(failure, Transient) and answer.status in _REFUSING:
        raise FlowFailedError(failure)
    return failure


def _stumbled(failure: Failure, pause: float) -> float:
    """Return the pause after a failure that decides nothing; raise what does."""
    match failure:
        case RateLimited(retry_after=seconds):
            return max(min(pause * 2, _STUMBLED_MAX_SECONDS), seconds or 0.0)
        case Transient() | AnswerLost():
            return min(pause * 2, _STUMBLED_MAX_SECONDS)
        case _:
            raise FlowFailedError(failure)


def _device_life(told: Document, now: Now) -> float:
    ends = timestamps.read(told.get("expires_at"))
    return _DEVICE_SECONDS if ends is None else min(max(ends.seconds - now.wall, 0.0), _DEVICE_SECONDS)


def _interval(value: object) -> float:
    seconds = lifetime_seconds(value)
    return _INTERVAL_SECONDS if seconds is None else min(max(seconds, 1.0), _INTERVAL_MAX_SECONDS)


def _json_post(url: str, body: Mapping[str, object]) -> HttpRequest:
    return HttpRequest("POST", url, headers={"Accept": "application/json"}, json=body)


def _body(answer: HttpResponse) -> Document:
    return answer.document() or {}


def _secret(told: Document, name: str) -> Secret | None:
    value = fields.hint(told, name)
    return Secret(value) if value and value.isprintable() else None
