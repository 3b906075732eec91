"""CLIProxyAPI: the auth files of its own directory, which have the format of ours. They are copied, every field of them."""

from dataclasses import dataclass

from broker.model.account import Tokens
from broker.providers.base import Document
from broker.providers.native.base import Beside, Found, Login, Native, Refused, Spot

_NOTHING = Tokens(access_token=None)


@dataclass(frozen=True, slots=True)
class CliProxyApi(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return the file as it is; which provider it belongs to, and its tokens, are read by that provider."""
        kind = document.get("type")
        if not isinstance(kind, str) or not kind.strip():
            return (Refused('has no "type", so it belongs to no provider'),)
        return (Login(_NOTHING, document=document),)


FORMAT = CliProxyApi(
    tool="cliproxyapi",
    title="CLIProxyAPI",
    provider="",
    spots=(Spot("~/.cli-proxy-api", "*.json"),),
    unlinked="CLIProxyAPI takes no lock; to share its logins, name its directory in store.directories and stop it",
)
