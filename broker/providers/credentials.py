"""`provider-credentials.json`: client registrations and addresses from outside the config.

Owns: the shape of the file, `{PROVIDER: {"clientId", "clientSecret", "tokenUrl", "authUrl", "refreshUrl"}}`, and what is said of entries that cannot be.
It must never repeat a value in a warning.
"""

from collections.abc import Collection, Mapping

import msgspec

from broker.model.secret import Secret
from broker.oauth.discovery import acceptable_url
from broker.providers.base import Document
from broker.providers.fields import sendable

_URLS = ("tokenUrl", "authUrl", "refreshUrl")
_KEYS = ("clientId", "clientSecret", *_URLS)


class Credential(msgspec.Struct, frozen=True):
    """What the file says of one provider; None where it says nothing. `refresh_url` is where renewals go, where that is not `token_url`."""

    client_id: str | None = None
    client_secret: Secret | None = None
    token_url: str | None = None
    authorize_url: str | None = None
    refresh_url: str | None = None


class Listed(msgspec.Struct, frozen=True):
    """What was read: credentials by provider, and a sentence for each thing that was left out."""

    credentials: Mapping[str, Credential]
    warnings: tuple[str, ...] = ()


EMPTY = Listed({})


def read(data: bytes, known: Collection[str]) -> Listed:
    """Read the file. `known` are the providers' names. What cannot be is left out and told; nothing is raised."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Listed({}, ("it is not JSON",))
    if not isinstance(found, dict):
        return Listed({}, ("it is not an object with a provider's name for each entry",))
    warnings: list[str] = []
    made = {name: one for name, entry in found.items() if (one := _entry(name, entry, known, warnings)) is not None}
    return Listed(made, tuple(warnings))


def _entry(name: str, entry: object, known: Collection[str], warnings: list[str]) -> Credential | None:
    shown = "".join(c for c in name if c.isprintable())[:60]
    if name not in known:
        warnings.append(f"there is no provider {shown!r}")
        return None
    if not isinstance(entry, Mapping):
        warnings.append(f"{shown} is not an object")
        return None
    if strange := sum(key not in _KEYS for key in entry):
        warnings.append(
            f"{shown} has {strange} unknown {'key' if strange == 1 else 'keys'}; known are {', '.join(_KEYS)}"
        )
    told = {key: value for key in _KEYS if (value := _text(shown, entry, key, warnings)) is not None}
    secret = told.get("clientSecret")
    return Credential(
        client_id=told.get("clientId"),
        client_secret=Secret(secret) if secret else None,
        token_url=told.get("tokenUrl"),
        authorize_url=told.get("authUrl"),
        refresh_url=told.get("refreshUrl"),
    )


def _text(name: str, entry: Document, key: str, warnings: list[str]) -> str | None:
    value = entry.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        warnings.append(f"{name}.{key} is not text")
    elif key in _URLS and not acceptable_url(value):
        warnings.append(f"{name}.{key} is no https address (http is for this machine only)")
    elif not sendable(Secret(value)):
        warnings.append(f"{name}.{key} holds spaces or other characters that cannot be in it")
    else:
        return value
    return None
