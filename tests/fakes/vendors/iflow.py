"""iFlow as iflow-cli and CLIProxyAPI met it: a code login without PKCE, the client proven twice, and the account's API key beside the grant."""

import base64
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from broker.providers.iflow import DEFAULTS
from tests.fakes.vendors.server import VendorServer, body_fields

KEY = "fake-client-key"
EMAIL = "user@example.com"


class IFlowVendor(VendorServer):
    """Each refresh token is good once. The API key changes when told, else it stays."""

    name = "iflow"
    refresh_path = "/oauth/token"
    lifetime = 172_800.0

    def __init__(self) -> None:
        super().__init__()
        self.codes: dict[str, str] = {}
        self.live: set[str] = set()
        self.access: set[str] = set()
        self.new_keys = True
        self.key = self.fresh("key")
        self.email: str | None = EMAIL

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/oauth", self._authorize),
            web.post("/oauth/token", self._token),
            web.get("/api/oauth/getUserInfo", self._userinfo),
        )

    def config(self, folder: Path) -> str:
        secret = folder / "iflow-secret"
        secret.write_text(KEY)
        secret.chmod(0o600)
        return (
            f'[providers.iflow]\nclient_secret_file = "{secret}"\nauthorize_url = "{self.url}/oauth"\n'
            f'token_url = "{self.url}/oauth/token"\nuserinfo_url = "{self.url}/api/oauth/getUserInfo"\n'
        )

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        assert set(query) == {"loginMethod", "type", "redirect", "state", "client_id"}
        assert (query["loginMethod"], query["type"], query["client_id"]) == ("phone", "phone", DEFAULTS.client_id)
        assert self.knows(query["redirect"], "http://localhost:11451/oauth2callback")
        code = self.fresh("code")
        self.codes[code] = query["redirect"]
        raise web.HTTPFound(query["redirect"] + "?" + urlencode({"code": code, "state": query["state"]}))

    async def _token(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-www-form-urlencoded"
        fields = {name: str(value) for name, value in (await body_fields(request)).items()}
        pair = base64.b64encode(f"{DEFAULTS.client_id}:{KEY}".encode()).decode()
        assert request.headers["Authorization"] == f"Basic {pair}"
        assert (fields["client_id"], fields["client_secret"]) == (DEFAULTS.client_id, KEY)
        if fields["grant_type"] == "refresh_token":
            assert set(fields) == {"grant_type", "client_id", "client_secret", "refresh_token"}
            if fields["refresh_token"] not in self.live:
                return web.json_response({"success": False, "code": "invalid_grant", "message": "it is no more"})
            self.live.discard(fields["refresh_token"])
        else:
            assert set(fields) == {"grant_type", "client_id", "client_secret", "code", "redirect_uri"}
            assert self.codes.pop(fields["code"]) == fields["redirect_uri"]
        if self.new_keys:
            self.key = self.fresh("key")
        access, refresh = self.fresh("access"), self.fresh("refresh")
        self.access.add(access)
        self.live.add(refresh)
        told = {"access_token": access, "refresh_token": refresh, "expires_in": self.lifetime}
        return web.json_response({**told, "token_type": "bearer", "scope": "a b"})

    async def _userinfo(self, request: web.Request) -> web.Response:
        assert set(request.query) == {"accessToken"}
        assert request.query["accessToken"] in self.access
        assert "Authorization" not in request.headers
        return web.json_response(
            {"success": True, "data": {"apiKey": self.key, "email": self.email, "phone": "1380000"}}
        )
