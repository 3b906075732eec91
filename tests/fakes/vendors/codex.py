"""OpenAI's authorization server as Codex meets it, its own device login, and the usage endpoint of ChatGPT."""

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from broker.providers.codex import DEFAULTS
from tests.fakes.clock import START_WALL
from tests.fakes.vendors.server import Fault, VendorServer, body_fields

EMAIL = "user@example.com"
ACCOUNT = "00000000-0000-4000-8000-000000000001"
SCOPES = "openid email profile offline_access"


def token(**claims: object) -> str:
    """An unsigned fake of a JSON Web Token."""
    pieces = (json.dumps(each).encode() for each in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in pieces) + ".fake"


def id_token(account: str | None = ACCOUNT, plan: str | None = "plus", email: str = EMAIL) -> str:
    told = {"chatgpt_account_id": account, "chatgpt_plan_type": plan, "organizations": []}
    auth = {name: value for name, value in told.items() if value is not None}
    return token(email=email, sub="fake|1", **{"https://api.openai.com/auth": auth})


class CodexVendor(VendorServer):
    """Wants PKCE kept and forms at the token endpoint, JSON elsewhere; each refresh token is good once."""

    name = "codex"
    refresh_path = "/oauth/token"
    poll_path = "/api/accounts/deviceauth/token"
    denial = None
    lifetime = 864_000.0

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, tuple[str, str]] = {}
        self.live: set[str] = set()
        self.spent: set[str] = set()
        self.access: set[str] = set()
        self.approved: set[str] = set()
        self.devices: dict[str, str] = {}
        self.device_enabled = True

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/oauth/authorize", self._authorize),
            web.post("/oauth/token", self._token),
            web.post("/oauth/revoke", self._revoke),
            web.post("/api/accounts/deviceauth/usercode", self._usercode),
            web.post("/api/accounts/deviceauth/token", self._device_token),
            web.get("/backend-api/wham/usage", self._usage),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.codex]\nauthorize_url = "{self.url}/oauth/authorize"\ntoken_url = "{self.url}/oauth/token"\n'
            f'revoke_url = "{self.url}/oauth/revoke"\napi_url = "{self.url}/backend-api"\n'
            f'device_url = "{self.url}/api/accounts/deviceauth/usercode"\n'
        )

    def reject(self) -> None:
        told = {"message": "Your refresh token has already been used.", "type": "invalid_request_error", "param": None}
        self.fail(self.refresh_path, Fault(401, json.dumps({"error": {**told, "code": "refresh_token_reused"}})))

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        assert (query["client_id"], query["response_type"]) == (DEFAULTS.client_id, "code")
        assert self.knows(query["redirect_uri"], "http://localhost:1455/auth/callback")
        assert (query["code_challenge_method"], query["scope"], query["prompt"]) == ("S256", SCOPES, "login")
        assert query["id_token_add_organizations"] == query["codex_cli_simplified_flow"] == "true"
        code = self._code(query["code_challenge"], query["redirect_uri"])
        raise web.HTTPFound(query["redirect_uri"] + "?" + urlencode({"state": query["state"], "code": code}))

    def _code(self, challenge: str, redirect: str) -> str:
        code = self.fresh("code")
        self.codes[code] = (challenge, redirect)
        return code

    async def _usercode(self, request: web.Request) -> web.Response:
        if not self.device_enabled:
            return web.Response(status=404, text="not found")
        assert request.content_type == "application/json"
        assert await body_fields(request) == {"client_id": DEFAULTS.client_id}
        device, user_code = self.fresh("device"), f"WXYZ-{len(self.devices):05}"
        self.devices[device] = user_code
        return web.json_response({"device_auth_id": device, "user_code": user_code, "interval": "1"})

    async def _device_token(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        fields = await body_fields(request)
        assert self.devices[str(fields["device_auth_id"])] == fields["user_code"]
        if fields["user_code"] not in self.approved:
            return web.json_response({"error": "pending"}, status=403 if len(self.seen) % 2 else 404)
        verifier = self.fresh("verifier") + "-" * 43
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        code = self._code(challenge, f"{self.url}/deviceauth/callback")
        return web.json_response({"authorization_code": code, "code_challenge": challenge, "code_verifier": verifier})

    async def _token(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-www-form-urlencoded"
        fields = {name: str(value) for name, value in (await body_fields(request)).items()}
        assert fields["client_id"] == DEFAULTS.client_id
        if fields["grant_type"] == "refresh_token":
            return self._renewed(fields)
        assert set(fields) == {"grant_type", "client_id", "code", "redirect_uri", "code_verifier"}
        challenge, redirect = self.codes.pop(fields["code"])
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge
        assert fields["redirect_uri"] == redirect
        return web.json_response({**self._grant(), "id_token": id_token(), "expires_in": self.lifetime})

    def _renewed(self, fields: dict[str, str]) -> web.Response:
        assert set(fields) == {"grant_type", "client_id", "refresh_token", "scope"}
        presented = fields["refresh_token"]
        if presented not in self.live:
            code = "refresh_token_reused" if presented in self.spent else "refresh_token_invalidated"
            return web.json_response({"error": {"message": "It is no more.", "code": code}}, status=400)
        self.live.discard(presented)
        self.spent.add(presented)
        return web.json_response(self._grant())  # no expires_in and no ID token: the one in the file stays

    def _grant(self) -> dict[str, object]:
        access = token(exp=int(START_WALL + self.lifetime), jti=self.fresh("access"))
        refresh = self.fresh("refresh")
        self.access.add(access)
        self.live.add(refresh)
        return {"access_token": access, "refresh_token": refresh}

    async def _revoke(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        fields = await body_fields(request)
        assert (fields["client_id"], fields["token_type_hint"]) == (DEFAULTS.client_id, "refresh_token")
        self.live.remove(str(fields["token"]))
        return web.json_response({})

    async def _usage(self, request: web.Request) -> web.Response:
        scheme, _, bearer = request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        assert bearer in self.access
        assert request.headers["Chatgpt-Account-Id"] == ACCOUNT
        window = {
            "used_percent": 42,
            "limit_window_seconds": 18_000,
            "reset_after_seconds": 600,
            "reset_at": 1_777_636_800,
        }
        week = {**window, "used_percent": 7.5, "limit_window_seconds": 604_800}
        limits = {"allowed": True, "limit_reached": False, "primary_window": window, "secondary_window": week}
        return web.json_response({"plan_type": "plus", "rate_limit": limits, "credits": None})
