"""When the next refresh may go out to a provider.

Owns: `Pace`. Pure; every `now` is boot-clock seconds. It must never know an account.
"""

from typing import Final

PACE_SECONDS: Final = 0.22
"""At most five refreshes a second to one provider, so that many accounts with one expiry don't arrive as one burst.

A little more than a fifth: the way to the endpoint is not equally long for each, and the endpoint must not see six.

What callers wait for takes the next free moment; what is renewed ahead waits until nobody does.
"""


class Pace:
    """The next free moment of each provider."""

    __slots__ = ("_free",)

    def __init__(self) -> None:
        """Nothing has gone out."""
        self._free: dict[str, float] = {}

    def wait(self, provider: str, now: float) -> float:
        """Return the seconds until the next free moment; 0 where it is now."""
        return max(self._free.get(provider, 0.0) - now, 0.0)

    def take(self, provider: str, now: float) -> float:
        """Take the next free moment; return the seconds until it."""
        wait = self.wait(provider, now)
        self._free[provider] = now + wait + PACE_SECONDS
        return wait

    def late(self, provider: str, now: float) -> None:
        """Note that one goes out now, later than its turn was: the next one's turn follows it."""
        self._free[provider] = max(self._free.get(provider, 0.0), now + PACE_SECONDS)
