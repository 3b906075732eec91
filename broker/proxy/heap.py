"""How much freed memory the C library keeps for the next request.

Owns: `settle`, called once where a worker begins. glibc starts with a limit of 128 KiB: a longer block is mapped for itself and unmapped when it is freed, and
as much unused memory at the end of the heap goes back to the kernel. A body of 100 KiB is there twice and then gone; by those limits its memory is fetched anew
for each request, ten pages of it, which is a quarter of all that the request costs. glibc raises them by itself, but only when it sees a longer block freed.
What is kept must stay bounded: what a body of many megabytes took is given back.
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
