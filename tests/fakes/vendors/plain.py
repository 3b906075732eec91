"""A vendor that does what the standards say: for the generic provider, and an example of a `VendorServer`."""

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.vendors.server import VendorServer, body_fields


class PlainVendor(VendorServer):
    """Code and device flows with PKCE untold, tokens that rotate."""

    name = "plain"
    refresh_path = "/token"

    def __init__(self) -> None:
        super().__init__()
        self.approved: set[str] = set()
        self.refresh = ""

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/authorize", self._authorize),
            web.post("/device", self._device),
            web.post("/token", self._token),
            web.get("/me", self._me),
            web.post("/revoke", self._revoke),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.plain]\nkind = "oauth2"\nclient_id = "fake-client"\nauthorize_url = "{self.url}/authorize"\n'
            f'token_url = "{self.url}/token"\ndevice_url = "{self.url}/device"\nuserinfo_url = "{self.url}/me"\n'
            f'revoke_url = "{self.url}/revoke"\n'
        )

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        assert query["code_challenge_method"] == "S256"
        there = query["redirect_uri"] + "?" + urlencode({"code": "fake-code", "state": query["state"]})
        raise web.HTTPFound(there)

    async def _device(self, _request: web.Request) -> web.Response:
        return web.json_response(
            {
                "device_code": "fake-device",
                "user_code": "ABCD-EFGH",
                "verification_uri": f"{self.url}/activate",
                "expires_in": 600,
                "interval": 1,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        kind = str(fields["grant_type"])
        if kind.endswith("device_code") and not self.approved:
            return web.json_response({"error": "authorization_pending"}, status=400)
        if kind == "refresh_token" and fields["refresh_token"] != self.refresh:
            return web.json_response({"error": "invalid_grant"}, status=400)
        self.refresh = self.fresh("refresh")
        return web.json_response(
            {"access_token": self.fresh("access"), "refresh_token": self.refresh, "expires_in": self.lifetime}
        )

    async def _me(self, _request: web.Request) -> web.Response:
        return web.json_response({"sub": "42", "email": "alice@example.com"})

    async def _revoke(self, _request: web.Request) -> web.Response:
        return web.Response()
