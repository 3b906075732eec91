"""Google as Gemini CLI and Antigravity meet it: the OAuth endpoints of its installed apps, userinfo, and Code Assist's internal API."""

import base64
import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

from aiohttp import web

from broker.providers import antigravity, gemini
from tests.fakes.vendors.server import VendorServer, body_fields

EMAIL = "user@example.com"
KEY = "fake-client-key"


class GoogleVendor(VendorServer):
    """An authorization server that wants PKCE kept, the client's secret, and form bodies; refresh tokens stay."""

    refresh_path = "/token"
    rotates = False
    client_id: ClassVar[str]
    redirect: ClassVar[str]
    page: ClassVar[str]
    """Google's own page that shows the code."""
    tier: str | None = "standard-tier"
    """The account's tier; None where it must be signed up first."""
    project: str | None = "my-project-123456"

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, tuple[str, str]] = {}
        self.live: set[str] = set()
        self.access: set[str] = set()
        self.onboardings = 0

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/auth", self._authorize),
            web.post("/token", self._token),
            web.post("/revoke", self._revoke),
            web.get("/userinfo", self._userinfo),
            web.post("/v1internal:loadCodeAssist", self._load),
            web.post("/v1internal:onboardUser", self._onboard),
            *self.limits(),
        )

    @abstractmethod
    def limits(self) -> Iterable[web.RouteDef]: ...

    def config(self, folder: Path) -> str:
        secret = folder / f"{self.name}-secret"
        secret.write_text(KEY)
        secret.chmod(0o600)
        return (
            f'[providers.{self.name}]\nclient_secret_file = "{secret}"\nauthorize_url = "{self.url}/auth"\n'
            f'token_url = "{self.url}/token"\nrevoke_url = "{self.url}/revoke"\nuserinfo_url = "{self.url}/userinfo"\napi_url = "{self.url}"\n'
        )

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        assert query["client_id"] == self.client_id
        assert query["response_type"] == "code"
        redirect = query["redirect_uri"]
        assert redirect == self.page or self.knows(redirect, self.redirect)
        assert query["code_challenge_method"] == "S256"
        assert (query["access_type"], query["prompt"]) == ("offline", "consent")
        assert query["scope"].startswith("https://www.googleapis.com/auth/cloud-platform ")
        code = self.fresh("code")
        self.codes[code] = (query["code_challenge"], query["redirect_uri"])
        raise web.HTTPFound(redirect + "?" + urlencode({"state": query["state"], "code": code}))

    async def _token(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-www-form-urlencoded"
        fields = {name: str(value) for name, value in (await body_fields(request)).items()}
        if (fields.get("client_id"), fields.get("client_secret")) != (self.client_id, KEY):
            return web.json_response({"error": "invalid_client", "error_description": "Unauthorized"}, status=401)
        if fields["grant_type"] == "refresh_token":
            if fields["refresh_token"] not in self.live:
                told = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
                return web.json_response(told, status=400)
            return web.json_response(self._grant())
        challenge, redirect = self.codes.pop(fields["code"])
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == challenge
        assert fields["redirect_uri"] == redirect
        refresh = self.fresh("refresh")
        self.live.add(refresh)
        return web.json_response({**self._grant(), "refresh_token": refresh})

    def _grant(self) -> dict[str, object]:
        access = self.fresh("access")
        self.access.add(access)
        return {"access_token": access, "expires_in": self.lifetime, "scope": "a b", "token_type": "Bearer"}

    async def _revoke(self, request: web.Request) -> web.Response:
        token = str((await body_fields(request))["token"])
        known = token in self.live | self.access
        self.live.discard(token)
        return web.json_response({}) if known else web.json_response({"error": "invalid_token"}, status=400)

    async def _userinfo(self, request: web.Request) -> web.Response:
        self.check(request)
        return web.json_response({"id": "42", "email": EMAIL, "verified_email": True})

    async def _load(self, request: web.Request) -> web.Response:
        self.check(request)
        told: dict[str, object] = {"allowedTiers": [{"id": "free-tier", "isDefault": True}]}
        if self.tier:
            told["currentTier"] = {"id": self.tier}
            told["cloudaicompanionProject"] = self.project
        return web.json_response(told)

    async def _onboard(self, request: web.Request) -> web.Response:
        self.check(request)
        self.onboardings += 1
        return web.json_response({"done": True, "response": {"cloudaicompanionProject": {"id": "made-by-google"}}})

    def check(self, request: web.Request) -> None:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        assert token in self.access


class GeminiVendor(GoogleVendor):
    name = "gemini"
    client_id = gemini.CLIENT_ID
    redirect = "http://localhost:8085/oauth2callback"
    page = "https://codeassist.google.com/authcode"

    def limits(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1internal:retrieveUserQuota", self._quota),)

    async def _quota(self, request: web.Request) -> web.Response:
        self.check(request)
        assert await body_fields(request) == {"project": self.project}
        bucket = {
            "modelId": "gemini-3-pro-preview", "tokenType": "REQUESTS", "remainingFraction": 0.25, "remainingAmount": "25",
            "resetTime": "2026-05-01T12:00:00Z",
        }  # fmt: skip
        return web.json_response({"buckets": [bucket]})


class AntigravityVendor(GoogleVendor):
    name = "antigravity"
    client_id = antigravity.CLIENT_ID
    redirect = "http://localhost:51121/oauth-callback"
    page = "https://antigravity.google/oauth-callback"

    def limits(self) -> Iterable[web.RouteDef]:
        return (web.post("/v1internal:fetchAvailableModels", self._models),)

    async def _models(self, request: web.Request) -> web.Response:
        self.check(request)
        assert await body_fields(request) == {"project": self.project}
        told = {"remainingFraction": 0.4, "resetTime": "2026-05-01T12:00:00Z"}
        models = {"gemini-3-pro": {"displayName": "Gemini 3 Pro", "quotaInfo": told}, "chat_1": {"displayName": "x"}}
        return web.json_response({"models": models})
