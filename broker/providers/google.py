"""What Google's installed apps have in common.

Owns: Google's OAuth endpoints and error words, and finding an installed app's client secret in text, beside its client id and nowhere else.
Such a secret is no secret (RFC 8252 section 8.5), but it is not ours to ship either.
"""

import re
from itertools import pairwise

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

KEY_PREFIX = "GOCSPX-"
"""How the secret of a Google installed app begins."""

_ADJACENT = 600  # characters between an id and its secret in a bundle: a comment and two declarations
_APP_ID = r"\d{6,20}-[a-z0-9]{20,40}\.apps\.googleusercontent\.com"
_APP_KEY = rf"{KEY_PREFIX}[A-Za-z0-9_-]{{28}}"
_NEAR = 64  # characters between the strings of one declaration in a compiled program


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


def secret_in_binary(text: str, client_id: str) -> Secret | None:
    """Find the secret in what a compiled program holds around ids and secrets, which have no quotes there.

    Where the program holds our id and one secret, that is it. Of several, ours is the one that stands beside our id in a run of ids and secrets
    that takes turns strictly (id, secret, id, secret, or the other way round): in any other order it cannot be told whose a secret is, and none is taken.
    """
    if client_id not in text:
        return None
    marks = list(re.finditer(rf"(?P<id>{re.escape(client_id)}|{_APP_ID})|(?P<secret>{_APP_KEY})", text))
    secrets = {mark["secret"] for mark in marks if mark["secret"]}
    if len(secrets) > 1:
        secrets = {pair[1] for run in _runs(marks) for pair in _pairs(run) if pair[0] == client_id}
    return Secret(secrets.pop()) if len(secrets) == 1 else None


def _runs(marks: list[re.Match[str]]) -> list[list[re.Match[str]]]:
    """Split marks where more than a declaration's width lies between two."""
    runs: list[list[re.Match[str]]] = []
    for mark in marks:
        if runs and mark.start() - runs[-1][-1].end() <= _NEAR:
            runs[-1].append(mark)
        else:
            runs.append([mark])
    return runs


def _pairs(run: list[re.Match[str]]) -> list[tuple[str, str]]:
    """Return the ids and secrets of a run that takes turns; nothing of any other."""
    turns = [bool(mark["id"]) for mark in run]
    if len(run) % 2 or any(one is other for one, other in pairwise(turns)):
        return []
    couples = zip(run[::2], run[1::2], strict=True)
    return [(a["id"], b["secret"]) if a["id"] else (b["id"], a["secret"]) for a, b in couples]


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
