"""Google's token endpoint as a service account meets it: an assertion is taken if its key signed it, for this endpoint and an hour at most."""

import base64
import json
from collections.abc import Iterable
from email.utils import formatdate
from functools import cache
from pathlib import Path

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from broker.providers.vertex import from_key
from tests.fakes.clock import START_WALL
from tests.fakes.vendors.server import Fault, VendorServer, body_fields

EMAIL = "broker@my-project-123456.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def pem(*, traditional: bool = False) -> str:
    """The key as text: PKCS #8 as Google gives it out, or PKCS #1 as CLIProxyAPI makes of it."""
    shape = serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    encoded = private_key().private_bytes(serialization.Encoding.PEM, shape, serialization.NoEncryption())
    return encoded.decode()


def key_file(**changes: object) -> dict[str, object]:
    """A service account's key as the Cloud console gives it out."""
    return {
        "type": "service_account",
        "project_id": "my-project-123456",
        "private_key_id": "0123456789abcdef",
        "private_key": pem(),
        "client_email": EMAIL,
        "client_id": "100000000000000000001",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "universe_domain": "googleapis.com",
        **changes,
    }


class VertexVendor(VendorServer):
    """Tokens for one service account."""

    name = "vertex"
    refresh_path = "/token"
    rotates = False

    def routes(self) -> Iterable[web.RouteDef]:
        return (web.post("/token", self._token),)

    def config(self, folder: Path) -> str:
        return f'[providers.vertex]\ntoken_url = "{self.url}/token"\n'

    def imported(self) -> tuple[str, dict[str, object]]:
        return "vertex-my-project-123456.json", {**from_key(key_file()), "location": "europe-west4"}

    def reject(self) -> None:
        body = '{"error":"invalid_grant","error_description":"Invalid JWT Signature."}'
        self.fail("/token", Fault(400, body, headers={"Date": formatdate(START_WALL, usegmt=True)}))

    async def _token(self, request: web.Request) -> web.Response:
        fields = await body_fields(request)
        assert request.content_type == "application/x-www-form-urlencoded"
        assert set(fields) == {"grant_type", "assertion"}
        assert fields["grant_type"] == GRANT
        head, payload, signature = str(fields["assertion"]).split(".")
        try:
            private_key().public_key().verify(
                _decoded(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            body = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return web.json_response(body, status=400)
        assert json.loads(_decoded(head))["alg"] == "RS256"
        claims = json.loads(_decoded(payload))
        assert set(claims) == {"iss", "scope", "aud", "iat", "exp"}
        assert (claims["iss"], claims["scope"], claims["aud"]) == (EMAIL, SCOPE, f"{self.url}/token")
        assert 0 < claims["exp"] - claims["iat"] <= 3600
        return web.json_response(
            {"access_token": self.fresh("access"), "expires_in": int(self.lifetime), "token_type": "Bearer"}
        )


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
