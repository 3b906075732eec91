"""What Kiro's API sends: frames of an event stream, written by an encoder of its own."""

import json
from collections.abc import Sequence

from tests.fakes.eventstream import texts
from tests.fakes.upstream import answer, chunked

Called = tuple[str, str, str]
"""(id, name, arguments as JSON)."""

STREAM = "Content-Type: application/vnd.amazon.eventstream"


def event(name: str, /, **payload: object) -> bytes:
    """Return the frame of an event; names of members as they are on the wire."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return texts(headers, json.dumps(payload).encode())


def said(text: str) -> bytes:
    return event("assistantResponseEvent", content=text)


def thought(text: str) -> bytes:
    return event("reasoningContentEvent", text=text)


def called(call: Called) -> list[bytes]:
    """Return the frames of a call: its beginning, its arguments in two pieces, its end."""
    identifier, name, arguments = call
    half = len(arguments) // 2
    who = {"toolUseId": identifier, "name": name}
    pieces = [event("toolUseEvent", **who, input=piece) for piece in (arguments[:half], arguments[half:])]
    return [event("toolUseEvent", **who), *pieces, event("toolUseEvent", **who, stop=True)]


def ended(reason: str = "END_TURN", **tokens: int) -> list[bytes]:
    """Return the last frames: how full the context is, what it costs, and, where they are told, tokens."""
    told = {"stopReason": reason, **({"tokenUsage": tokens} if tokens else {})}
    return [
        event("contextUsageEvent", contextUsagePercentage=1.5),
        event("meteringEvent", unit="credit", unitPlural="credits", usage=0.02),
        event("metadataEvent", **told),
    ]


TOKENS = {"uncachedInputTokens": 3, "outputTokens": 4, "totalTokens": 7, "cacheReadInputTokens": 0}


def talk(*pieces: str, calls: Sequence[Called] = ()) -> list[bytes]:
    """Return the frames of a whole answer."""
    begun = event("initial-response", conversationId="c-1")
    frames = [frame for call in calls for frame in called(call)]
    return [begun, *map(said, pieces), *frames, *ended("TOOL_USE" if calls else "END_TURN", **TOKENS)]


def exception(name: str, message: str, /, **more: object) -> bytes:
    """Return the frame of an exception."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return texts(headers, json.dumps({"message": message, **more}).encode())


def streamed(*frames: bytes) -> bytes:
    """Return a whole HTTP answer, each frame in a chunk of its own."""
    return chunked(*frames, headers=(STREAM,))


def refused(status: str, message: str, **more: object) -> bytes:
    """Return an error answer."""
    return answer(json.dumps({"message": message, **more}).encode(), status, "Content-Type: application/x-amz-json-1.0")
