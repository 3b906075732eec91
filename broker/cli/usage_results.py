"""What `usage`, `sessions` and `limits` return.

Owns: the shapes, as `broker.cli.results` does for the others. Times are wall-clock seconds, lengths of time seconds.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.ipc.schema import Cooldown
    from broker.proxy.usage_limits import Window


@dataclass(frozen=True, slots=True)
class Used:
    """What was counted; docs/usage.md says what each number means.

    `seconds` and `first_seconds` are sums, over all requests and over those that were `answered`.
    """

    requests: int
    failed: int
    left: int
    retried: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    untold: int
    seconds: float
    answered: int
    first_seconds: float


@dataclass(frozen=True, slots=True)
class UsageLine:
    """What was used by one group: those of `key`, `account`, `model` and `day` (local, as 2026-11-21) are set that it was grouped by."""

    used: Used
    key: str | None = None
    account: str | None = None
    model: str | None = None
    day: str | None = None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """`usage`: from `since` up to and without `until`, grouped `by`, the greatest first; or by day, the latest last."""

    file: str
    since: float
    until: float
    by: tuple[str, ...]
    lines: tuple[UsageLine, ...]
    total: Used


@dataclass(frozen=True, slots=True)
class SessionLine:
    """A conversation: the first digits of the digest of its id."""

    session: str
    key: str
    account: str
    model: str
    requests: int
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Sessions:
    """`sessions`, the latest first. `now` is when they were read."""

    sessions: tuple[SessionLine, ...]
    now: float


@dataclass(frozen=True, slots=True)
class LimitsOf:
    """What is known of an account: what the provider's headers said `at`, None where nothing; and for which models it is set aside."""

    account: str
    at: float | None
    windows: "tuple[Window, ...]"
    other: dict[str, str]
    headers: dict[str, str]
    cooldowns: "tuple[Cooldown, ...]"


@dataclass(frozen=True, slots=True)
class KeyLimit:
    """A local key with a rate: how many requests it is good for at this moment."""

    key: str
    rpm: int
    left: int


@dataclass(frozen=True, slots=True)
class Limits:
    """`limits`. `reason` says why cool-downs are not known, None where they are. `now` is when it was read."""

    accounts: tuple[LimitsOf, ...]
    keys: tuple[KeyLimit, ...]
    reason: str | None
    now: float
