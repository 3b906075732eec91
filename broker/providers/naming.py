"""Labels and file names made from what a provider says about an account.

Owns: turning any text into a label `AccountId` accepts and into a piece of a file name that is safe on every system.
"""

from collections.abc import Mapping

from broker.model.account import AccountId, Record, Tokens
from broker.providers.base import Identity

_LABEL_MAX = 200
_PIECE_MAX = 100  # several pieces and an ending must stay under 255 bytes
_UNSAFE = frozenset('/\\:*?"<>|')


def first_label(*candidates: str | None) -> str:
    """Return the first candidate that can be made a label.

    Raises:
        ValueError: none can.
    """
    for candidate in candidates:
        if label := safe_label(candidate or ""):
            return label
    raise ValueError("no label")


def safe_label(text: str) -> str:
    """Return `text` with what a label may not hold replaced by `-`; empty where nothing is left of it."""
    made = text.strip()
    if "/" in made or not made.isprintable():
        made = "".join("-" if c == "/" or not c.isprintable() else c for c in made)
    made = made[:_LABEL_MAX].strip()
    return made if made.strip("-") else ""


def file_piece(text: str) -> str:
    """Return `text` as part of a file name: no separators, no control characters, no leading dot."""
    made = "".join("_" if c in _UNSAFE or not c.isprintable() or c.isspace() else c for c in text.strip())
    return made.lstrip(".")[:_PIECE_MAX]


def stem(file_name: str) -> str:
    """Return a file name without `.json`, in any case, and without its folder."""
    base = file_name.rpartition("/")[2]
    return base[:-5] if base.lower().endswith(".json") else base


def relabelled(document: Mapping[str, object], label: str) -> dict[str, object]:
    """Return an auth file that is called `label`: a field all formats share (CLIProxyAPI reads it before the e-mail address)."""
    return {**document, "label": label}


def new_record(provider: str, tokens: Tokens, identity: Identity, label: str | None) -> Record:
    """Return the record of a new login. Without a label from the user: the e-mail address, the subject, the project, or a name from the grant.

    Raises:
        BrokerError: `bad_request` where the user's label cannot be one.
    """
    if label is not None:
        account = AccountId(provider, label)
    else:
        digest = tokens.refresh_digest() or (tokens.access_token.digest() if tokens.access_token else None)
        unnamed = f"login-{digest.text[:8]}" if digest else "login"
        account = AccountId(
            provider,
            first_label(identity.email, identity.subject, identity.facts.get("project_id"), unnamed),
        )
    return Record(account, tokens, identity.email, identity.subject, dict(identity.facts))
