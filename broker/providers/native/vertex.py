"""Google service accounts: a key file downloaded from the Cloud console, given by its path. It becomes an auth file as CLIProxyAPI makes it.

A key does not change when it is used, so there is nothing to link.
"""

from dataclasses import dataclass

from broker.model.account import Tokens
from broker.providers import fields
from broker.providers.base import Document
from broker.providers.native.base import Beside, Found, Login, Native, Refused

_KIND = "service_account"
_LOCATION = "us-central1"  # CLIProxyAPI's default
_NEEDED = ("project_id", "client_email", "private_key")


@dataclass(frozen=True, slots=True)
class Vertex(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return the key as an auth file."""
        if document.get("type") != _KIND:
            return (Refused("is no service account's key"),)
        if missing := next((name for name in _NEEDED if not fields.hint(document, name)), None):
            return (Refused(f"has no {missing}"),)
        project, email = fields.hint(document, "project_id"), fields.hint(document, "client_email")
        made: dict[str, object] = {
            "service_account": dict(document),
            "project_id": project,
            "email": email,
            "location": _LOCATION,
            "type": "vertex",
            "label": f"{project} ({email})",
            "disabled": False,
        }
        return (Login(Tokens(access_token=None), document=made),)


FORMAT = Vertex(
    tool="vertex",
    title="Google service account",
    provider="vertex",
    unlinked="a service account's key is never renewed",
)
