"""Kiro's command line: rows of its SQLite store `data.sqlite3`, one for each way to log in, and the client registration of its device login in another.

The row's name spells OIDC as `odic`, and older stores have the name of the program's predecessor. The store is never written: whether the program would notice
is not known.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.providers import fields
from broker.providers.base import Client, Document, FormatError, Identity
from broker.providers.native.base import (
    Beside,
    Found,
    Login,
    Names,
    Native,
    Refused,
    Spot,
    checked,
    ended_without_end,
    read_grant,
)

_NAMES = Names(expiry="expires_at")
_LOGINS, _STATE = "auth_kv", "state"
_SOCIAL = "kirocli:social:token"
_REGISTRATION = "kirocli:odic:device-registration"
_REGISTRATIONS = {
    "kirocli:odic:token": (_REGISTRATION,),
    "kirocli:oidc:token": ("kirocli:oidc:device-registration", _REGISTRATION),
    "codewhisperer:odic:token": ("codewhisperer:odic:device-registration",),
}
_KEYS = (*_REGISTRATIONS, *(name for names in _REGISTRATIONS.values() for name in names), _SOCIAL)
_PROFILE = "api.codewhisperer.profile"


@dataclass(frozen=True, slots=True)
class KiroCli(Native):
    """The format; see the module."""

    def find(self, document: Document, beside: Beside) -> tuple[Found, ...]:  # noqa: ARG002 - nothing lies beside
        """Return a login for each row of one."""
        found = tuple(_logins(fields.section(document, _LOGINS) or {}, _profile(document), self.title))
        return found or (Refused(f"holds no login: {self.title} is not logged in", blank=True),)


def _logins(rows: Document, profile: str | None, title: str) -> Iterator[Found]:
    for key in (*_REGISTRATIONS, _SOCIAL):
        row = rows.get(key)
        if not isinstance(row, Mapping):
            continue
        try:
            yield _login(row, key, _registration(rows, key), profile, title)
        except FormatError as error:
            yield Refused(str(error), key)


def _login(row: Document, key: str, registration: Document, profile: str | None, title: str) -> Found:
    identity = Identity(facts=_facts(row, key, registration, profile))
    found = checked(Login(ended_without_end(read_grant(row, _NAMES)), identity, key, _client(registration)), title)
    if isinstance(found, Login) and key != _SOCIAL and found.client is None:
        return Refused("has no client registration for this login, without which it cannot be renewed", key)
    return found


def _registration(rows: Document, key: str) -> Document:
    """Return the registration of a login: only the one that was made for it."""
    found = (rows.get(name) for name in _REGISTRATIONS.get(key, ()))
    return next((row for row in found if isinstance(row, Mapping)), {})


def _client(registration: Document) -> Client | None:
    identifier, ends = fields.hint(registration, "client_id"), fields.stamp(registration, ("client_secret_expires_at",))
    if identifier is None:
        return None
    return Client(identifier, fields.secret(registration, "client_secret"), expires_at=ends.seconds if ends else None)


def _facts(row: Document, key: str, registration: Document, profile: str | None) -> dict[str, str]:
    told = {
        "region": fields.hint(row, "region") or fields.hint(registration, "region"),
        "profile_arn": fields.hint(row, "profile_arn") or profile,
        "start_url": fields.hint(row, "start_url"),
        "provider": fields.hint(row, "provider") if key == _SOCIAL else None,
        "auth_method": "social" if key == _SOCIAL else "idc",
    }
    return {name: value for name, value in told.items() if value}


def _profile(document: Document) -> str | None:
    """Return the profile's ARN, which stands there alone or in an object."""
    state = fields.section(document, _STATE) or {}
    told = state.get(_PROFILE)
    found = told.get("arn") if isinstance(told, Mapping) else told
    return found if isinstance(found, str) and found.startswith("arn:") else None


FORMAT = KiroCli(
    tool="kiro-cli",
    title="Kiro CLI",
    provider="kiro",
    spots=(
        Spot("~/.local/share/kiro-cli", "data.sqlite3", (("XDG_DATA_HOME", "kiro-cli"),)),
        Spot("~/Library/Application Support/kiro-cli", "data.sqlite3"),
    ),
    unlinked="its store is a database, which is never written",
    database={_LOGINS: _KEYS, _STATE: (_PROFILE,)},
)
