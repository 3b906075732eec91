"""Fields of an auth file, by the several ways their names are spelled.

Owns: finding a field as snake_case, camelCase or kebab-case (CLIProxyAPI accepts all three), checking its type, and putting a secret into a
document, which is where a token becomes text again on its way to disk. It must never put a value into an error.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from broker.model.secret import Secret
from broker.providers.base import Document, FormatError
from broker.providers.timestamps import RFC3339, Notation, Stamp, read, read_seconds, write

_SENDABLE_MAX = 4096


@lru_cache(maxsize=256)  # a file of a login is asked for some forty names, mostly the same
def spellings(name: str) -> tuple[str, ...]:
    """Return the ways to write a snake_case name, the one that wins first."""
    head, *rest = name.split("_")
    return tuple(dict.fromkeys((name, head + "".join(part.capitalize() for part in rest), name.replace("_", "-"))))


def get(document: Document, name: str) -> object:
    """Return the value of the first spelling that is there and not null."""
    value = document.get(name)
    if value is not None or "_" not in name:
        return value
    for key in spellings(name):
        value = document.get(key)
        if value is not None:
            return value
    return None


def text(document: Document, name: str) -> str | None:
    """Return a field that is text; None where it is missing, null or blank.

    Raises:
        FormatError: it is there and not text.
    """
    value = document.get(name)
    if isinstance(value, str) and (found := value.strip()):
        return found
    for key in spellings(name):
        value = document.get(key)
        if value is not None and not isinstance(value, str):
            raise FormatError(f"{key} is not text")
        if value and value.strip():
            return value.strip()
    return None


def hint(document: Document, name: str) -> str | None:
    """Return a field that is text; None where it is anything else. For fields whose loss costs nothing."""
    value = get(document, name)
    return value.strip() or None if isinstance(value, str) else None


def secret(document: Document, name: str) -> Secret | None:
    """Return a field that holds a secret; raises as `text` does."""
    value = text(document, name)
    return Secret(value) if value else None


def flag(document: Document, name: str) -> bool:
    """Tell whether a field says yes: true, a number other than 0, or one of the words that mean it."""
    value = get(document, name)
    if isinstance(value, str):
        return value.strip().lower() in {"true", "1", "yes", "on"}
    return bool(value) if isinstance(value, (bool, int, float)) else False


def words(document: Document, name: str) -> tuple[str, ...]:
    """Return a list of words, written as a list of texts or as one text with spaces or commas between them."""
    value = get(document, name)
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.replace(",", " ").split())
    return tuple(part for part in value if isinstance(part, str) and part) if isinstance(value, (list, tuple)) else ()


def section(document: Document, *names: str) -> Mapping[str, object] | None:
    """Return the first of these fields that is an object.

    Raises:
        FormatError: one is there and is neither an object nor null.
    """
    for name in names:
        value = document.get(name)
        if isinstance(value, dict) or isinstance(value, Mapping):  # noqa: SIM101 - nearly always the former, which is ten times as quick
            return value
        if value is not None:
            raise FormatError(f"{name} is not an object")
    return None


def stamp(document: Document, names: Iterable[str]) -> Stamp | None:
    """Return the first of these fields that holds a time."""
    for name in names:
        if name in document and (found := read(document[name])) is not None:
            return found
    return None


def seconds(document: Document, names: Iterable[str]) -> float | None:
    """Return what `stamp` finds, without how it is written."""
    for name in names:
        if name in document and (found := read_seconds(document[name])) is not None:
            return found
    return None


def sendable(value: Secret) -> bool:
    """Tell whether a secret can stand in a header: visible ASCII without spaces, at most 4096 characters."""
    plain = value.reveal()
    return 0 < len(plain) <= _SENDABLE_MAX and plain.isascii() and plain.isprintable() and " " not in plain


def put_secret(target: dict[str, object], name: str, value: Secret | None, *, add: bool) -> None:
    """Set a secret in every spelling that is there; `add` it as snake_case where there is none. None changes nothing.

    A grant is never blanked: an answer that brings no new token leaves the old one where it is.
    """
    if not value:
        return
    there = [key for key in spellings(name) if key in target]
    for key in there or ([name] if add else []):
        target[key] = value.reveal()


def put_text(target: dict[str, object], name: str, value: str) -> None:
    """Set a field that is text in every spelling that is there, and as snake_case where there is none."""
    for key in [key for key in spellings(name) if key in target] or [name]:
        target[key] = value


def put_stamp(target: dict[str, object], names: Iterable[str], seconds: float | None, add: str | None = None) -> None:
    """Set a time in every one of these fields that is there, each in its own notation; `add` names one to make where there is none.

    None (the provider no longer says when) becomes null, which every reader takes for unknown: an old time would be a lie.
    """
    there = [key for key in names if key in target]
    notation: Notation = next((s.notation for key in there if (s := read(target[key])) is not None), RFC3339)
    for key in there or ([add] if add and seconds is not None else []):
        old = read(target.get(key))
        target[key] = None if seconds is None else write(seconds, old.notation if old else notation)
