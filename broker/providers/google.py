"""What Google's installed apps have in common.

Owns: Google's OAuth endpoints and error words, and finding an installed app's client secret in text, beside its client id and nowhere else.
Such a secret is no secret (RFC 8252 section 8.5), but it is not ours to ship either.
"""

import re

import msgspec

from broker.model.secret import Secret
from broker.oauth.grant import Reading
from broker.oauth.sorting import Words
from broker.providers import fields
from broker.providers.base import Document, Endpoints, FormatError

ENDPOINTS = Endpoints(
    authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
    token_url="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
    revoke_url="https://oauth2.googleapis.com/revoke",
    userinfo_url="https://www.googleapis.com/oauth2/v2/userinfo",
)
READING = Reading(lifetime=3600.0, words=Words(misconfigured=frozenset({"redirect_uri_mismatch", "invalid_client_id"})))

_ADJACENT = 600  # characters between an id and its secret in a bundle: a comment and two declarations
_APP_ID = r"\d{6,20}-[a-z0-9]{20,40}\.apps\.googleusercontent\.com"
_APP_KEY = r"GOCSPX-[A-Za-z0-9_-]{28}"


def secret_in_document(text: str, client_id: str) -> Secret | None:
    """Find the secret in an auth file: in the object that names `client_id`, at the top or under `token`."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    places = (found, found.get("token"), found.get("installed"), found.get("web"))
    return next((s for place in places if isinstance(place, dict) and (s := _beside(place, client_id))), None)


def secret_in_source(text: str, client_id: str) -> Secret | None:
    """Find the secret in a program's text: the quoted secret that belongs to `client_id` and to no other id.

    It belongs to the id before it, or where none is near, to the one after it, with no other secret between. Two candidates are none.
    """
    if client_id not in text:  # most files of a bundle, told apart at a thousandth of the cost
        return None
    literal = re.compile(rf"""["'`](?:(?P<id>{re.escape(client_id)}|{_APP_ID})|(?P<secret>{_APP_KEY}))["'`]""")
    marks = list(literal.finditer(text))
    owned = {mark["secret"] for index, mark in enumerate(marks) if mark["secret"] and _owner(marks, index) == client_id}
    return Secret(owned.pop()) if len(owned) == 1 else None


def _owner(marks: list[re.Match[str]], index: int) -> str | None:
    here = marks[index]
    before = marks[index - 1] if index else None
    after = marks[index + 1] if index + 1 < len(marks) else None
    if before is not None and before["id"] and here.start() - before.end() <= _ADJACENT:
        return before["id"]
    if after is not None and after["id"] and after.start() - here.end() <= _ADJACENT:
        return after["id"]
    return None


def _beside(place: Document, client_id: str) -> Secret | None:
    try:
        return fields.secret(place, "client_secret") if fields.text(place, "client_id") == client_id else None
    except FormatError:
        return None
