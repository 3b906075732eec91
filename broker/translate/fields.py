"""Reading a client's JSON so that a fault names its field.

Owns: decoding and shaping into typed structs, and turning every way this can fail into `BrokerError(bad_request)` whose detail begins with the field's
path (`messages[2].content: expected ...`). It must never quote a value: it may be private or 20 MB long.
"""

import re
from typing import NoReturn, TypeVar

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.blob import Base64, blob_of, spared

T = TypeVar("T")

_ARGUMENTS = msgspec.json.Decoder(dict[str, object])
_TEXT = msgspec.json.Decoder(str)
_NULL = msgspec.Raw(b"null")
_AT = re.compile(r"^(.*?)(?: - at `\$\.?([^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `([^`]*)`$")
_PATH = re.compile(r"^([A-Za-z_][\w.\[\]-]*): ")


def bad_field(path: str, why: str) -> NoReturn:
    """Refuse a request for one of its fields.

    Raises:
        BrokerError: `bad_request`, always.
    """
    raise BrokerError(ErrorCode.BAD_REQUEST, f"{path}: {why}")


def field_of(detail: str) -> str | None:
    """Return the field path a detail begins with; None where it names none, or the body as a whole."""
    found = _PATH.match(detail)
    return found[1] if found and found[1] != "body" else None


def read(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw, path: str = "") -> T:
    """Decode `data`, which lies at `path` of the body ("" is the body itself).

    Raises:
        BrokerError: `bad_request` naming the field: not JSON, too deep, a field missing or of the wrong type.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        _refuse(str(error), path)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        bad_field(path or "body", f"not valid JSON: {error}")
    except RecursionError:
        bad_field(path or "body", "nested too deeply")


def read_text(data: msgspec.Raw, path: str) -> Base64:
    """Read text that may be a long image, which lies at `path` of the body and stays there.

    Raises:
        BrokerError: as `read`.
    """
    return blob_of(data) or spared(read(_TEXT, data, path))


def read_text_or_none(data: msgspec.Raw, path: str) -> Base64 | None:
    """Read text that may be long, or null; raises as `read`."""
    return None if data == _NULL else read_text(data, path)


def attempt(decoder: msgspec.json.Decoder[T], data: bytes | msgspec.Raw) -> T | None:
    """Decode what is only looked at on its way; None where it cannot be read, which whoever it is meant for will judge."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def read_arguments(text: str, path: str) -> dict[str, object]:
    """Decode a call's arguments, which lie at `path` as JSON text; clients write those of a call without any as "".

    Raises:
        BrokerError: as `read`.
    """
    return read(_ARGUMENTS, text.encode("utf-8", "surrogatepass"), path) if text.strip() else {}


def shaped(kind: type[T], value: object, path: str = "") -> T:
    """Put a decoded value, which lies at `path` of the body, into a typed shape; numbers may be written as text, as Google's API takes them.

    Raises:
        BrokerError: `bad_request` naming the field: missing or of the wrong type.
    """
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        _refuse(str(error), path)


def join(path: str, inner: str) -> str:
    """Append a path inside a value to the value's own path."""
    if not path or not inner or inner.startswith("["):
        return path + inner
    return f"{path}.{inner}"


def _refuse(message: str, path: str) -> NoReturn:
    found = _AT.match(message)
    assert found is not None  # the pattern matches any text
    why, inner = found[1], found[2] or ""
    missing = _MISSING.match(why)
    if missing:
        bad_field(join(join(path, inner), missing[1]), "is required")
    bad_field(join(path, inner) or "body", why[:1].lower() + why[1:].replace("`", ""))
