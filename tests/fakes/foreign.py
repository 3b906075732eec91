"""How other programs take their locks, each in its own way."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from broker.model.clock import Clock
from broker.providers.native.base import LockKind


@dataclass
class Theirs:
    """A lock as another program takes it: without looking for anything of ours. One that nobody keeps fresh; `beat` does, once."""

    kind: LockKind
    path: Path
    clock: Clock
    stale_seconds: float = 10.0
    fd: int = -1

    def try_take(self) -> bool:
        if self.kind is LockKind.FLOCK:
            return self._flock()
        for last in (False, True):
            try:
                self._make()
            except FileExistsError:
                if last or not self._stale():
                    return False
                self._remove()
            else:
                self.beat()
                return True
        return False

    def _stale(self) -> bool:
        try:
            return self.clock.now().wall - self.path.stat().st_mtime > self.stale_seconds
        except FileNotFoundError:  # let go in this moment: the next try will tell
            return False

    def beat(self) -> None:
        stamp = round(self.clock.now().wall, 3)
        os.utime(self.path, (stamp, stamp))

    def let_go(self) -> None:
        if self.kind is LockKind.FLOCK:
            os.close(self.fd)
        else:
            self._remove()

    def _make(self) -> None:
        if self.kind is LockKind.FOLDER:
            self.path.mkdir()
        else:
            with self.path.open("x") as file:
                file.write("c2f0a1f0-fake-uuid")

    def _remove(self) -> None:
        if self.kind is LockKind.FOLDER:
            self.path.rmdir()
        else:
            self.path.unlink()

    def _flock(self) -> bool:
        fd = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self.fd = fd
        return True
