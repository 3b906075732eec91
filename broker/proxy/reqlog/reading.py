"""The request log, read: for the command line.

Owns: finding requests in the directory, newest first, and their files. Links are not followed, and what is no request is left out. Nothing is changed.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from broker.proxy.reqlog.entry import SUMMARY, began_at

_MAX_FILE_BYTES: Final = 64 << 20
_ORDER: Final = ("client-request", "upstream-request", "upstream-response", "client-response", SUMMARY)


class LoggedAttempt(msgspec.Struct, frozen=True):
    """An attempt, as summaries have it (see `entry`)."""

    account: str
    status: int | None


class LoggedRequest(msgspec.Struct, frozen=True):
    """What a summary says that lists show."""

    id: str
    began: str
    seconds: float
    route: str
    model: str | None
    opened_by: str | None
    status: int
    outcome: str
    attempts: tuple[LoggedAttempt, ...]
    attempts_left_out: int


def newest(directory: Path) -> Iterator[tuple[Path, LoggedRequest]]:
    """Yield the requests there are, each with its folder, newest first; those whose summary cannot be read are left out.

    Raises:
        OSError: the directory cannot be read; one that is not there has no requests.
    """
    try:
        names = [path.name for path in directory.iterdir() if not path.is_symlink()]
    except FileNotFoundError:
        return
    for name in sorted((name for name in names if began_at(name) is not None), reverse=True):
        with contextlib.suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            yield directory / name, msgspec.json.decode(_read(directory / name / SUMMARY), type=LoggedRequest)


def texts(folder: Path) -> dict[str, str]:
    """Return the files of a request in the order in which they passed.

    Raises:
        OSError: it cannot be read, or is gone.
    """
    found = sorted((path.name for path in folder.iterdir()), key=_place)
    return {name: _read(folder / name).decode(errors="replace") for name in found}


def _place(name: str) -> tuple[int, int, int]:
    """Attempt by attempt: a request before its answer."""
    kind, _, number = name.rpartition("-")
    if number.isdecimal() and kind in _ORDER:
        return 1, int(number), _ORDER.index(kind)
    return (0, 0, 0) if name == _ORDER[0] else (2, 0, _ORDER.index(name) if name in _ORDER else len(_ORDER))


def _read(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file, "rb") as source:  # noqa: PTH123 - of a descriptor
        return source.read(_MAX_FILE_BYTES)
