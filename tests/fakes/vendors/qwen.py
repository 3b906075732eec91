"""Qwen as Qwen Code met it: device codes with PKCE, and the API's address in each grant."""

import base64
import hashlib
import uuid
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from broker.providers.qwen import DEFAULTS
from tests.fakes.vendors.server import VendorServer, body_fields

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class QwenVendor(VendorServer):
    """Wants forms, and the verifier with each poll; each refresh token is good once."""

    name = "qwen"
    refresh_path = "/api/v1/oauth2/token"

    def __init__(self) -> None:
        super().__init__()
        self.challenges: dict[str, str] = {}
        self.user_codes: dict[str, str] = {}
        self.approved: set[str] = set()
        self.live: set[str] = set()
        self.resource: str | None = "portal.example.com"

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/api/v1/oauth2/device/code", self._device), web.post("/api/v1/oauth2/token", self._token))

    def config(self, folder: Path) -> str:
        base = f"{self.url}/api/v1/oauth2"
        return f'[providers.qwen]\ndevice_url = "{base}/device/code"\ntoken_url = "{base}/token"\n'

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    async def _device(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-www-form-urlencoded"
        assert request.headers["Accept"] == "application/json"
        uuid.UUID(request.headers["x-request-id"])
        fields = await body_fields(request)
        assert set(fields) == {"client_id", "scope", "code_challenge", "code_challenge_method"}
        assert (fields["client_id"], fields["code_challenge_method"]) == (DEFAULTS.client_id, "S256")
        assert fields["scope"] == "openid profile email model.completion"
        device, user_code = self.fresh("device"), f"QW-{len(self.user_codes)}"
        self.challenges[device], self.user_codes[device] = str(fields["code_challenge"]), user_code
        return web.json_response(
            {
                "device_code": device,
                "user_code": user_code,
                "verification_uri": f"{self.url}/authorize",
                "verification_uri_complete": f"{self.url}/authorize?user_code={user_code}&client=qwen-code",
                "expires_in": 600,
                "interval": 1,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-www-form-urlencoded"
        fields = {name: str(value) for name, value in (await body_fields(request)).items()}
        assert fields["client_id"] == DEFAULTS.client_id
        if fields["grant_type"] == "refresh_token":
            assert set(fields) == {"grant_type", "client_id", "refresh_token"}
            if fields["refresh_token"] not in self.live:
                return web.json_response({"error": "invalid_request", "error_description": "bad token"}, status=400)
            self.live.discard(fields["refresh_token"])
            return self._grant()
        assert fields["grant_type"] == GRANT
        device = fields["device_code"]
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == self.challenges[device]
        if self.user_codes[device] not in self.approved:
            return web.json_response({"error": "authorization_pending"}, status=400)
        return self._grant()

    def _grant(self) -> web.Response:
        refresh = self.fresh("refresh")
        self.live.add(refresh)
        return web.json_response(
            {
                "access_token": self.fresh("access"),
                "refresh_token": refresh,
                "token_type": "Bearer",
                "expires_in": self.lifetime,
                **({"resource_url": self.resource} if self.resource else {}),
            }
        )
