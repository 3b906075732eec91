"""How long to wait after a failed refresh.

Owns: the delays. Pure; jitter comes in as a number.
"""

BASE_SECONDS = 5.0
CAP_SECONDS = 900.0
MISCONFIGURED_SECONDS = 60.0
RETRY_AFTER_CAP_SECONDS = 3600.0

_DOUBLINGS_MAX = 20  # keeps 2**n small however long an outage lasts


def delay(failures: int, unit: float, *, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> float:
    """Return the seconds before the next try after `failures` in a row.

    Doubles from `base` to `cap`; `unit` in [0, 1) spreads it over -25 % to +25 %, so that accounts that failed together do not return together.
    """
    grown = base * 2.0 ** min(max(failures - 1, 0), _DOUBLINGS_MAX)
    return min(grown, cap) * (0.75 + unit / 2)


def told(retry_after: float | None, failures: int, unit: float) -> float:
    """Return the seconds to wait when a server limits us: what it said, within reason, and never less than our own delay's floor.

    Never earlier than it asked: jitter only adds, up to a tenth.
    """
    if retry_after is None:
        return delay(failures, unit, base=30.0)
    return min(max(retry_after, BASE_SECONDS), RETRY_AFTER_CAP_SECONDS) * (1 + unit / 10)


def rejection_pause(rejections: int) -> float:
    """Return how long after a refresh caused by a 401 the next one may be caused by one.

    An API that rejects fresh tokens must not make us spend refresh tokens in a loop.
    """
    return min(30.0 * 2.0 ** min(max(rejections - 1, 0), _DOUBLINGS_MAX), RETRY_AFTER_CAP_SECONDS)
