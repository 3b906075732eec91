"""Short records of one length, one after the other in one byte string.

Owns: finding, adding and dropping them. For what is remembered of each account by the hundred: a dictionary of such records takes five times the memory, and
memory that grows for days looks like a leak. Pure.
"""


def find(packed: bytes, start: bytes, size: int) -> int:
    """Return where the record that begins with `start` lies; -1 where there is none. `size` is the records' length."""
    at = packed.find(start)
    while at > 0 and at % size:
        at = packed.find(start, at + 1)
    return at


def without(packed: bytes, start: bytes, size: int) -> bytes:
    """Return all records but the one that begins with `start`."""
    at = find(packed, start, size)
    return packed if at < 0 else packed[:at] + packed[at + size :]


def added(packed: bytes, record: bytes, most: int) -> bytes:
    """Return the records with one more behind them, and no more than `most`: the first ones go."""
    return (packed + record)[-most * len(record) :]
