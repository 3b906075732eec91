"""How much freed memory the C library keeps for the next request.

Owns: `settle`, called once where a worker begins. glibc starts with a limit of 128 KiB: a longer block is mapped for itself and unmapped when it is freed,
and as much unused memory at the end of the heap goes back to the kernel. uvloop takes a block of 256 KiB for each read from a TLS connection and then cuts it
down to what came: by those limits that is three system calls and fresh pages, 12 µs beside the 1.5 of decrypting. glibc raises the limits by itself, but only
where a long block is freed that nobody cut down. Bodies of 100 KiB are at the mercy of the other limit. What is kept must stay bounded: what a body of many
megabytes took is given back.
"""

import ctypes
import sys
from typing import Final

_TRIM_THRESHOLD: Final = -1  # mallopt(3)
_MMAP_THRESHOLD: Final = -3

MAPPED_BYTES: Final = 4 << 20
"""Blocks from this size on are mapped for themselves, and go back as soon as they are freed."""

KEPT_BYTES: Final = 16 << 20
"""No more unused memory than this is kept at the end of the heap."""


def settle() -> bool:
    """Set both limits for this process; tell whether the C library took them. Any library but glibc is left as it is."""
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, MAPPED_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES))
