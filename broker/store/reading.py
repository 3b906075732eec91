"""From the bytes of an auth file to an account.

Owns: asking codec, envelope and provider in turn, and turning whatever any of them objects to into a typed fault. Pure.
No bytes and no bug in a vendor's reader may do more than make one file unreadable.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

from broker.model.errors import BrokerError
from broker.model.quick import quickly_made
from broker.providers import routing
from broker.providers.base import Client, Document, FormatError, Provider
from broker.store import codec
from broker.store.codec import Fault, FaultKind, Parsed
from broker.store.link import link_of
from broker.store.table import Place, Source, checked

SEALED_KEY = "ccs_broker_sealed"


class Providers(Protocol):
    """The part of `broker.providers.registry.Registry` the store uses."""

    def of_document(self, document: Document) -> Provider | None:
        """Return the provider that claims a file."""
        ...

    def get(self, name: str) -> Provider:
        """Return a provider by name."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """What an envelope held, and the generation it was sealed with."""

    data: bytes = field(repr=False)
    generation: int


class Envelope(Protocol):
    """Sealing of files (`broker.store.seal`)."""

    def open_file(self, document: Document, file_name: str) -> Opened | Fault:
        """Return the plain bytes inside a sealed file."""
        ...


@quickly_made
@dataclass(frozen=True, slots=True)
class Reading:
    """A file that is an account. `inner` is the plain document; `outer` the envelope around it, None for a plain file."""

    source: Source
    provider: Provider
    inner: Parsed
    outer: Parsed | None = None


def interpret(
    data: bytes, content: str, place: Place, providers: Providers, envelope: Envelope | None
) -> Reading | Fault:
    """Read an auth file. `content` is the SHA-256 of `data`. Never raises."""
    found = codec.read(data)
    if isinstance(found, Fault):
        return found
    parsed, document = found
    if SEALED_KEY not in document:
        return _account(found, None, content, place, providers, None)
    if envelope is None:
        return Fault(FaultKind.SEALED, 'is sealed; set store.mode = "sealed" to use it')
    opened = envelope.open_file(document, place.name)
    if isinstance(opened, Fault):
        return opened
    inner = codec.read(opened.data)
    if isinstance(inner, Fault):
        return Fault(FaultKind.TAMPERED, "holds no auth file inside its seal")
    return _account(inner, parsed, content, place, providers, opened.generation)


def _account(
    found: codec.Both, outer: Parsed | None, content: str, place: Place, providers: Providers, generation: int | None
) -> Reading | Fault:
    inner, document = found
    provider = providers.of_document(document)
    if provider is None:
        return Fault(FaultKind.UNKNOWN_TYPE, f"is of a type no provider here has: {_shown(document['type'])}")
    try:
        record = checked(provider.read(document, place.name))
        if (said := routing.read(document)) is not record.routing:
            record = replace(record, routing=said)
        client: Client | None = provider.client_of(document)
        if client is not None and client.secret:
            client.secret.digest()  # as `checked` does
    except (FormatError, BrokerError) as error:
        return Fault(FaultKind.BAD_FIELDS, f"cannot be used: {error}")
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        return Fault(FaultKind.BAD_FIELDS, f"cannot be used: {type(error).__name__}")
    return Reading(Source(place, content, record, client, generation, link_of(document)), provider, inner, outer)


def _shown(text: object) -> str:
    return ascii(text)[:42]
