"""A request as it goes out: written by its upstream, after the user's own rules.

Owns: that writing, and what of it stands for the next request with the same head. Pure. It must never keep a body.
"""

from collections.abc import Callable

import msgspec

from broker.ipc.schema import Lease
from broker.proxy.headers import Headers
from broker.proxy.policies import Edits
from broker.proxy.upstreams.base import Ask, Sent, Upstream


def written(edits: Edits | None, upstream: Upstream, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
    """Return what goes out. Raises as `Upstream.request` and `Edits.sent`."""
    sent = upstream.request(lease, ask, headers, body)
    return sent if edits is None else edits.sent(sent, upstream, lease.provider, ask.model)


def again(made: dict[object, object], key: object, lease: Lease, body: bytes, make: Callable[[], Sent]) -> Sent:
    """Return what `make` does, or what it did for the last request with this head and lease: but for the body it is the same."""
    known = made.get(_Made)
    if isinstance(known, _Made) and known.lease is lease and known.key == key:
        return Sent(known.sent.target, known.sent.headers, body)
    sent = make()
    made[_Made] = _Made(key, lease, msgspec.structs.replace(sent, body=b""))
    return sent


class _Made(msgspec.Struct, frozen=True):
    key: object
    lease: Lease
    sent: Sent
