"""What a caller is given.

Owns: `Grant`, and what it says of the token in it. Pure. It must never decide whether a caller may have one.
"""

import msgspec

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.refresh import life
from broker.refresh.plan import Known
from broker.store.base import Entry


class Grant(msgspec.Struct, frozen=True):
    """A token a caller may use now. `short`: it has less validity than was asked for, and that is as good as this provider gives."""

    entry: Entry
    tokens: Tokens
    short: bool = False


def granted(entry: Entry, known: Known, now: Now, min_validity: float) -> Grant:
    """Return the grant of a token that `plan.judge` found good enough for `min_validity` seconds."""
    left = life.remaining(known.life, now, known.skew)
    return Grant(entry, life.shown(known.tokens, known.life, now), short=left < min_validity)
