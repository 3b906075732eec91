"""How a stream of Responses begins, for a proxy that passes its bytes on.

Owns: telling the events that say no more than that an answer was begun from the first that says something, and from a refusal another account may not meet.
It must never change a byte.

A server answers 200 and begins its stream before it looks at limits and load; what it finds then is an event. A fault of the request itself is the client's to
see as it is: clients know its codes in a stream, as Codex does that of a conversation grown too long.
"""

from enum import Enum
from typing import Final

import msgspec

from broker.translate.ir import Failure, FailureKind
from broker.translate.responses_upstream_answer import failed_event, failed_response
from broker.translate.responses_upstream_wire import WireEvent, WireResponse

_BEGUN: Final = ("response.created", "response.in_progress", "response.queued")
_THE_CLIENT_S: Final = frozenset({FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE})
_EVENT: Final = msgspec.json.Decoder(WireEvent)


class Opening(Enum):
    """What an event means while nothing was passed on: wait for the next, or let all go on."""

    WAIT = "wait"
    GO = "go"


def opening(data: bytes) -> Opening | Failure:
    """Judge the next event of a stream of which nothing was passed on; a failure is one that another account may not meet."""
    try:
        event = _EVENT.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Opening.GO
    if event.type in _BEGUN:
        return Opening.WAIT
    if event.type not in ("error", "response.failed"):
        return Opening.GO
    failed = failed_event(event) if event.type == "error" else failed_response(event.response or WireResponse())
    return Opening.GO if failed.failure.kind in _THE_CLIENT_S else failed.failure
