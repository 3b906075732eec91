"""A whole Responses answer out of a stream of its own dialect, for upstreams that only stream.

Owns: finding the `response` object in the last event. Its bytes stay as they came, but for an output that was left empty: it is filled with the finished items
the stream told. It must never know `ir`'s events: nothing is translated here.
"""

from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.translate.failures import broken_answer
from broker.translate.ir import Failure
from broker.translate.passage import with_members
from broker.translate.responses_upstream_answer import failed_event, failed_response
from broker.translate.responses_upstream_wire import WireEvent, WireResponse
from broker.translate.sse import SseParser

_NONE: Final = msgspec.Raw(b"null")


class _Told(msgspec.Struct):
    """An event, what it holds left as it is."""

    type: str
    response: msgspec.Raw = _NONE
    item: msgspec.Raw = _NONE
    output_index: int = 0


class _Output(msgspec.Struct):
    output: list[msgspec.Raw] | None = None


_TOLD: Final = msgspec.json.Decoder(_Told)
_OUTPUT: Final = msgspec.json.Decoder(_Output)
_EVENT: Final = msgspec.json.Decoder(WireEvent)


def whole(body: bytes) -> bytes | Failure:
    """Return the `response` object of a complete stream, or why there is none."""
    try:
        return _whole(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BrokerError):
        return broken_answer("the upstream sent an event that is none").failure


def _whole(body: bytes) -> bytes | Failure:
    parser = SseParser()
    items: dict[int, bytes] = {}
    for event in (*parser.feed(body), *parser.close()):
        if event.data.strip() == b"[DONE]":
            continue
        told = _TOLD.decode(event.data)
        match told.type:
            case "response.completed" | "response.incomplete":
                return _filled(bytes(told.response), [items[index] for index in sorted(items)])
            case "response.output_item.done":
                items[told.output_index] = bytes(told.item)
            case "response.failed":
                return failed_response(_EVENT.decode(event.data).response or WireResponse()).failure
            case "error":
                return failed_event(_EVENT.decode(event.data)).failure
            case _:
                pass
    return broken_answer("the upstream's answer was cut short").failure


def _filled(response: bytes, items: list[bytes]) -> bytes:
    if not items or _OUTPUT.decode(response).output:
        return response
    return with_members(response, {"output": b"[" + b",".join(items) + b"]"})
