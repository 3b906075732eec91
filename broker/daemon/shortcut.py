"""The short way of a lease that is asked for again in the same bytes.

Owns: which requests, byte for byte, are known to be a lease and nothing else. A client that asks again sends the same bytes again, and once the long way
has framed, checked and understood them, they mean the same. What is lent is looked at anew each time, and whatever is not plainly "here is your token"
goes the long way. It must never learn a request that was refused, that has a body or ends its connection.
"""

from dataclasses import dataclass, field
from typing import Final

import msgspec

from broker.daemon.leases import Leases
from broker.ipc.operations import Call, Name
from broker.model.account import AccountId

_KEPT: Final = 1024
_LONGEST: Final = 2048
_LEASES: Final = frozenset({Name.LEASE, Name.LEASE_DEFAULT})


class _Asked(msgspec.Struct, frozen=True):
    """`account` is None where the provider's default is meant."""

    provider: str
    account: AccountId | None
    min_validity: float


@dataclass(slots=True)
class Shortcut:
    """The requests known."""

    leases: Leases
    _known: dict[bytes, _Asked] = field(default_factory=dict, repr=False)

    def learn(self, request: bytes, call: Call) -> None:
        """Remember a request that came in one piece, without a body, and was granted as `call` says; any that is no lease is not worth it."""
        if call.operation.name not in _LEASES or len(request) > _LONGEST:
            return
        provider, label = call.path["provider"], call.path.get("label")
        account = AccountId(provider, label) if label is not None else None
        if len(self._known) >= _KEPT:
            del self._known[next(iter(self._known))]
        self._known[request] = _Asked(provider, account, call.query["min_validity"])

    def lease(self, request: bytes) -> bytes | None:
        """Return the lease as JSON, where the request is known and the token at hand; None where it has to go the long way."""
        asked = self._known.get(request)
        return self.leases.at_hand(asked.provider, asked.account, asked.min_validity) if asked is not None else None
