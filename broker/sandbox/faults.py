"""What can be made to go wrong, and when: fault values and the queue they wait in.

Owns: the closed list of faults (docs/sandbox.md has the table) and which request takes which. It must never perform one:
`wire` does.
"""

from enum import StrEnum
from typing import Annotated, assert_never

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Status = Annotated[int, msgspec.Meta(ge=200, le=599)]


class Target(StrEnum):
    """The group of endpoints a fault applies to."""

    TOKEN = "token"  # noqa: S105 - the name of an endpoint
    REVOKE = "revoke"
    USERINFO = "userinfo"
    SETUP = "setup"  # loadCodeAssist, onboardUser, operations, projects, services
    MODELS = "models"
    GENERATE = "generate"  # generateContent and streamGenerateContent
    COUNT = "count"
    QUOTA = "quota"


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="answer"):
    """Answer with this instead, without doing anything."""

    status: Status = 500
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class ErrorStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="status"):
    """Answer with this status and the error body this endpoint gives with it, without doing anything."""

    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="rate_limit"):
    """Answer 429. `seconds` goes into Retry-After at OAuth endpoints, into RetryInfo (and Retry-After if `header`) elsewhere.

    `reason` is the ErrorInfo reason: RATE_LIMIT_EXCEEDED, QUOTA_EXHAUSTED, MODEL_CAPACITY_EXHAUSTED.
    """

    seconds: Seconds = 1.0
    header: bool = False
    reason: str = "RATE_LIMIT_EXCEEDED"


class Delay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="delay"):
    """Wait, then answer as usual. `after_grant`: do the work first, so that a client that leaves meanwhile has lost the answer."""

    seconds: Seconds
    after_grant: bool = True


class Drop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="drop"):
    """Close the connection without an answer; with `after_grant` the work was done (a token was rotated)."""

    after_grant: bool = False


class DropAfterGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="drop_after_grant"):
    """The same as `drop` with `after_grant`: rotate, then lose the answer."""


class Hang(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="hang"):
    """Never answer; the connection stays open until the client leaves or the sandbox stops."""

    after_grant: bool = False


class Cut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="cut"):
    """Do the work, send the head and `after_bytes` bytes of the body (half of it where null), then close."""

    after_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Slow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="slow"):
    """Streams only: wait this long before each chunk."""

    seconds: Seconds


class Stall(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stall"):
    """Streams only: after this many chunks send nothing more; the connection stays open."""

    after_chunks: Annotated[int, msgspec.Meta(ge=0)] = 1


class ErrorEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="error_event"):
    """Streams only: after this many chunks send an error event and end the stream in good order."""

    after_chunks: Annotated[int, msgspec.Meta(ge=0)] = 1
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503


Fault = Answer | ErrorStatus | RateLimit | Delay | Drop | DropAfterGrant | Hang | Cut | Slow | Stall | ErrorEvent


class QueuedFault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the queue, and the body of `POST /sandbox/faults`.

    `times` is how many requests it strikes, null for all until it is cleared. `user` and `model` narrow it to requests of that user
    (whoever the presented token belongs to) or for that model; `grant_type` to token requests of that kind.
    """

    target: Target
    fault: Fault
    times: Annotated[int, msgspec.Meta(ge=1)] | None = 1
    user: str | None = None
    model: str | None = None
    grant_type: str | None = None


class Facts(msgspec.Struct, frozen=True):
    """What a fault may be narrowed by, as known of one request."""

    user: str | None = None
    model: str | None = None
    grant_type: str | None = None
    stream: bool = False


class FaultQueue:
    """Faults waiting for their requests, first come first served."""

    def __init__(self) -> None:
        """Start with none."""
        self._waiting: list[QueuedFault] = []

    def add(
        self,
        target: Target,
        fault: Fault,
        times: int | None = 1,
        *,
        user: str | None = None,
        model: str | None = None,
        grant_type: str | None = None,
    ) -> None:
        """Queue a fault."""
        self.add_entry(QueuedFault(target, fault, times, user, model, grant_type))

    def add_entry(self, entry: QueuedFault) -> None:
        """Queue an entry as it came over the wire."""
        self._waiting.append(entry)

    def clear(self) -> int:
        """Forget all; return how many entries waited."""
        count = len(self._waiting)
        self._waiting.clear()
        return count

    def waiting(self) -> tuple[QueuedFault, ...]:
        """Return what has not struck yet, with the remaining `times`."""
        return tuple(self._waiting)

    def take(self, target: Target, facts: Facts) -> Fault | None:
        """Return the fault this request gets, and count it down."""
        for index, entry in enumerate(self._waiting):
            if entry.target is target and _fits(entry, facts):
                self._count_down(index, entry)
                return entry.fault
        return None

    def _count_down(self, index: int, entry: QueuedFault) -> None:
        if entry.times is None:
            return
        if entry.times == 1:
            del self._waiting[index]
        else:
            self._waiting[index] = msgspec.structs.replace(entry, times=entry.times - 1)


def forestalls(fault: Fault | None) -> bool:
    """Tell whether a fault keeps the endpoint from doing its work."""
    match fault:
        case Answer() | ErrorStatus() | RateLimit():
            return True
        case Drop() | Hang():
            return not fault.after_grant
        case None | Delay() | DropAfterGrant() | Cut() | Slow() | Stall() | ErrorEvent():
            return False
    assert_never(fault)


def fault_name(fault: Fault) -> str:
    """Return the `kind` of a fault as docs/sandbox.md calls it."""
    return str(fault.__struct_config__.tag)


def _fits(entry: QueuedFault, facts: Facts) -> bool:
    if isinstance(entry.fault, Slow | Stall | ErrorEvent) and not facts.stream:
        return False
    wanted = ((entry.user, facts.user), (entry.model, facts.model), (entry.grant_type, facts.grant_type))
    return all(want is None or want == have for want, have in wanted)
