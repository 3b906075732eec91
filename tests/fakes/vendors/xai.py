"""xAI's OpenID provider: device and code logins, single-use refresh tokens, an ID token that names the person."""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.vendors.server import VendorServer, body_fields

CLIENT_ID = "b1a00492-073a-47ea-816f-4c329264a828"
SCOPE = "openid profile email offline_access grok-cli:access api:access"
FORM = "application/x-www-form-urlencoded"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
EMAIL, SUBJECT = "user@example.com", "33333333-cccc-4ccc-8ccc-333333333333"


class XaiVendor(VendorServer):
    """One person. `names` false leaves the e-mail address to the userinfo endpoint."""

    name = "xai"
    refresh_path = "/oauth2/token"
    lifetime = 21_600.0

    def __init__(self) -> None:
        super().__init__()
        self.names = True
        self.codes: dict[str, Mapping[str, str]] = {}
        self.pending: dict[str, str] = {}
        self.approved: set[str] = set()
        self.refreshes: set[str] = set()
        self.accesses: set[str] = set()

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/oauth2/authorize", self._authorize),
            web.post("/oauth2/device/code", self._device),
            web.post("/oauth2/token", self._token),
            web.post("/oauth2/revoke", self._revoke),
            web.get("/oauth2/userinfo", self._userinfo),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.xai]\nauthorize_url = "{self.url}/oauth2/authorize"\ntoken_url = "{self.url}/oauth2/token"\n'
            f'device_url = "{self.url}/oauth2/device/code"\nuserinfo_url = "{self.url}/oauth2/userinfo"\n'
            f'revoke_url = "{self.url}/oauth2/revoke"\napi_url = "{self.url}/v1"\n'
        )

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["client_id"] == CLIENT_ID
        assert query["scope"] == SCOPE
        assert query["code_challenge_method"] == "S256"
        assert self.knows(query["redirect_uri"], "http://127.0.0.1:56121/callback")
        assert (query["plan"], len(query["nonce"])) == ("generic", 32)
        code = self.fresh("code")
        self.codes[code] = query
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")

    async def _device(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        assert request.content_type == FORM
        assert fields == {"client_id": CLIENT_ID, "scope": SCOPE}
        code, user_code = self.fresh("device"), f"GROK-{len(self.pending):04}"
        self.pending[code] = user_code
        return web.json_response(
            {
                "device_code": code,
                "user_code": user_code,
                "verification_uri": f"{self.url}/device",
                "expires_in": 1800,
                "interval": 1,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        fields = {name: str(value) for name, value in (await body_fields(request)).items()}
        assert request.content_type == FORM
        if fields.get("client_id") != CLIENT_ID:
            return web.json_response({"error": "invalid_client"}, status=401)
        nonce = None
        match fields["grant_type"]:
            case "authorization_code":
                asked = self.codes.pop(fields["code"], None)
                digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
                if (
                    asked is None
                    or asked["code_challenge"] != base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
                    or asked["redirect_uri"] != fields["redirect_uri"]
                ):
                    return _dead("Authorization code not found or invalid")
                nonce = asked["nonce"]
            case kind if kind == DEVICE_GRANT:
                if self.pending.get(fields["device_code"]) not in self.approved:
                    return web.json_response({"error": "authorization_pending"}, status=400)
                del self.pending[fields["device_code"]]
            case kind:
                assert kind == "refresh_token"
                if fields["refresh_token"] not in self.refreshes:
                    return _dead("Refresh token not found or invalid")
                self.refreshes.remove(fields["refresh_token"])
        return self._grant(nonce)

    def _grant(self, nonce: str | None) -> web.Response:
        access, refresh = self.fresh("access"), self.fresh("refresh")
        self.accesses.add(access)
        self.refreshes.add(refresh)
        claims = {"sub": SUBJECT, **({"email": EMAIL} if self.names else {}), **({"nonce": nonce} if nonce else {})}
        return web.json_response(
            {
                "access_token": access,
                "refresh_token": refresh,
                "id_token": id_token(claims),
                "token_type": "Bearer",
                "expires_in": self.lifetime,
            }
        )

    async def _revoke(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        assert fields["client_id"] == CLIENT_ID
        self.refreshes.discard(str(fields["token"]))
        return web.Response()

    async def _userinfo(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.accesses:
            return web.json_response({"error": "invalid_token"}, status=401)
        return web.json_response({"sub": SUBJECT, "email": EMAIL})


def id_token(claims: Mapping[str, str]) -> str:
    """An unsigned token, as fake as the others."""
    return "e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".fake"


def _dead(description: str) -> web.Response:
    return web.json_response({"error": "invalid_grant", "error_description": description}, status=400)
