"""Who else sees a request pass: what counts and what writes down.

Owns: the words in which a job tells what becomes of its request. A witness must never change what passes, wait for anything, or raise.
"""

from typing import Protocol

import msgspec

from broker.model.secret import Secret
from broker.proxy.headers import Headers
from broker.proxy.upstreams.base import Kind
from broker.proxy.wire.heads import ResponseHead
from broker.translate.codecs import Dialect


class Attempt(msgspec.Struct, frozen=True):
    """One request to an upstream at a base URL. `head` is its request line and headers as they go out, with the account's `token` in them."""

    account: str
    provider: str
    kind: Kind
    dialect: Dialect
    model: str
    url: str
    head: bytes
    body: bytes
    token: Secret | None = None


class Witness(Protocol):
    """Told what happens to one request, in order: any number of attempts, each maybe answered; then maybe an answer to the client; then the end."""

    def sent(self, attempt: Attempt) -> None:
        """A request goes to an upstream; whatever an earlier one brought is void, unless it was given to the client."""
        ...

    def answered(self, head: ResponseHead) -> None:
        """The upstream's answer has this head."""
        ...

    def received(self, data: bytes) -> None:
        """A part of the upstream's body, as it came."""
        ...

    def started(self, status: int, headers: Headers) -> None:
        """The client's answer begins."""
        ...

    def given(self, data: bytes) -> None:
        """A part of the client's body, as it goes."""
        ...

    def ended(self, status: int, *, cut: bool = False) -> None:
        """It is over: the status the client got, 499 where it left. `cut` says that its answer, begun well, did not come to its end."""
        ...


class Nobody:
    """Sees nothing."""

    def sent(self, attempt: Attempt) -> None:
        """Ignore it."""

    def answered(self, head: ResponseHead) -> None:
        """Ignore it."""

    def received(self, data: bytes) -> None:
        """Ignore it."""

    def started(self, status: int, headers: Headers) -> None:
        """Ignore it."""

    def given(self, data: bytes) -> None:
        """Ignore it."""

    def ended(self, status: int, *, cut: bool = False) -> None:
        """Ignore it."""


class Both:
    """Two witnesses of one request, told in this order."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Witness, other: Witness) -> None:
        """Tell both."""
        self._one = one
        self._other = other

    def sent(self, attempt: Attempt) -> None:
        """Tell both."""
        self._one.sent(attempt)
        self._other.sent(attempt)

    def answered(self, head: ResponseHead) -> None:
        """Tell both."""
        self._one.answered(head)
        self._other.answered(head)

    def received(self, data: bytes) -> None:
        """Tell both."""
        self._one.received(data)
        self._other.received(data)

    def started(self, status: int, headers: Headers) -> None:
        """Tell both."""
        self._one.started(status, headers)
        self._other.started(status, headers)

    def given(self, data: bytes) -> None:
        """Tell both."""
        self._one.given(data)
        self._other.given(data)

    def ended(self, status: int, *, cut: bool = False) -> None:
        """Tell both."""
        self._one.ended(status, cut=cut)
        self._other.ended(status, cut=cut)
