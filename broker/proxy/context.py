"""What a work needs besides its request.

Owns: `Context`. Pure. It must never hold anything of a request but its id: those that come after it are read with the same one.
"""

from collections.abc import Callable

import msgspec

from broker.model.naming import Names
from broker.proxy.asking import Meanings, Place, wanted_at
from broker.proxy.naming import Served, Wanted
from broker.proxy.policies import Policies
from broker.proxy.upstreams.base import Offer
from broker.translate.signatures import SignatureMemory


class Context(msgspec.Struct, frozen=True):
    """What a work needs besides the request: its id, the time in seconds since the epoch, and what the worker shares.

    `turn` counts the uses of a name; `provider` is the one its path names, if any; `policies` what the config changes of requests, None for nothing.
    `meanings` are those of names that are known already; good for the same `names` and `served` only.
    """

    request_id: str
    created: int
    signatures: SignatureMemory
    safety_off: bool
    served: Served
    names: Names
    turn: Callable[[str], int]
    provider: str | None = None
    policies: Policies | None = None
    meanings: Meanings | None = None

    def wanted(self, name: str, offer: Offer = Offer.TALK) -> Wanted:
        """Return what a model's name means; raises as `asking.wanted_at`."""
        if self.meanings is None:
            return wanted_at(Place(offer, self.provider), name, self.names, self.served, self.turn)
        known = self.meanings.known(name, offer, self.provider)
        return known or self.meanings.of(Place(offer, self.provider), name, self.names, self.served, self.turn)
