"""The head a client sends again and again: recognised by its bytes, so that it is neither parsed nor judged anew.

Owns: `Known`, one head that was parsed and found good, and when bytes are a whole request that has it; `Alike`, those that connections of one peer have in
common. Pure. It must never take for known what differs in anything but the digits of the Content-Length, nor anything that is not one whole request and no
more: whatever else comes, llhttp reads.

llhttp reads the same bytes the same way each time they begin a message, so what was good once is good again. Between two messages it keeps nothing that
would change that.
"""

import re
from typing import Final, final
from weakref import WeakValueDictionary

import msgspec

from broker.proxy.wire.heads import RequestHead

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)(?=\r\n)", re.IGNORECASE)
_MAX_DIGITS: Final = 15
_END: Final = b"\r\n\r\n"


@final
class Known:
    """A head, in bytes and as it was understood. It holds what the client sent, its key too, so it is kept no longer than the connection needs it."""

    __slots__ = ("__weakref__", "_after", "_at", "_before", "_digits", "_head")

    def __init__(self, before: bytes, digits: bytes, after: bytes, head: RequestHead) -> None:
        """Hold a head whose Content-Length stands between `before` and `after`; without one, `digits` and `after` are empty."""
        self._before = before
        self._digits = digits
        self._after = after
        self._head = head
        self._at = next((at for at, (name, _) in enumerate(head.headers) if name == b"content-length"), -1)

    @property
    def text(self) -> tuple[bytes, bytes]:
        """The bytes it is known by."""
        return self._before, self._after

    def read(self, data: bytes) -> tuple[RequestHead, bytes] | None:
        """Return head and body where `data` is a whole request with this head, and nothing besides."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        if not after:
            return (self._head, b"") if len(data) == len(before) else None
        begin = len(before)
        end = data.find(b"\r", begin, begin + _MAX_DIGITS + 1)
        digits = data[begin:end]
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        if digits == self._digits:
            return (self._head, body) if len(body) == self._head.length else None
        length = int(digits)
        if len(body) != length:
            return None
        headers = self._head.headers.copy()
        headers[self._at] = b"content-length", digits
        return msgspec.structs.replace(self._head, headers=headers, length=length), body


def learn(message: bytes, head: RequestHead) -> Known | None:
    """Return how to know the head of a request again; None for one that is better read each time. `message` is the request from its first byte to its last."""
    if not head.keep_alive or head.chunked or head.expects_continue:
        return None
    text = message[: len(message) - (head.length or 0)]
    end = text.find(_END)
    if end < 0 or end + len(_END) != len(text):
        return None  # empty lines before or behind the request: where its body began is not told by its length alone
    before, digits, after = _parted(text)
    if not digits and head.length is not None:
        return None
    return Known(before, digits, after, head)


def _parted(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Return a head before the digits of its length, those, and behind them; two empty ones where it has no length."""
    found = _LENGTH.search(text)
    return (text, b"", b"") if found is None else (text[: found.start(1)], found[1], text[found.end(1) :])


@final
class Alike:
    """The heads that are known on any connection, each for as long as one of them knows it.

    What was worked out of a head is there once, however many connections a client opens: with a hundred of them it would not stay in the processor's caches.
    And a connection that is new need not work it out.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Nobody has sent anything."""
        self._known: WeakValueDictionary[tuple[object, tuple[bytes, bytes]], Known] = WeakValueDictionary()

    def learn(self, message: bytes, head: RequestHead, whose: object) -> Known | None:
        """Return how to know a head again, as `learn` does; what is known of it on a connection of the same peer, by `whose`, is known on this one too."""
        known = learn(message, head)
        return None if known is None else self._known.setdefault((whose, known.text), known)

    def find(self, data: bytes, whose: object) -> Known | None:
        """Return what is known of the head that `data` begins with on a connection of the same peer: what else there is `Known.read` tells."""
        end = data.find(_END)
        if end < 0 or not self._known:
            return None
        before, _, after = _parted(data[: end + len(_END)])
        return self._known.get((whose, (before, after)))
