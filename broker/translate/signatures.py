"""Remembering thought signatures for clients that lose them.

Owns: a small map from a call's id to the signature it came with, least recently used out first. The proxy makes one per process and hands it
to the codecs. It must never be relied on: a client that returns signatures itself works without it, and after a restart there is a fallback.
"""

from collections import OrderedDict
from typing import Final

CAPACITY: Final = 2048
"""Signatures kept. They run to a few KB each, so a full memory is some MB; a turn of an agent uses one to three."""

MOST: Final = 16 * 1024 * 1024
"""Characters kept: thoughts can be longer than signatures."""


class SignatureMemory:
    """Call id -> signature, or thoughts with theirs (`thoughts`), bounded."""

    __slots__ = ("_capacity", "_kept", "_most", "_size")

    def __init__(self, capacity: int = CAPACITY, most: int = MOST) -> None:
        """Keep at most `capacity` signatures of `most` characters in all."""
        self._capacity = capacity
        self._most = most
        self._size = 0
        self._kept: OrderedDict[str, str] = OrderedDict()

    def remember(self, call_id: str, signature: str) -> None:
        """Keep a signature, forgetting those unused for longest when full."""
        self._size += len(signature) - len(self._kept.pop(call_id, ""))
        self._kept[call_id] = signature
        while len(self._kept) > self._capacity or self._size > self._most:
            self._size -= len(self._kept.popitem(last=False)[1])

    def recall(self, call_id: str) -> str | None:
        """Return a call's signature if it is still known."""
        signature = self._kept.get(call_id)
        if signature is not None:
            self._kept.move_to_end(call_id)
        return signature

    def __len__(self) -> int:
        return len(self._kept)
