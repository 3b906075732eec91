"""Anthropic's OAuth endpoints as Claude Code and CLIProxyAPI speak to them: JSON both ways, `state` in the exchange, single-use refresh tokens."""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.fakes.vendors.server import VendorServer, body_fields

CLIENT_ID = "9d1c250a-e61b-44d9-88ed-5944d1962f5e"
MANUAL_URI = "https://platform.claude.com/oauth/code/callback"
YEAR = 31_536_000
ACCOUNT = {"uuid": "11111111-aaaa-4aaa-8aaa-111111111111", "email": "user@example.com"}
ORGANIZATION = {
    "uuid": "22222222-bbbb-4bbb-8bbb-222222222222",
    "name": "Acme",
    "organization_type": "claude_max",
    "rate_limit_tier": "default_claude_max_20x",
}


class ClaudeVendor(VendorServer):
    """One person with one organisation."""

    name = "claude"
    refresh_path = "/v1/oauth/token"
    lifetime = 28_800.0

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, Mapping[str, str]] = {}
        self.refreshes: set[str] = set()
        self.scopes: dict[str, set[str]] = {}

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/oauth/authorize", self._authorize),
            web.post("/v1/oauth/token", self._token),
            web.post("/v1/oauth/token/revoke", self._revoke),
            web.get("/api/oauth/profile", self._profile),
            web.get("/api/oauth/usage", self._usage),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.claude]\nauthorize_url = "{self.url}/oauth/authorize"\ntoken_url = "{self.url}/v1/oauth/token"\n'
            f'revoke_url = "{self.url}/v1/oauth/token/revoke"\napi_url = "{self.url}"\n'
        )

    async def approve(self, url: str) -> str:
        """The manual page shows `code#state`; else the browser goes back to the callback."""
        async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
            assert answer.status in {200, 302}, await answer.text()
            return answer.headers["Location"] if answer.status == 302 else await answer.text()

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert query["code"] == "true"
        assert query["code_challenge_method"] == "S256"
        redirect = query["redirect_uri"]
        assert redirect == MANUAL_URI or self.knows(redirect, "http://localhost:54545/callback")
        code = secrets.token_urlsafe(12)
        self.codes[code] = query
        if redirect != MANUAL_URI:
            raise web.HTTPFound(redirect + "?" + urlencode({"code": code, "state": query["state"]}))
        return web.Response(text=f"{code}#{query['state']}")

    async def _token(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _refused("invalid_request_error", "JSON is wanted")
        fields = await body_fields(request)
        if fields.get("client_id") != CLIENT_ID:
            return web.json_response({"error": "invalid_client"}, status=400)
        match fields.get("grant_type"):
            case "authorization_code":
                return self._redeem(fields)
            case "refresh_token":
                return self._renew(fields)
        return _refused("invalid_request_error", "unknown grant")

    def _redeem(self, fields: Mapping[str, object]) -> web.Response:
        assert list(fields)[:6] == ["grant_type", "code", "redirect_uri", "client_id", "code_verifier", "state"]
        asked = self.codes.pop(str(fields["code"]), None)
        digest = hashlib.sha256(str(fields["code_verifier"]).encode()).digest()
        if (
            asked is None
            or asked["code_challenge"] != base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            or asked["redirect_uri"] != fields["redirect_uri"]
            or asked["state"] != fields["state"]
        ):
            return _refused("invalid_grant", "Invalid 'code' in request.")
        scopes = asked["scope"]
        if "expires_in" in fields:
            assert fields["expires_in"] == YEAR
            assert scopes == "user:inference"
        about = {
            "account": {"uuid": ACCOUNT["uuid"], "email_address": ACCOUNT["email"]},
            "organization": {"uuid": ORGANIZATION["uuid"], "name": ORGANIZATION["name"]},
        }
        return self._grant(scopes, about, renewable="expires_in" not in fields)

    def _renew(self, fields: Mapping[str, object]) -> web.Response:
        token = str(fields["refresh_token"])
        if token not in self.refreshes:
            return _refused("invalid_grant", "Refresh token not found or invalid")
        self.refreshes.remove(token)
        return self._grant(str(fields["scope"]), {}, renewable=True)

    def _grant(self, scopes: str, about: Mapping[str, object], *, renewable: bool) -> web.Response:
        access = self.fresh("access")
        self.scopes[access] = set(scopes.split())
        answer: dict[str, object] = {"token_type": "Bearer", "access_token": access, "scope": scopes, **about}
        answer["expires_in"] = self.lifetime if renewable else YEAR
        if renewable:
            answer["refresh_token"] = self.fresh("refresh")
            self.refreshes.add(str(answer["refresh_token"]))
        return web.json_response(answer)

    async def _revoke(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        assert request.content_type == "application/json"
        assert set(fields) == {"token", "token_type_hint", "client_id"}
        self.refreshes.discard(str(fields["token"]))
        self.scopes.pop(str(fields["token"]), None)
        return web.Response()

    async def _profile(self, request: web.Request) -> web.Response:
        return self._behind(request, {"account": ACCOUNT, "organization": ORGANIZATION})

    async def _usage(self, request: web.Request) -> web.Response:
        if request.headers.get("anthropic-beta") != "oauth-2025-04-20":
            return _refused("invalid_request_error", "beta")
        return self._behind(
            request,
            {
                "five_hour": {"utilization": 42.5, "resets_at": "2026-05-01T12:00:00.123+00:00"},
                "seven_day": {"utilization": 118, "resets_at": "2026-05-06T12:00:00+00:00"},
                "seven_day_opus": None,
                "extra_usage": {"is_enabled": False, "utilization": None},
            },
        )

    def _behind(self, request: web.Request, body: object) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.scopes:
            return _refused("authentication_error", "OAuth token has expired.", 401)
        if "user:profile" not in self.scopes[token]:
            return _refused("permission_error", "The token lacks user:profile", 403)
        return web.json_response(body)


def _refused(kind: str, message: str, status: int = 400) -> web.Response:
    return web.json_response({"type": "error", "error": {"type": kind, "message": message}}, status=status)
