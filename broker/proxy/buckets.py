"""How much of each local key's rate is used, counted by all workers together.

Owns: one record a key in memory that worker processes share, and the lock each is changed under, so that a rate is kept exactly however the kernel spreads
connections. What a request costs `keys.spend` says. It is no file: it has no name, and is gone with the last process.
"""

import fcntl
import mmap
import os
import struct
import sys
import tempfile
from typing import Final

from broker.proxy.keys import MAX_KEYS, LocalKey, spend

_RECORD: Final = struct.Struct("=8sd")  # the first bytes of whose digest, and when its bucket is full
_SIZE: Final = _RECORD.size * MAX_KEYS


def shared_memory() -> int:
    """Return a descriptor of memory that child processes can share, all zero."""
    if sys.platform == "linux":
        fd = os.memfd_create("ccs-broker-rates")
    else:
        with tempfile.TemporaryFile() as file:  # has no name, and is memory while nothing is short of it
            fd = os.dup(file.fileno())
    os.ftruncate(fd, _SIZE)
    return fd


class Buckets:
    """The buckets of all keys."""

    def __init__(self, shared: int | None = None) -> None:
        """Use the memory `shared` is a descriptor of, which stays its owner's; without it, memory of this process."""
        self._shared = shared
        self._memory = mmap.mmap(-1 if shared is None else shared, _SIZE)

    def take(self, key: LocalKey, now: float) -> float:
        """Count a request; return 0, or how many seconds to wait where it is one too many. `now` is seconds on a clock all workers share."""
        if key.rpm is None:
            return 0.0
        place = key.slot * _RECORD.size
        if self._shared is None:
            return self._take(key, key.rpm, place, now)
        # Held for a few instructions; the kernel drops it when its holder dies.
        fcntl.lockf(self._shared, fcntl.LOCK_EX, _RECORD.size, place)
        try:
            return self._take(key, key.rpm, place, now)
        finally:
            fcntl.lockf(self._shared, fcntl.LOCK_UN, _RECORD.size, place)

    def until(self, key: LocalKey) -> float:
        """Return when a key's bucket is full, in seconds on the clock of `take`; 0 for one that was never used."""
        whose, until = _RECORD.unpack_from(self._memory, key.slot * _RECORD.size)
        return float(until) if whose == bytes.fromhex(key.sha256[:16]) else 0.0

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()

    def _take(self, key: LocalKey, rpm: int, place: int, now: float) -> float:
        mine = bytes.fromhex(key.sha256[:16])
        whose, until = _RECORD.unpack_from(self._memory, place)
        until, wait = spend(until if whose == mine else 0.0, rpm, now)
        _RECORD.pack_into(self._memory, place, mine, until)
        return wait
