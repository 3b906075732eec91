"""AWS SSO OIDC and Kiro's own services on one host: registration, device flow and refresh in camelCase JSON, the social code flow, the API's three calls."""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlencode

from aiohttp import web

from tests.fakes.vendors.server import Fault, VendorServer, body_fields

START_URL = "https://view.awsapps.com/start"
PROFILE = "arn:aws:codewhisperer:us-east-1:123456789012:profile/FAKEPROFILE"
REDIRECT = "kiro://kiro.kiroAgent/authenticate-success"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class KiroVendor(VendorServer):
    """Refresh tokens rotate and are good once, for the registration they were issued to."""

    name = "kiro"
    refresh_path = "/token"
    exchange_path = "/oauth/token"
    poll_path = "/token"
    start_url = START_URL
    options = ""

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[str, str] = {}
        self.approved: set[str] = set()
        self.live: dict[str, str] = {}
        """Refresh tokens that were not spent, and the client each belongs to (nobody's: a social one)."""
        self.access: set[str] = set()
        self.codes: dict[str, str] = {}
        self.email: str | None = "user@example.com"

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/client/register", self._register),
            web.post("/device_authorization", self._device),
            web.post("/token", self._token),
            web.get("/login", self._login),
            web.post("/oauth/token", self._redeem),
            web.post("/refreshToken", self._social_refresh),
            web.post("/", self._api),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.kiro]\nauthorize_url = "{self.url}/login"\ndevice_url = "{self.url}/device_authorization"\ntoken_url = "{self.url}/token"\n'
            f'api_url = "{self.url}/"\n{self.options}'
        )

    def reject(self) -> None:
        body = '{"error":"invalid_grant","error_description":"Invalid refresh token provided"}'
        self.fail(
            "/token",
            Fault(400, body, headers={"x-amzn-ErrorType": "InvalidGrantException:http://internal.amazon.com/"}),
        )

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    def _wrong(self, error: str, said: str) -> web.Response:
        return web.json_response({"error": error, "error_description": said}, status=400)

    def _grant(self, client: str, **more: object) -> web.Response:
        access, refresh = self.fresh("access"), self.fresh("refresh")
        self.live[refresh] = client
        self.access.add(access)
        return web.json_response(
            {"accessToken": access, "refreshToken": refresh, "expiresIn": int(self.lifetime), **more}
        )

    def _client(self, fields: dict[str, object]) -> str | None:
        identifier = str(fields.pop("clientId"))
        return identifier if self.clients.get(identifier) == fields.pop("clientSecret") else None

    # --- SSO OIDC ---

    async def _register(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        assert await body_fields(request) == {
            "clientName": "ccs-broker",
            "clientType": "public",
            "scopes": ["codewhisperer:completions", "codewhisperer:analysis", "codewhisperer:conversations"],
        }
        identifier, secret = self.fresh("client"), self.fresh("client-key")
        self.clients[identifier] = secret
        return web.json_response(
            {
                "clientId": identifier,
                "clientSecret": secret,
                "clientIdIssuedAt": 1_750_000_000,
                "clientSecretExpiresAt": 1_757_776_000,
            }
        )

    async def _device(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        fields = await body_fields(request)
        assert self._client(fields)
        assert fields == {"startUrl": self.start_url}
        return web.json_response(
            {
                "deviceCode": "fake-device",
                "userCode": "ABCD-EFGH",
                "verificationUri": f"{self.url}/device",
                "verificationUriComplete": f"{self.url}/device?user_code=ABCD-EFGH",
                "expiresIn": 600,
                "interval": 1,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        fields = await body_fields(request)
        client = self._client(fields)
        if client is None:
            return web.json_response({"message": "Bad credentials"}, status=401)
        kind = fields.pop("grantType")
        if kind == DEVICE_GRANT:
            assert fields == {"deviceCode": "fake-device"}
            if "ABCD-EFGH" not in self.approved:
                return self._wrong("authorization_pending", "")
            return self._grant(client, tokenType="Bearer")
        assert kind == "refresh_token"
        assert list(fields) == ["refreshToken"]
        if self.live.pop(str(fields["refreshToken"]), None) != client:
            return self._wrong("invalid_grant", "Invalid refresh token provided")
        return self._grant(client, tokenType="Bearer")

    # --- social ---

    async def _login(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert set(query) == {"idp", "redirect_uri", "code_challenge", "code_challenge_method", "state", "prompt"}
        assert query["idp"] in {"Google", "Github"}
        assert query["redirect_uri"] == REDIRECT
        assert query["code_challenge_method"] == "S256"
        code = self.fresh("code")
        self.codes[code] = query["code_challenge"]
        raise web.HTTPFound(f"{REDIRECT}?{urlencode({'code': code, 'state': query['state']})}")

    async def _redeem(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        fields = await body_fields(request)
        assert set(fields) == {"code", "code_verifier", "redirect_uri"}
        digest = hashlib.sha256(str(fields["code_verifier"]).encode()).digest()
        if self.codes.pop(str(fields["code"]), None) != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
            return web.json_response({"message": "no such code"}, status=401)
        return self._grant("", profileArn=PROFILE)

    async def _social_refresh(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        assert list(fields) == ["refreshToken"]
        if self.live.pop(str(fields["refreshToken"]), None) != "":
            return web.json_response({"message": "Bad token"}, status=401)
        return self._grant("", profileArn=PROFILE)

    # --- the API ---

    async def _api(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-amz-json-1.0"
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        if token not in self.access:
            return web.json_response({"__type": "AccessDeniedException"}, status=403)
        service, _, operation = request.headers["X-Amz-Target"].partition(".")
        assert service == "AmazonCodeWhispererService"
        if operation == "ListProfiles":
            return web.json_response({"profiles": [{"arn": PROFILE, "profileName": "fake"}]})
        assert operation == "GetUsageLimits"
        usage = {
            "resourceType": "CREDIT",
            "displayName": "Credits",
            "currentUsage": 12,
            "currentUsageWithPrecision": 12.5,
            "usageLimit": 50,
            "usageLimitWithPrecision": 50.0,
            "nextDateReset": 1_780_272_000,
        }
        return web.json_response(
            {
                "subscriptionInfo": {"subscriptionTitle": "KIRO FREE", "type": "Q_DEVELOPER_STANDALONE_FREE"},
                "usageBreakdownList": [usage],
                "userInfo": {"userId": "d-0123456789.fake-user", **({"email": self.email} if self.email else {})},
            }
        )


class KiroCenter(KiroVendor):
    """An organisation's IAM Identity Center in a region of its own."""

    start_url = "https://d-0123456789.awsapps.com/start"
    options = f'[providers.kiro.options]\nstart-url = "{start_url}"\nregion = "eu-central-1"\n'


class KiroSocial(KiroVendor):
    """Logins with Google or GitHub."""

    refresh_path = "/refreshToken"
    options = '[providers.kiro.options]\nmethod = "github"\n'

    def reject(self) -> None:
        self.fail("/refreshToken", Fault(401, '{"message":"Bad token"}'))
