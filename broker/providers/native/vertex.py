"""Google service accounts: a key file downloaded from the Cloud console, given by its path. It becomes an auth file as CLIProxyAPI makes it.

A key does not change when it is used, so there is nothing to link.
"""

from dataclasses import dataclass

from broker.model.account import Tokens
from broker.providers.base import Document
from broker.providers.native.base import Beside, Found, Login, Native
from broker.providers.vertex import from_key


@dataclass(frozen=True, slots=True)
class Vertex(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return the key as an auth file; raises FormatError."""
        return (Login(Tokens(access_token=None), document=from_key(document)),)


FORMAT = Vertex(
    tool="vertex",
    title="Google service account",
    provider="vertex",
    unlinked="a service account's key is never renewed",
)
