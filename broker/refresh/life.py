"""How long a token still lives, on a machine whose wall clock may be wrong.

Owns: `Life` and the arithmetic on it. Pure.

Two kinds of knowledge. A token this process obtained itself has a lifetime counted on the boot clock, which no clock step
moves. A token read from a file has only a wall-clock expiry, written by a clock that may differ from today's: it is trusted as long
as *both* the wall clock and the boot-clock reading made when the file was first seen agree that it lives. Erring early costs one
refresh; erring late hands out a dead token (promise P6).
"""

from dataclasses import replace

import msgspec

from broker.model.account import Tokens
from broker.model.clock import Now

UNKNOWN_LIFETIME_SECONDS = 1800.0
"""Assumed life, counted from the last refresh, of a renewable token whose file gives no expiry: half of the hour that is usual."""

NEED_SHARE = 0.8
"""A caller may ask for at most this share of a token's lifetime; asking for more would cause a refresh for every lease."""

_STEP_TOLERANCE_SECONDS = 2.0


class Life(msgspec.Struct, frozen=True):
    """A token's end. `ends_boot` on the boot clock, `ends_wall` on the wall clock; None for a token that does not expire.

    `own` says that this process obtained the token. `lifetime` is seconds from issue to end where known.
    """

    ends_boot: float | None
    ends_wall: float | None = None
    lifetime: float | None = None
    own: bool = False


FOREVER = Life(ends_boot=None)


def of_own(tokens: Tokens, received: Now) -> Life:
    """Return the life of a token received at `received`; its `expires_at` was computed from that same reading."""
    if tokens.expires_at is None:
        return FOREVER if tokens.refresh_token is None else _unknown(received, received.wall)
    left = tokens.expires_at - received.wall
    return Life(ends_boot=received.boot + left, ends_wall=tokens.expires_at, lifetime=left, own=True)


def received(tokens: Tokens, since: float, now: Now) -> Now:
    """Return when a grant was received by a process that noted the wall clock only (`since`), on today's boot clock.

    Long ago where the wall clock now shows an earlier time: it has been set, and nobody knows by how much.
    """
    age = now.wall - since
    if age < 0:
        age = max((tokens.expires_at or since) - since, 0.0)
    return Now(since, now.boot - age)


def of_file(tokens: Tokens, seen: Now) -> Life:
    """Return the life of a token found in a file at `seen`."""
    ends = tokens.expires_at
    if ends is None:
        if tokens.refresh_token is None:
            return FOREVER
        return _unknown(seen, tokens.last_refresh)
    issued = tokens.last_refresh
    lifetime = ends - issued if issued is not None and issued < ends else None
    return Life(ends_boot=seen.boot + (ends - seen.wall), ends_wall=ends, lifetime=lifetime)


def _unknown(seen: Now, issued: float | None) -> Life:
    if issued is None:
        return Life(ends_boot=seen.boot)
    left = issued + UNKNOWN_LIFETIME_SECONDS - seen.wall
    return Life(ends_boot=seen.boot + left, lifetime=UNKNOWN_LIFETIME_SECONDS)


def remaining(life: Life, now: Now, skew: float = 0.0) -> float:
    """Return the seconds left, infinity for a token without end.

    `skew` is how far the provider's clock is ahead of ours; it bears on expiries from files only.
    """
    if life.ends_boot is None:
        return float("inf")
    by_boot = life.ends_boot - now.boot
    if life.own or life.ends_wall is None:
        return by_boot
    return min(by_boot, life.ends_wall - (now.wall + skew))


def need(life: Life, min_validity: float) -> float:
    """Return the seconds that must be left for a caller who asks for `min_validity`: what is attainable of it."""
    if life.lifetime is None:
        return min_validity
    return min(min_validity, life.lifetime * NEED_SHARE)


def shown(tokens: Tokens, life: Life, now: Now) -> Tokens:
    """Return `tokens` with the expiry as today's wall clock would tell it, so that readers who trust that clock judge rightly."""
    left = remaining(life, now)
    if left == float("inf"):
        return tokens
    told = tokens.expires_at
    if told is not None and abs(told - now.wall - left) <= _STEP_TOLERANCE_SECONDS:
        return tokens
    return replace(tokens, expires_at=now.wall + left)
