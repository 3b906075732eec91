"""Looking at the auth directories and the state directory.

Owns: reading auth files without touching them: unlike the store it repairs no mode, waits for no writer and opens no seal. Tokens leave as digests.
"""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from broker.doctor.facts import AuthFile, Folder, Kind, Leftover, Registry
from broker.providers.registry import Registry as Providers
from broker.store import emergency
from broker.store.codec import MAX_BYTES, Fault, FaultKind
from broker.store.files import stale_temporary
from broker.store.folders import Folders, is_auth_name
from broker.store.image import content_of
from broker.store.link import link_of
from broker.store.reading import Reading, interpret
from broker.store.table import Place

_HEAD_BYTES = 16
_OTHERS_WRITE, _STICKY = 0o022, stat.S_ISVTX


def folder(path: Path, role: str) -> Folder:
    """Look at a folder we need."""
    above = _open_above(path)
    try:
        info = path.stat()
    except OSError:
        nearest = next((each for each in path.parents if os.access(each, os.F_OK)), Path("/"))
        kind = Kind.OTHER if path.is_symlink() else Kind.MISSING
        return Folder(path, role, kind, writable=_writable(nearest), open_above=above)
    kind = Kind.FOLDER if stat.S_ISDIR(info.st_mode) else Kind.OTHER
    mine = info.st_uid == os.geteuid()
    return Folder(
        path, role, kind, stat.S_IMODE(info.st_mode), info.st_uid, mine=mine, writable=_writable(path), open_above=above
    )


def auth_folders(active: Path) -> Iterator[Folder]:
    """Look at an auth directory and those that belong to it; only the first must be there."""
    folders = Folders(active)
    yield folder(folders.active, "the auth directory")
    inner = ((folders.paused, "the folder of paused logins"), (folders.private, "our folder in the auth directory"))
    for path, role in (*inner, (folders.locks, "the folder of locks"), (folders.journal, "the rotation journal")):
        seen = folder(path, role)
        if seen.kind is not Kind.MISSING:
            # What lies above is looked at once, for the auth directory.
            yield replace(seen, open_above=None)


def auth_files(active: Path, number: int, providers: Providers, now: float) -> Iterator[AuthFile]:
    """Read every file of an auth directory, the `number`-th, and of its `auth-paused`."""
    folders = Folders(active)
    for base, paused in ((folders.active, False), (folders.paused, True)):
        for path in _names(base):
            seen = (
                _auth_file(path, Place(number, path.name, paused), providers, now) if is_auth_name(path.name) else None
            )
            if seen is not None:
                yield seen


def temporaries(active: Path, state_dir: Path, now: float) -> Iterator[Leftover]:
    """Find temporary files of ours whose writers are no more."""
    folders = Folders(active)
    for base in (folders.active, folders.paused, folders.private, folders.locks, folders.journal, state_dir):
        for path in _names(base):
            if stale_temporary(path, now):
                yield _leftover(path, now)


def broken_copies(active: Path, now: float) -> list[Leftover]:
    """Find copies of files that were written over."""
    return [_leftover(path, now) for path in _names(Folders(active).broken)]


def interrupted(active: Path, now: float) -> list[Leftover]:
    """Find records of renewals."""
    return [_leftover(path, now) for path in _names(Folders(active).journal) if path.suffix == ".rotation"]


def unsaved(state_dir: Path, now: float) -> Iterator[Leftover]:
    """Find emergency copies, and whose they are."""
    for path in _names(state_dir / emergency.FOLDER_NAME):
        if path.suffix == ".json":
            data = _start_of(path, MAX_BYTES)
            yield replace(_leftover(path, now), account=emergency.whose(data) if data else None)


def private_modes(state_dir: Path) -> Iterator[tuple[Path, int]]:
    """Return the modes of files in the state directory that hold secrets."""
    for path in (state_dir / "seal.key", *_names(state_dir / emergency.FOLDER_NAME)):
        with contextlib.suppress(OSError):
            info = path.lstat()
            if stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid():
                yield path, stat.S_IMODE(info.st_mode)


def head(path: Path) -> bytes | None:
    """Return the first bytes of a file; None where there is none to read."""
    return _start_of(path, _HEAD_BYTES)


def ccs_accounts(active: Path) -> Registry | None:
    """Look at CCS's list of accounts beside an auth directory; None where there is none."""
    path = active.parent / "accounts.json"
    data = _start_of(path, MAX_BYTES)
    if data is None:
        return None
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return Registry(path, "is not JSON")
    known = isinstance(tree, dict) and isinstance(tree.get("providers"), dict)
    return Registry(path, None if known else 'has no table "providers"')


def _auth_file(path: Path, place: Place, providers: Providers, now: float) -> AuthFile | None:
    try:
        info = path.stat()
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.is_symlink():
            return None  # gone while we looked
        fault = Fault(FaultKind.UNREADABLE, f"cannot be read: {error.strerror}")
        return AuthFile(path, place.paused, 0o600, True, os.geteuid(), 0.0, fault)
    mine = info.st_uid == os.geteuid()
    seen = AuthFile(path, place.paused, stat.S_IMODE(info.st_mode), mine, info.st_uid, now - info.st_mtime)
    if not stat.S_ISREG(info.st_mode):
        return replace(seen, mode=0o600, fault=Fault(FaultKind.NOT_REGULAR, "is not a regular file"))
    if not mine:
        return replace(seen, fault=Fault(FaultKind.FOREIGN_OWNER, "belongs to another user"))
    data = _start_of(path, MAX_BYTES + 1)
    if data is None:
        return replace(seen, fault=Fault(FaultKind.UNREADABLE, "cannot be read"))
    return _judged(seen, interpret(data, content_of(data), place, providers, None))


def _judged(seen: AuthFile, found: Reading | Fault) -> AuthFile:
    if isinstance(found, Fault):
        return replace(seen, fault=found)
    source = found.source
    digest = source.record.tokens.refresh_digest()
    link = link_of(found.inner.document)
    linked = Path(link.path) if link is not None else None
    works = linked is None or os.access(linked, os.R_OK | os.W_OK)
    seen = replace(seen, linked=linked, link_works=works)
    return replace(
        seen, record=source.record, client=source.client, refresh=digest, rotates=found.provider.policy.rotates
    )


def _open_above(path: Path) -> Path | None:
    """Return the nearest folder above that others may write to, and so rename what is in it."""
    for each in path.parents:
        with contextlib.suppress(OSError):
            info = each.stat()
            shared = info.st_mode & _OTHERS_WRITE and not info.st_mode & _STICKY
            # A group of one's own, as many systems give it, is no other user.
            written = shared and (info.st_mode & 0o002 or not _own_group(info))
            if written or info.st_uid not in (0, os.geteuid()):
                return each
    return None


def _own_group(info: os.stat_result) -> bool:
    return info.st_uid == os.geteuid() and info.st_gid == os.getegid() == os.geteuid()


def _writable(path: Path) -> bool:
    # The slash at the end makes a file fail.
    return os.access(f"{path}/", os.W_OK | os.X_OK) and not _read_only(path)


def _read_only(path: Path) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _names(folder_: Path) -> list[Path]:
    try:
        return sorted(folder_.iterdir())
    except OSError:
        return []


def _leftover(path: Path, now: float) -> Leftover:
    try:
        return Leftover(path, now - path.lstat().st_mtime)
    except OSError:
        return Leftover(path, 0.0)


def _start_of(path: Path, count: int) -> bytes | None:
    try:
        # O_NONBLOCK: a pipe in its place must not hold us.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return os.read(handle, count)
    except OSError:
        return None
    finally:
        os.close(handle)
