"""What a linked account is, and whose grant is the newer one.

Owns: the mark in an auth file that says which other program's login file the account shares its login with, and the rule that decides between two grants. Pure.
It must never decide by a time where a fingerprint tells.

    "ccs_broker": {"linked": {"tool": "claude-code", "path": "/home/ann/.claude/.credentials.json", "spent": ["<digest>", ...]}}

`spent` are fingerprints of refresh tokens this account had before: a file that holds one of them is behind. They are written together with the grant that
followed, in one write, so that a program killed in between knows on which side it stands.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from broker.model.account import Record, Tokens
from broker.model.secret import Digest
from broker.providers.base import Document, Identity

MARK = "ccs_broker"
_LINKED = "linked"
# Each is a renewal that the other program has not seen; it reads its file before every renewal of its own.
_SPENT_KEPT = 16


@dataclass(frozen=True, slots=True)
class Link:
    """The login file an account shares its login with: whose it is, its absolute path, and which login of the file where it holds several.

    `spent` are fingerprints of refresh tokens the account had before, oldest first.
    """

    tool: str
    path: str
    key: str = ""
    spent: tuple[Digest, ...] = ()


class Verdict(StrEnum):
    """What follows from comparing our grant with the one in the other program's file."""

    SAME = "same"
    ADOPT = "adopt"  # theirs is newer
    PUSH = "push"  # theirs is one we had before
    HOLD = "hold"  # theirs was never ours and looks older: left alone until ours has proved itself


def link_of(document: Document) -> Link | None:
    """Return the link an auth file names; None where it names none, or one that makes no sense."""
    if MARK not in document:
        return None
    entry = _member(document.get(MARK), _LINKED)
    tool, path, key, listed = entry.get("tool"), entry.get("path"), entry.get("key", ""), entry.get("spent")
    if not (isinstance(tool, str) and isinstance(path, str) and isinstance(key, str) and tool and path.startswith("/")):
        return None
    spent = tuple(digest for text in listed if (digest := _digest(text))) if isinstance(listed, list) else ()
    return Link(tool, path, key, spent)


def linked(document: Document, link: Link) -> dict[str, object]:
    """Return an auth file with this link, and all that is known to be spent, by it or before."""
    before = link_of(document)
    known = dict.fromkeys(digest.text for digest in (*(before.spent if before else ()), *link.spent))
    return _marked(document, replace(link, spent=tuple(map(Digest, known))))


def unlinked(document: Document) -> dict[str, object]:
    """Return an auth file without its link; what else of ours is in it stays."""
    mark = document.get(MARK)
    others = {name: value for name, value in mark.items() if name != _LINKED} if isinstance(mark, Mapping) else {}
    made = {name: value for name, value in document.items() if name != MARK}
    return {**made, MARK: others} if others else made


def succeeded(document: Document, old: Digest | None, new: Digest | None) -> dict[str, object]:
    """Return an auth file in which `new` has just taken the place of the refresh token `old`, noted where it is linked."""
    link = link_of(document)
    if link is None or old is None or old == new:
        return dict(document)
    # A token that was ours once and came back was restored by a person: it is no longer behind.
    return _marked(document, replace(link, spent=(*(one for one in link.spent if one not in (old, new)), old)))


def compare(ours: Tokens, theirs: Tokens, spent: Collection[Digest]) -> Verdict:
    """Decide between our grant and that of the other program's file, which has a refresh token."""
    mine, other = ours.refresh_digest(), theirs.refresh_digest()
    if other == mine:
        return _by_access(ours, theirs)
    if other in spent:
        return Verdict.PUSH
    # One we never saw: renewed or logged in anew by the other program, or an old copy somebody put back.
    return Verdict.ADOPT if mine is None or _rank(theirs) >= _rank(ours) else Verdict.HOLD


def of_another(record: Record, identity: Identity) -> bool:
    """Tell whether a login found in the other program's file is somebody else's than the account: its person switched accounts there."""
    told = ((record.email, identity.email), (record.subject, identity.subject))
    facts = (
        (record.facts.get(name), identity.facts.get(name))
        for name in ("account_id", "account_uuid", "organization_uuid")
    )
    return any(mine.casefold() != theirs.casefold() for mine, theirs in (*told, *facts) if mine and theirs)


def _by_access(ours: Tokens, theirs: Tokens) -> Verdict:
    """Decide where the refresh token is the same: the access token that lives longer is the newer one."""
    if not theirs.access_token or ours.access_token == theirs.access_token:
        return Verdict.SAME
    if not ours.access_token or (theirs.expires_at or 0.0) > (ours.expires_at or 0.0):
        return Verdict.ADOPT
    return Verdict.PUSH if (ours.expires_at or 0.0) > (theirs.expires_at or 0.0) else Verdict.SAME


def _rank(tokens: Tokens) -> float:
    return tokens.expires_at or tokens.last_refresh or 0.0


def _marked(document: Document, link: Link) -> dict[str, object]:
    mark = document.get(MARK)
    entry: dict[str, object] = {"tool": link.tool, "path": link.path}
    if link.key:
        entry["key"] = link.key
    entry["spent"] = [digest.text for digest in link.spent[-_SPENT_KEPT:]]
    return {**document, MARK: {**(mark if isinstance(mark, Mapping) else {}), _LINKED: entry}}


def _member(section: object, name: str) -> Document:
    found = section.get(name) if isinstance(section, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _digest(text: object) -> Digest | None:
    try:
        return Digest(text) if isinstance(text, str) else None
    except ValueError:
        return None
