"""GitHub Copilot: `apps.json` (newer) and `hosts.json` (older) of the editor plug-ins, in `~/.config/github-copilot`.

What is in them is the GitHub token, which does not end and cannot be renewed: there is nothing to link. The stores of VS Code (its secret store) and of
Copilot's own command line (a keychain) are not read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.providers import fields
from broker.providers.base import Document, Identity
from broker.providers.native.base import Beside, Found, Login, Native, Refused, Spot

_GITHUB = "github.com"
_APP = "Iv1.b507a08c87ecfe98"  # whose tokens are known to be good for the Copilot token


@dataclass(frozen=True, slots=True)
class Copilot(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return a login for each host and app."""
        found = tuple(_entries(document))
        return found or (Refused("names no host: nobody is logged in", blank=True),)


def _entries(document: Document) -> Iterator[Found]:
    for key, entry in document.items():
        host = key.partition(":")[0]
        if not isinstance(entry, Mapping):
            continue
        token = fields.secret(entry, "oauth_token")
        if token is None:
            yield Refused(f"has an empty token for {_shown(host)}", key, blank=True)
            continue
        user = fields.hint(entry, "user")
        if key != f"{host}:{_APP}" and _user(document.get(f"{host}:{_APP}")) == user is not None:
            yield Refused(f"has a second token for {_shown(user)}, of another app; that of the editors' is taken", key)
            continue
        facts = {} if host == _GITHUB else {"host": host}
        yield Login(_tokens(token), Identity(None, user, facts), key)


def _user(entry: object) -> str | None:
    """Return whose token an entry holds; None where it holds none."""
    if not isinstance(entry, Mapping) or not fields.hint(entry, "oauth_token"):
        return None
    return fields.hint(entry, "user")


def _tokens(token: Secret) -> Tokens:
    # The GitHub token is what the API's own short-lived token is asked for with.
    return Tokens(access_token=None, refresh_token=token)


def _shown(host: str) -> str:
    return ascii(host)[1:-1][:40]


_FOLDER = "~/.config/github-copilot"
_XDG = (("XDG_CONFIG_HOME", "github-copilot"),)

FORMAT = Copilot(
    tool="copilot",
    title="GitHub Copilot",
    provider="github-copilot",
    spots=(Spot(_FOLDER, "apps.json", _XDG), Spot(_FOLDER, "hosts.json", _XDG)),
    unlinked="its token is long-lived and never renewed, so that a copy does no harm",
)
