"""The documents the authorization server sends: token answers, errors, metadata, user info, id_tokens, pages.

Owns: their shapes and the vendor's words in them. It must never decide anything. Pure: values in, values out. Here, and in the files
`serve` writes, is where the sandbox's secrets become text.
"""

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence

import msgspec

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.sandbox.devices import DeviceStart
from broker.sandbox.grants import Alive, GrantError, Issued
from broker.sandbox.settings import AnswerShape

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1rem }
button { font: inherit; padding: .4rem 1.2rem; margin-right: .5rem; border-radius: .4rem; border: 1px solid #8888 }
.note { color: #888; font-size: .85rem; margin-top: 2rem }
"""


def token_answer(
    issued: Issued, now: Now, *, issuer: str, shape: AnswerShape, presented: str | None
) -> dict[str, object]:
    """Return the body of a successful token answer (RFC 6749 section 5.1), tokens in clear.

    `presented` is the refresh token of the request, repeated by the `standard` shape where none was made.
    """
    answer: dict[str, object] = {
        "access_token": issued.access_token.reveal(),
        "expires_in": _seconds_left(issued.expires_at - now.boot),
        "scope": " ".join(issued.scopes),
        "token_type": "Bearer",
    }
    if issued.refresh_token is not None:
        answer["refresh_token"] = issued.refresh_token.reveal()
    elif presented is not None and shape is AnswerShape.STANDARD:
        answer["refresh_token"] = presented
    if _tells_identity(issued.scopes):
        answer["id_token"] = _id_token(issued, now, issuer)
    return answer


def approval(code: Secret, scopes: Sequence[str]) -> dict[str, str]:
    """Return the parameters that go back to the client after an approval (RFC 6749 section 4.1.2), the code in clear."""
    return {"code": code.reveal(), "scope": " ".join(scopes)}


def error_answer(error: str, description: str) -> dict[str, object]:
    """Return the body of an error answer (RFC 6749 section 5.2)."""
    return {"error": error, "error_description": description}


def oauth_error_for_status(status: int) -> GrantError:
    """Return the error an OAuth endpoint gives with a status when it is told to fail."""
    if status >= 500:
        return GrantError(
            "temporarily_unavailable" if status == 503 else "server_error", "The server failed; try again."
        )
    return GrantError("invalid_client" if status == 401 else "invalid_request", "The sandbox was told to refuse.")


def device_answer(start: DeviceStart, issuer: str) -> dict[str, object]:
    """Return the body of a device authorization answer (RFC 8628 section 3.2)."""
    return {
        "device_code": start.device_code.reveal(),
        "user_code": start.user_code,
        "verification_uri": f"{issuer}/device",
        "verification_uri_complete": f"{issuer}/device?user_code={start.user_code}",
        "expires_in": _seconds_left(start.expires_in),
        "interval": _seconds_left(start.interval),
    }


def metadata(issuer: str) -> dict[str, object]:
    """Return the server's metadata (RFC 8414 section 2; OpenID Connect Discovery 1.0 section 3)."""
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
        "scopes_supported": ["openid", "email", "profile"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["none"],
        "authorization_response_iss_parameter_supported": True,
    }


def user_info(alive: Alive) -> dict[str, object]:
    """Return who the token belongs to: Google's v1 and v2 fields, and OpenID Connect's."""
    subject = subject_of(alive.user)
    return {
        "id": subject,
        "sub": subject,
        "email": alive.user,
        "verified_email": True,
        "email_verified": True,
        "name": alive.user.partition("@")[0].capitalize(),
    }


def subject_of(user: str) -> str:
    """Return the stable numeric id of a user, 21 digits like Google's."""
    number = int(hashlib.sha256(user.encode()).hexdigest(), 16) % 10**20
    return f"1{number:020d}"


def consent_page(params: Mapping[str, str], users: Sequence[str], scopes: Sequence[str]) -> str:
    """Return the page that asks the user; its form posts the parameters back with the decision."""
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(k)}" value="{html.escape(v)}">' for k, v in params.items()
    )
    options = "".join(f"<option>{html.escape(user)}</option>" for user in users)
    wishes = html.escape(" ".join(scopes) or "nothing in particular")
    client = html.escape(params.get("client_id", "a device"))
    return page(
        "Sign in to the sandbox",
        f"<p><b>{client}</b> asks for: {wishes}</p>"
        f'<form method="post">{hidden}<p><label>As <select name="sandbox_user">{options}</select></label></p>'
        '<button name="decision" value="approve">Approve</button>'
        '<button name="decision" value="deny">Deny</button></form>',
    )


def device_page(user_code: str, users: Sequence[str]) -> str:
    """Return the page where the user types the code a device shows."""
    options = "".join(f"<option>{html.escape(user)}</option>" for user in users)
    return page(
        "Connect a device",
        f'<form method="post"><p><label>Code <input name="user_code" value="{html.escape(user_code)}" autofocus></label></p>'
        f'<p><label>As <select name="sandbox_user">{options}</select></label></p>'
        '<button name="decision" value="approve">Approve</button>'
        '<button name="decision" value="deny">Deny</button></form>',
    )


def page(title: str, body: str) -> str:
    """Return an HTML page; `title` is text, `body` is HTML."""
    safe = html.escape(title)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{safe}</title><style>{_STYLE}</style>'
        f'<h1>{safe}</h1>{body}<p class="note">ccs-broker sandbox: for tests, gives no security.</p></html>'
    )


def _tells_identity(scopes: Sequence[str]) -> bool:
    return any(scope == "openid" or scope.endswith("/userinfo.email") for scope in scopes)


def _id_token(issued: Issued, now: Now, issuer: str) -> str:
    # Well formed, and signed by nobody: clients of a token endpoint may skip the signature (OpenID Connect Core 3.1.3.7 point 6).
    claims = {
        "iss": issuer,
        "aud": issued.client_id,
        "sub": subject_of(issued.user),
        "email": issued.user,
        "email_verified": True,
        "iat": int(now.wall),
        "exp": int(now.wall + max(issued.expires_at - now.boot, 1)),
    }
    parts = (msgspec.json.encode({"alg": "none", "typ": "JWT"}), msgspec.json.encode(claims), b"sandbox-no-signature")
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def _seconds_left(seconds: float) -> int | float:
    # Whole seconds as the standard has it, rounded down: never promise more than there is. Tests with shorter lives get fractions.
    return int(seconds) if seconds >= 1 else max(0.0, round(seconds, 3))
