"""The way a request takes to its upstream: which host, over which origin, with which head.

Owns: `Way`, finding it, and how a request that went it is known. What is the same as for the last request with the same head, account and settings is not
worked out again; only the length of the body differs then. It must never be kept longer than the client's head it belongs to: it holds the account's token.
"""

from collections.abc import Callable
from typing import final

import msgspec

from broker.ipc.schema import Lease
from broker.proxy.choose import Candidate
from broker.proxy.deadlines import Deadlines
from broker.proxy.headers import Headers, overlaid
from broker.proxy.shop import Shop
from broker.proxy.upstreams.base import Sent, Upstream
from broker.proxy.wire.client import UpstreamConnection
from broker.proxy.wire.heads import ResponseHead, with_length, without_length
from broker.proxy.wire.pool import Origin
from broker.proxy.witness import Attempt, Witness


class Way(msgspec.Struct, frozen=True):
    """`homes` are the base URLs of the API in the order to ask them, `head` is that of the request.

    `begun` is the head without the length of the body, where the next request with the same head, account and settings goes the same way; else empty.
    """

    homes: tuple[str, ...]
    origin: Origin
    head: bytes
    begun: bytes = b""

    def of(self, body: bytes) -> "Way":
        """Return the same way for another body."""
        return Way(self.homes, self.origin, with_length(self.begun, len(body)), self.begun)

    def attempt(self, lease: Lease, upstream: Upstream, model: str, body: bytes, home: int = 0) -> Attempt:
        """Return how witnesses are told of a request that goes it."""
        url = self.homes[min(home, len(self.homes) - 1)]
        what = (upstream.kind, upstream.dialect, model, url, self.head, body)
        return Attempt(lease.account, lease.provider, *what, lease.access_token)


class Straight(msgspec.Struct, frozen=True):
    """How a request was sent to the first account that was chosen."""

    lease: Lease
    model: str
    upstream: Upstream
    way: Way


class Sending(msgspec.Struct, frozen=True):
    """A request that began at `begun` and was sent at `since`: `body` to the first of the accounts `found`, over `connection`."""

    found: tuple[Candidate, ...]
    straight: Straight
    body: bytes
    begun: float
    since: float
    connection: UpstreamConnection

    def attempt(self) -> Attempt:
        """Return how witnesses are told of it."""
        straight = self.straight
        return straight.way.of(self.body).attempt(straight.lease, straight.upstream, straight.model, self.body)


Successor = Callable[[Sending, ResponseHead, Witness], bool]
"""Asked to give on the answer of what was sent, which has this head, and to tell the witness of it from here on; False where it will not."""


def sent_at_once(
    found: tuple[Candidate, ...], straight: Straight, body: bytes, deadlines: Deadlines, connection: UpstreamConnection
) -> Sending | None:
    """Return what was sent as `straight` says; None where the first of the accounts `found` was waited for, or was not the one."""
    first = found[0]
    if first.lease is not straight.lease or first.pause:
        return None
    return Sending(found, straight, body, deadlines.begun_at, deadlines.sent_at, connection)


class Begun(msgspec.Struct, frozen=True):
    """An answer that goes back untouched, of which a part was given: its head, the last bytes, the request's deadlines, and when it was given."""

    head: ResponseHead
    tail: bytes
    deadlines: Deadlines
    given_at: float


@final
class _Taken(msgspec.Struct, frozen=True):
    """A way that was taken, without the length of the body. It holds for these very objects."""

    shop: Shop
    lease: Lease
    target: bytes
    headers: Headers
    homes: tuple[str, ...]
    origin: Origin
    head: bytes

    def still(self, shop: Shop, lease: Lease, sent: Sent) -> bool:
        same = self.headers is sent.headers and self.target is sent.target
        return same and self.lease is lease and self.shop is shop


def way_to(
    shop: Shop,
    upstream: Upstream,
    lease: Lease,
    sent: Sent,
    home: int,
    begun: tuple[str, ...],
    made: dict[object, object],
) -> Way:
    """Return the way to the upstream's host number `home`; `begun` are its base URLs where it was asked before for this request.

    `made` is the client's head's own. Raises:
        BrokerError: as `Shop.homes` and `Shop.origin`.
        ValueError: a header or the address can be none.
    """
    taken = made.get(_Taken)
    if isinstance(taken, _Taken) and taken.still(shop, lease, sent) and not home:
        return Way(taken.homes, taken.origin, with_length(taken.head, len(sent.body)), taken.head)
    homes = shop.homes(upstream, lease, begun if home else ())
    origin, path = shop.origin(homes[min(home, len(homes) - 1)], lease)
    headers = overlaid(sent.headers, shop.headers.get(upstream.kind, ()))
    head = without_length(b"POST", path + sent.target, origin.authority, headers)
    if len(homes) > 1:  # which comes first depends on the moment
        return Way(homes, origin, with_length(head, len(sent.body)))
    made[_Taken] = _Taken(shop, lease, sent.target, sent.headers, homes, origin, head)
    return Way(homes, origin, with_length(head, len(sent.body)), head)
