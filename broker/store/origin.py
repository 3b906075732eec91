"""The document of a login that is put away, wherever it came from, and of one whose grant is replaced.

Owns: what stands in a new auth file, and that a linked account's file notes which refresh token it leaves behind. Pure.
"""

from collections.abc import Callable
from dataclasses import replace

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.providers.base import Client, Document, Provider
from broker.store.base import Origin
from broker.store.link import Link, linked, succeeded, unlinked
from broker.store.reading import Reading


def new_document(
    provider: Provider, record: Record, client: Client, now: Now, origin: Origin
) -> tuple[str, dict[str, object]]:
    """Return the file name and the document of a login: the provider's, or the one that was taken over."""
    if origin.document is None:
        name, made = provider.create(record, client, now)
    else:
        name, made = origin.name, dict(origin.document)
    return name, linked(made, origin.link) if origin.link else made


def renewed(reading: Reading, document: Document, tokens: Tokens, now: Now) -> dict[str, object]:
    """Return `document` with its grant replaced; no new refresh token means that the old one stays."""
    old = reading.source.record.tokens
    kept = replace(tokens, refresh_token=tokens.refresh_token or old.refresh_token)
    made = reading.provider.write(document, kept, now)
    return succeeded(made, old.refresh_digest(), kept.refresh_digest())


def relinked(link: Link | None) -> Callable[[Reading, Document], Document | None]:
    """Return what sets a file's link, or takes it away; nothing is to be done where it is so already."""

    def build(_reading: Reading, document: Document) -> Document | None:
        made = linked(document, link) if link else unlinked(document)
        return None if made == document else made

    return build
