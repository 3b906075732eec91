"""The auth directory, the state directory and the files in them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from broker.doctor.facts import AuthFile, Folder, Key, Kind, Leftover, Registry
from broker.doctor.finding import (
    Finding,
    MakeFolder,
    RemoveTemporary,
    SetMode,
    Severity,
    aside,
    capital,
    mendable,
    quoted,
)
from broker.model.account import Record, Tokens
from broker.store.codec import FaultKind
from broker.store.table import same_login

SETTLED_SECONDS = 10.0
"""A file written longer ago than this is no longer being written."""

SOON_SECONDS = 86_400.0
"""A login that cannot be renewed and ends within a day is worth a word."""

PENDING_SECONDS = 300.0
"""A journal record older than this is of no renewal under way: a token endpoint is given far less."""

_BROKEN = frozenset({FaultKind.EMPTY, FaultKind.HALF, FaultKind.NOT_JSON})
_OWN_CHECK = frozenset({FaultKind.UNKNOWN_TYPE, FaultKind.SEALED, FaultKind.FOREIGN_OWNER})


# --- folders ---


def missing(folder: Folder) -> Iterator[Finding]:
    """An auth directory that is not there."""
    if folder.kind is Kind.MISSING:
        yield mendable(
            "auth-dir-missing", Severity.WARNING, f"{capital(folder.role)} does not exist", MakeFolder(folder.path)
        )


def mode(id_: str, folder: Folder) -> Iterator[Finding]:
    """A folder of ours that others can look into."""
    if folder.kind is Kind.FOLDER and folder.mine and folder.mode & 0o077:
        what = f"{capital(folder.role)} is open to other users (mode {folder.mode:04o})"
        yield mendable(id_, Severity.ERROR, what, SetMode(folder.path, 0o700))


def owner(id_: str, folder: Folder) -> Iterator[Finding]:
    """Another user's folder."""
    if folder.kind is Kind.FOLDER and not folder.mine:
        what = f"{capital(folder.role)} belongs to user {folder.owner}, who can read and replace everything in it"
        yield Finding(id_, Severity.ERROR, what, f"Run: sudo chown -R $USER {quoted(folder.path)}", str(folder.path))


def unwritable(id_: str, folder: Folder) -> Iterator[Finding]:
    """A folder we cannot work in."""
    if folder.kind is Kind.OTHER:
        yield Finding(
            id_, Severity.ERROR, f"{capital(folder.role)} is not a folder", f"Run: {aside(folder.path)}", str(folder.path)
        )  # fmt: skip
    elif folder.mine and not folder.writable:
        done = "cannot be written" if folder.kind is Kind.FOLDER else "does not exist, and cannot be made"
        mend = f"Run: chmod u+rwx {quoted(folder.path)}; where its file system is mounted read-only, remount it."
        yield Finding(id_, Severity.ERROR, f"{capital(folder.role)} {done}", mend, str(folder.path))


def parent(folder: Folder) -> Iterator[Finding]:
    """A folder above that others may write to."""
    if folder.open_above is not None:
        what = f"Other users may write to {folder.open_above}, and put another folder in the place of {folder.role}"
        mend = f"Run: chmod go-w {quoted(folder.open_above)}"
        yield Finding("auth-dir-parent", Severity.ERROR, what, mend, str(folder.open_above))


# --- single files ---


def file_mode(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """Logins others can read."""
    for file in files:
        if file.mine and file.mode & 0o077:
            what = f"Other users can get at a login (mode {file.mode:04o})"
            yield mendable("auth-file-mode", Severity.ERROR, what, SetMode(file.path, 0o600))


def file_owner(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """Another user's files."""
    for file in files:
        if not file.mine:
            what = f"A login belongs to user {file.owner}; it is refused"
            mend = f"Run: sudo chown $USER {quoted(file.path)}"
            yield Finding("auth-file-owner", Severity.ERROR, what, mend, str(file.path))


def broken(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """No JSON: for good, or just now because somebody is writing."""
    for file in files:
        if file.fault is None or file.fault.kind not in _BROKEN:
            continue
        if file.fault.settles and 0 <= file.age < SETTLED_SECONDS:
            what = f"The file {file.fault.detail}; it was written just now, so that may pass"
            yield Finding(
                "auth-file-broken", Severity.INFO, what, "Run again in a moment: ccs-broker doctor --check auth-file-broken", str(file.path)
            )  # fmt: skip
            continue
        mend = f"Restore it from a copy, or log in again and run: rm {quoted(file.path)}"
        yield Finding("auth-file-broken", Severity.ERROR, f"The file {file.fault.detail}", mend, str(file.path))


def unknown_type(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """Files of no provider."""
    for file in files:
        if file.fault is not None and file.fault.kind is FaultKind.UNKNOWN_TYPE:
            mend = f"Describe it in a [providers.NAME] table (docs/providers.md), or run: {aside(file.path)}"
            yield Finding(
                "auth-file-unknown-type", Severity.WARNING, f"The file {file.fault.detail}", mend, str(file.path)
            )


def unusable(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """JSON, or not even a file, and no login."""
    for file in files:
        if file.fault is not None and file.fault.kind not in _BROKEN | _OWN_CHECK:
            mend = f"Log in again, then run: {aside(file.path)}"
            yield Finding("auth-file-unusable", Severity.ERROR, f"The file {file.fault.detail}", mend, str(file.path))


def sealed(files: Iterable[AuthFile], *, sealed_mode: bool) -> Iterator[Finding]:
    """Sealed files where none can be opened."""
    for file in files:
        if file.fault is not None and file.fault.kind is FaultKind.SEALED and not sealed_mode:
            what = 'The file is sealed, and store.mode is "plain": nothing can read it'
            mend = f'Set store.mode = "sealed", or log in again and run: {aside(file.path)}'
            yield Finding("auth-file-sealed", Severity.ERROR, what, mend, str(file.path))


def not_renewable(files: Iterable[AuthFile], now: float) -> Iterator[Finding]:
    """Logins that end and cannot be renewed."""
    for file in files:
        record = file.record
        if record is None or file.refresh is not None or record.tokens.expires_at is None:
            continue
        left = record.tokens.expires_at - now
        if left > SOON_SECONDS:
            continue
        what = "has expired" if left <= 0 else "ends within a day"
        yield Finding(
            "auth-file-not-renewable", Severity.ERROR if left <= 0 else Severity.WARNING,
            f"{record.account} {what}, and has no refresh token to be renewed with", f"Run: {_login(record)}", str(file.path),
        )  # fmt: skip


def from_the_future(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """The newest file that was written later than now."""
    newest = min(files, key=lambda file: file.age, default=None)
    if newest is not None and newest.age < -120.0:
        yield Finding(
            "clock-behind", Severity.WARNING, f"A login was written {-newest.age:.0f} s in the future: the clock was wrong then, or is now",
            "Set the clock: sudo timedatectl set-ntp true", str(newest.path),
        )  # fmt: skip


# --- pairs of files ---


def duplicates(files: Sequence[AuthFile]) -> Iterator[Finding]:
    """Several files for one login: all but the newest."""
    accounts = _accounts(files)
    for file, record in accounts:
        same = [other for other, theirs in accounts if _same_person(record, theirs) and not _same_token(file, other)]
        newest = max((file, *same), key=_newness)
        if newest is not file:
            what = f"{record.account} stands in two files; {newest.path.name} has the newer grant and is used"
            yield Finding("auth-file-duplicate", Severity.WARNING, what, f"Run: {aside(file.path)}", str(file.path))


def same_tokens(files: Sequence[AuthFile]) -> Iterator[Finding]:
    """One refresh token in several files: all but the newest."""
    accounts = _accounts(files)
    for file, record in accounts:
        newest = max((file, *(other for other, _ in accounts if _same_token(file, other))), key=_newness)
        if newest is file:
            continue
        ends = "renewing one of the two ends the other" if file.rotates else "logging out of one ends both"
        what = f"It holds the same refresh token as {newest.path}: {ends}"
        mend = f"Run: {aside(file.path)}; for an account of its own, then: {_login(record)}"
        severity = Severity.ERROR if file.rotates else Severity.WARNING
        yield Finding("auth-file-same-token", severity, what, mend, str(file.path))


# --- leftovers ---


def temporaries(left: Iterable[Leftover]) -> Iterator[Finding]:
    """Temporary files of dead processes."""
    for each in left:
        what = "A temporary file whose writer is no more; it may hold a token"
        yield mendable("temporary-files", Severity.WARNING, what, RemoveTemporary(each.path))


def broken_copies(left: Iterable[Leftover]) -> Iterator[Finding]:
    """Copies of broken files."""
    for each in left:
        what = "A copy of a broken file that was written over; it may hold part of a token"
        yield Finding("broken-copies", Severity.INFO, what, f"Run: rm {quoted(each.path)}", str(each.path))


def unsaved(copies: Iterable[Leftover]) -> Iterator[Finding]:
    """Emergency copies."""
    for each in copies:
        whose = f"of {each.account} " if each.account else "that cannot be read "
        what = f"An emergency copy {whose}is there: the auth directory refused a renewed login"
        mend = "Make the auth directory writable, and leave the daemon running until the copy is gone: ccs-broker up"
        yield Finding("unsaved-grants", Severity.ERROR, what, mend, str(each.path))


def interrupted(records: Iterable[Leftover], *, running: bool) -> Iterator[Finding]:
    """Renewals nobody brings to their end."""
    for each in records:
        if not running or each.age > PENDING_SECONDS:
            what = "A renewal was interrupted, and its record waits for a daemon to bring it to its end"
            yield Finding("renewal-interrupted", Severity.WARNING, what, "Run: ccs-broker up", str(each.path))


def registry(found: Iterable[Registry]) -> Iterator[Finding]:
    """CCS's list of accounts."""
    for each in found:
        if each.fault is not None:
            mend = f"Run: {aside(each.path)}; CCS makes it anew from the auth files."
            yield Finding("ccs-accounts", Severity.WARNING, f"CCS's accounts.json {each.fault}", mend, str(each.path))


# --- state ---


def state_modes(modes: Iterable[tuple[Path, int]]) -> Iterator[Finding]:
    """Keys and emergency copies others can read."""
    for path, bits in modes:
        if bits & 0o077:
            what = f"Other users can get at what only you may read (mode {bits:04o})"
            yield mendable("state-file-mode", Severity.ERROR, what, SetMode(path, 0o600))


def state_database(path: Path, head: bytes | None) -> Iterator[Finding]:
    """A database that is none; `head` are its first bytes, None where there is no file."""
    if head and not head.startswith(b"SQLite format 3\0"):
        what = "It is no database: generations, verdicts and chosen defaults are lost, and start anew"
        yield Finding(
            "state-damaged", Severity.WARNING, what, "Restart the daemon: it moves the file aside.", str(path)
        )


def key(found: Key, state_dir: Path) -> Iterator[Finding]:
    """The key of sealed files."""
    if found.fault is None:
        return
    id_ = "keyring-unusable" if found.keyring else "seal-key"
    severity = Severity.INFO if found.elsewhere else Severity.ERROR
    told = f"{found.fault} (from here; the service may have it)" if found.elsewhere else found.fault
    yield Finding(id_, severity, told, found.hint, str(state_dir))


def _login(record: Record) -> str:
    return f"ccs-broker login {record.account.provider}"


def _accounts(files: Iterable[AuthFile]) -> list[tuple[AuthFile, Record]]:
    return [(file, file.record) for file in files if file.record is not None]


def _same_person(one: Record, other: Record) -> bool:
    known = (one.subject and one.subject == other.subject) or (_folded(one) and _folded(one) == _folded(other))
    return bool(known) and same_login(one, other)


def _folded(record: Record) -> str:
    return (record.email or "").casefold()


def _same_token(one: AuthFile, other: AuthFile) -> bool:
    return one.refresh is not None and one.refresh == other.refresh


def _newness(file: AuthFile) -> tuple[float, float, float, str]:
    tokens = file.record.tokens if file.record else Tokens(None)
    return (tokens.expires_at or 0.0, tokens.last_refresh or 0.0, -file.age, str(file.path))
