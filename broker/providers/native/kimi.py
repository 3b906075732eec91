"""Kimi: `credentials/kimi-code.json` of the Python program (`~/.kimi`) and of the newer one (`~/.kimi-code`).

The device id, which the provider expects again with every call, is in a file of its own. The Python program renews under flock on a file beside the
credentials; whether the newer one does is not established, and the same lock is taken for it.
"""

from dataclasses import dataclass

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers import jwt
from broker.providers.base import Document, Identity
from broker.providers.native.base import (
    Beside,
    Found,
    LockKind,
    LockRule,
    Login,
    Names,
    Native,
    Spot,
    checked,
    ended_without_end,
    read_grant,
    write_grant,
)
from broker.providers.timestamps import Unix

_NAMES = Names(expiry="expires_at", notation=Unix(fraction=True))
_DEVICE, _REGION = "device", "region"


@dataclass(frozen=True, slots=True)
class Kimi(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:
        """Return the one login."""
        tokens = ended_without_end(read_grant(document, _NAMES))
        claims = jwt.claims(tokens.access_token)
        facts = {"device_id": _word(beside.get(_DEVICE)), "region": _word(beside.get(_REGION))}
        subject = jwt.text_claim(claims, "user_id") or jwt.text_claim(claims, "sub")
        identity = Identity(
            jwt.text_claim(claims, "email"), subject, {name: value for name, value in facts.items() if value}
        )
        return (checked(Login(tokens, identity), self.title),)

    def write(self, document: Document, key: str, tokens: Tokens, now: Now) -> dict[str, object]:  # noqa: ARG002 - there is one login
        """Replace the grant."""
        return write_grant(document, _NAMES, tokens, now)


def _word(text: object) -> str | None:
    """Return a file's one word; the id is sent as a header, so that nothing but printable ASCII will do."""
    word = text.strip() if isinstance(text, str) else ""
    return word if word and word.isascii() and word.isprintable() and len(word) <= 200 else None


FORMAT = Kimi(
    tool="kimi",
    title="Kimi",
    provider="kimi",
    spots=(
        Spot("~/.kimi/credentials", "kimi-code.json", (("KIMI_SHARE_DIR", "credentials"),)),
        Spot("~/.kimi-code/credentials", "kimi-code*.json", (("KIMI_CODE_HOME", "credentials"),)),
    ),
    beside={_DEVICE: ("../device_id",), _REGION: ("../region",)},
    lock=LockRule(LockKind.FLOCK, "{file}.lock"),
)
