"""Tokens made from a long-lived secret, in files that have no place for them.

Owns: the object `ccs_broker` of an auth file, where an access token is kept that the vendor's own file does not hold:

    "ccs_broker": {"access_token": "…", "expires_at": "2026-05-01T10:20:30Z", "last_refresh": "2026-05-01T09:55:30Z", "of": "…"}

Other programs ignore it. `of` is the fingerprint of the secret the token was made from: once another program has put a new secret into the file, the
token of the old one is no longer read. It must never hold the long-lived secret.
"""

from collections.abc import Mapping
from dataclasses import replace

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers import fields
from broker.providers.base import Document
from broker.providers.timestamps import write as stamp

KEY = "ccs_broker"


def read(document: Document, origin: Secret) -> Tokens:
    """Return the grant of a file whose long-lived secret is `origin`; without an access token where none was made from it yet."""
    grant = Tokens(None, origin)
    kept = document.get(KEY)
    token = fields.hint(kept, "access_token") if isinstance(kept, Mapping) else None
    if not isinstance(kept, Mapping) or token is None or kept.get("of") != origin.digest().text:
        return grant
    ends, made = fields.stamp(kept, ("expires_at",)), fields.stamp(kept, ("last_refresh",))
    # Without an end it counts as ended: another costs one request.
    return replace(
        grant,
        access_token=Secret(token),
        expires_at=ends.seconds if ends else 0.0,
        last_refresh=made.seconds if made else None,
    )


def put(made: dict[str, object], origin: Secret | None, tokens: Tokens, now: Now) -> None:
    """Set the object of `made`, a file whose long-lived secret is `origin` by now. A grant without an access token changes nothing."""
    if not tokens.access_token or not origin:
        return
    old = made.get(KEY)
    kept: dict[str, object] = dict(old) if isinstance(old, Mapping) else {}
    fields.put_secret(kept, "access_token", tokens.access_token, add=True)
    kept["expires_at"] = None if tokens.expires_at is None else stamp(tokens.expires_at)
    kept["last_refresh"] = stamp(now.wall)
    kept["of"] = origin.digest().text
    made[KEY] = kept
