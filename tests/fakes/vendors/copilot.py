"""GitHub as a Copilot login meets it: the device flow, whose errors come with status 200, the Copilot token, and who it is."""

import time
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

from tests.fakes.vendors.server import Fault, VendorServer, body_fields

CLIENT = "Iv1.b507a08c87ecfe98"
NO_LICENCE = (
    '{"can_signup_for_limited":false,"error_details":{"url":"https://github.com/settings/copilot","message":"No access to Copilot found",'
    '"title":"Contact Support","notification_id":"no_copilot_access"},"message":"Resource not accessible by integration"}'
)


class CopilotVendor(VendorServer):
    """GitHub tokens that live for good; Copilot tokens of half an hour from each. `base` is where the REST API is (`/api/v3` on a server of one's own)."""

    name = "github-copilot"
    refresh_path = "/copilot_internal/v2/token"
    exchange_path = "/login/oauth/access_token"
    denial = 200
    rotates = False
    lifetime = 1800.0
    base = ""

    def __init__(self) -> None:
        super().__init__()
        self.approved: set[str] = set()
        self.github: set[str] = set()
        self.polls = 0
        self.plan = "individual"

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/login/device/code", self._device),
            web.post("/login/oauth/access_token", self._token),
            web.get(f"{self.base}/user", self._user),
            web.get(f"{self.base}/copilot_internal/v2/token", self._mint),
            web.get(f"{self.base}/copilot_internal/user", self._usage),
        )

    def config(self, folder: Path) -> str:
        return (
            f'[providers.github-copilot]\ndevice_url = "{self.url}/login/device/code"\ntoken_url = "{self.url}/login/oauth/access_token"\n'
            f'api_url = "{self.url}{self.base}"\n'
        )

    def reject(self) -> None:
        self.fail(self.refresh_path, Fault(401, '{"message":"Bad credentials","status":"401"}'))

    async def approve_device(self, user_code: str) -> None:
        self.approved.add(user_code)

    async def _device(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        if request.headers["Accept"] != "application/json":
            return web.Response(text="device_code=fake", content_type="application/x-www-form-urlencoded")
        assert fields == {"client_id": CLIENT, "scope": "read:user"}
        return web.json_response(
            {
                "device_code": "fake-device-code",
                "user_code": "WDJB-MJHT",
                "verification_uri": f"{self.url}/login/device",
                "expires_in": 900,
                "interval": 1,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        assert request.headers["Accept"] == "application/json"
        assert fields.pop("grant_type") == "urn:ietf:params:oauth:grant-type:device_code"
        assert fields == {"client_id": CLIENT, "device_code": "fake-device-code"}
        self.polls += 1
        if "WDJB-MJHT" not in self.approved:
            return web.json_response({"error": "authorization_pending", "error_description": "not yet", "interval": 1})
        token = self.fresh("github")
        self.github.add(token)
        return web.json_response({"access_token": token, "token_type": "bearer", "scope": "read:user"})

    def _refused(self, request: web.Request) -> web.Response | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "token" and token in self.github:
            return None
        return web.json_response({"message": "Bad credentials"}, status=401)

    async def _user(self, request: web.Request) -> web.Response:
        return self._refused(request) or web.json_response({"login": "octocat", "id": 583231})

    async def _mint(self, request: web.Request) -> web.Response:
        assert request.headers["Editor-Version"]
        assert request.headers["Editor-Plugin-Version"]
        ends = int(time.time() + self.lifetime)
        body = {
            "token": self.fresh("copilot"),
            "expires_at": ends,
            "refresh_in": int(self.lifetime) - 300,
            "endpoints": {"api": "https://api.individual.githubcopilot.com", "telemetry": "https://x.invalid"},
            "sku": "monthly_subscriber",
            "chat_enabled": True,
        }
        return self._refused(request) or web.json_response(body)

    async def _usage(self, request: web.Request) -> web.Response:
        assert request.headers["X-GitHub-Api-Version"] == "2025-04-01"
        snapshot = {"entitlement": 300, "remaining": 75, "percent_remaining": 25.0, "unlimited": False}
        body = {
            "copilot_plan": self.plan,
            "access_type_sku": "monthly_subscriber",
            "chat_enabled": True,
            "quota_reset_date": "2026-06-01",
            "quota_reset_date_utc": "2026-06-01T00:00:00.000Z",
            "quota_snapshots": {"chat": {"unlimited": True}, "premium_interactions": snapshot},
            "endpoints": {"api": "https://api.individual.githubcopilot.com"},
        }
        return self._refused(request) or web.json_response(body)


class OwnServer(CopilotVendor):
    """A GitHub Enterprise server: everything on one host, the REST API below `/api/v3`."""

    base = "/api/v3"
    refresh_path = "/api/v3/copilot_internal/v2/token"

    def config(self, folder: Path) -> str:
        return "[providers.github-copilot]\n"
