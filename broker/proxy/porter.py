"""At the door of one worker: what `access` decides, with the keys there are now and the rates used so far.

Owns: `Porter`. It must never read a file in a request: `keyfile` is told to look when the worker's clock moves.
"""

import msgspec

from broker.model.clock import Clock
from broker.proxy.access import NO_LOCAL_KEYS, Door, Peer, Rules, check_key, check_site
from broker.proxy.buckets import Buckets
from broker.proxy.failures import failure
from broker.proxy.keyfile import KeyFile
from broker.proxy.keys import Holder, LocalKey, Ring
from broker.proxy.usage_table import CONFIG, INTERNAL
from broker.proxy.wire.heads import RequestHead
from broker.translate.ir import Failure


class Admission(msgspec.Struct, frozen=True):
    """That a request came in, under which rules and local keys: one with the same head from the same peer may come in as long as these are the same.

    `holder` is whose local key it came with, if any; `internal` says that the internal key was shown.
    """

    rules: Rules
    ring: Ring
    holder: Holder | None
    internal: bool

    @property
    def name(self) -> str:
        """Whose key it came with, as usage is counted by."""
        return self.holder.key.name if self.holder is not None else INTERNAL if self.internal else CONFIG


class Porter:
    """Lets requests in or not."""

    def __init__(self, rules: Rules, clock: Clock, keys: KeyFile | None = None, rates: Buckets | None = None) -> None:
        """Keep to `rules`; with `keys` local keys open too, each as often as `rates` has left (those of this process by default)."""
        self.rules = rules
        self._clock = clock
        self._keys = keys
        self._rates = rates or Buckets()
        self._door = NO_LOCAL_KEYS if keys is None else Door(keys.ring, self._wall)

    def look(self) -> None:
        """Take in changes of the local keys."""
        if self._keys is not None:
            self._keys.look()
            self._door = Door(self._keys.ring, self._wall)

    def check(self, head: RequestHead, peer: Peer, *, public: bool) -> Failure | Holder | None:
        """Return why a request may not come in; whose local key it came in with; or None where it came in otherwise."""
        refused = check_site(head, self.rules)
        if refused is not None or public:
            return refused
        found = check_key(head, peer, self.rules, self._door)
        return found if isinstance(found, Failure) else self.counted(found)

    def admission(self, holder: Holder | None, *, internal: bool) -> Admission:
        """Note that a request came in."""
        return Admission(self.rules, self._door.ring, holder, internal)

    def stands_by(self, admitted: Admission) -> bool:
        """Tell whether a request like one that came in would come in now."""
        if admitted.rules is not self.rules or admitted.ring is not self._door.ring:
            return False
        return admitted.holder is None or not admitted.holder.expired(self._wall())

    def counted(self, holder: Holder | None) -> Failure | Holder | None:
        """Count a request in the rate of its local key; say where that is used up."""
        return holder if holder is None or holder.key.rpm is None else self._counted(holder, holder.key.rpm)

    def used_until(self, key: LocalKey) -> float:
        """Return when a key's bucket is full, in seconds on the clock that counts suspended time."""
        return self._rates.until(key)

    def close(self) -> None:
        """Let go of the rates."""
        self._rates.close()

    def _wall(self) -> float:
        return self._clock.now().wall

    def _counted(self, holder: Holder, rpm: int) -> Failure | Holder:
        key = holder.key
        wait = self._rates.take(key, self._clock.now().boot)
        if not wait:
            return holder
        text = f"the API key {key.name!r} is good for {rpm} requests a minute; the next one in {wait:.1f} s"
        return failure(429, text, reason="rate_limit_exceeded", retry_after=wait)
