"""Kimi's device login as its own programs speak to it: `X-Msh-*` headers on everything, tokens bound to the device id, single-use refresh tokens."""

from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from tests.fakes.vendors.server import VendorServer, body_fields

CLIENT_ID = "17e5f671-d194-4dfb-9706-5516cb48c098"
FORM = "application/x-www-form-urlencoded"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
WANTED = ("X-Msh-Platform", "X-Msh-Version", "X-Msh-Device-Name", "X-Msh-Device-Model", "X-Msh-Device-Id")


class KimiVendor(VendorServer):
    """One person."""

    name = "kimi"
    refresh_path = "/api/oauth/token"
    lifetime = 900.0

    def __init__(self) -> None:
        super().__init__()
        self.pending: dict[str, tuple[str, str]] = {}  # device code -> user code and device id
        self.approved: set[str] = set()
        self.refreshes: dict[str, str] = {}  # refresh token -> device id
        self.accesses: set[str] = set()

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/api/oauth/device_authorization", self._device),
            web.post("/api/oauth/token", self._token),
            web.get("/coding/v1/me", self._me),
            web.get("/coding/v1/usages", self._usages),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.kimi]\ntoken_url = "{self.url}/api/oauth/token"\n'
            f'device_url = "{self.url}/api/oauth/device_authorization"\napi_url = "{self.url}/coding/v1"\n'
        )

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    async def _device(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        device = _headers(request)
        assert request.content_type == FORM
        assert fields == {"client_id": CLIENT_ID}
        code, user_code = self.fresh("device"), f"KIMI-{len(self.pending):04}"
        self.pending[code] = (user_code, device)
        return web.json_response(
            {
                "user_code": user_code,
                "device_code": code,
                "verification_uri": f"{self.url}/code",
                "verification_uri_complete": f"{self.url}/code?user_code={user_code}",
                "expires_in": 900,
                "interval": 1,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        device = _headers(request)
        assert request.content_type == FORM
        assert fields["client_id"] == CLIENT_ID
        if fields["grant_type"] == DEVICE_GRANT:
            code = str(fields["device_code"])
            if code not in self.pending or self.pending[code][1] != device:
                return web.json_response({"error": "invalid_grant"}, status=400)
            if self.pending[code][0] not in self.approved:
                return web.json_response({"error": "authorization_pending"}, status=400)
            del self.pending[code]
        else:
            assert fields["grant_type"] == "refresh_token"
            if self.refreshes.pop(str(fields["refresh_token"]), None) != device:
                return web.json_response({"error": "invalid_grant"}, status=401)
        access, refresh = self.fresh("access"), self.fresh("refresh")
        self.accesses.add(access)
        self.refreshes[refresh] = device
        return web.json_response(
            {
                "access_token": access,
                "refresh_token": refresh,
                "expires_in": self.lifetime,
                "scope": "kimi-code",
                "token_type": "Bearer",
            }
        )

    async def _me(self, request: web.Request) -> web.Response:
        return self._behind(
            request, {"user_id": "fake-user-7", "nickname": "Ming", "region": "REGION_CN", "user_level_name": "Allegro"}
        )

    async def _usages(self, request: web.Request) -> web.Response:
        return self._behind(
            request,
            {
                "user": {"userId": "fake-user-7", "membership": {"level": "LEVEL_ADVANCED"}},
                "usage": {"limit": "100", "used": "3", "remaining": "97", "resetTime": "2026-05-04T09:42:34.674165Z"},
                "limits": [
                    {
                        "window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"},
                        "detail": {"limit": "100", "remaining": "86", "resetTime": "2026-05-01T14:42:34Z"},
                    }
                ],
            },
        )

    def _behind(self, request: web.Request, body: object) -> web.Response:
        _headers(request)
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.accesses:
            return web.json_response(
                {"error": {"message": "expired", "type": "invalid_authentication_error"}}, status=401
            )
        return web.json_response(body)


def _headers(request: web.Request) -> str:
    for name in WANTED:
        assert request.headers[name].isascii(), name
    return request.headers["X-Msh-Device-Id"]
