"""What vendors' answers hold beside tokens: profiles, limits, facts of a login.

Owns: taking the object out of an answer, and reading a share or an amount that may be number or text. What cannot be read is None or empty here; what that
means is the caller's. It must never read a token: that is `oauth.grant`'s.
"""

import math

from broker.model.clock import Now
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpResponse
from broker.oauth.sorting import sort_failure
from broker.providers.base import Document


def parsed(answer: HttpResponse) -> Document:
    """Return the object in an answer; empty where there is none."""
    return answer.document() or {}


def expected(answer: HttpResponse, now: Now) -> Document:
    """Return the object in an answer.

    Raises:
        FlowFailedError: the status is not 200; sorted by what to do next.
    """
    if answer.status != 200:
        raise FlowFailedError(sort_failure(answer, now))
    return parsed(answer)


def amount(value: object) -> float | None:
    """Return a number of zero or more, also one in quotes; None for anything else."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def share(part: float | None, whole: float | None) -> float | None:
    """Return `part` of `whole` from 0 to 1; None where either is not known or nothing is whole."""
    return min(part / whole, 1.0) if part is not None and whole else None
