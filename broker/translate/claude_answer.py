"""Anthropic messages, answer side: events and whole answers -> bytes, and errors.

Owns: the `message` object, the stream of its events, and the error object. Only the first choice is told: the dialect has no other.

Beyond Anthropic's own blocks: an `image` block where a model made one, which Anthropic's models do not. Signatures of other vendors stand in
thinking blocks, marked (`claude_signatures`); a client that did not ask for thinking gets neither.

Source: docs.anthropic.com, "Messages", "Streaming messages", "Errors".
"""

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

import msgspec

from broker.translate import claude_signatures
from broker.translate.blob import Base64, written
from broker.translate.exchange import Reply
from broker.translate.ir import (
    Answer,
    CalledTool,
    Event,
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    Image,
    ImagePart,
    LogprobsDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.sse import encode_event, write_event

_JSON: Final = msgspec.json.Encoder()
_OBJECT: Final = msgspec.json.Decoder(dict[str, object])
_Object = dict[str, object]
_Content = TextDelta | ThinkingDelta | ImagePart | ToolCallStarted | ToolCallDelta | Finished

_REASONS: Final = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}

ERROR_TYPES: Final = {
    FailureKind.BAD_REQUEST: "invalid_request_error",
    FailureKind.AUTHENTICATION: "authentication_error",
    FailureKind.PERMISSION: "permission_error",
    FailureKind.NOT_FOUND: "not_found_error",
    FailureKind.TOO_LARGE: "request_too_large",
    FailureKind.RATE_LIMITED: "rate_limit_error",
    FailureKind.QUOTA_EXHAUSTED: "rate_limit_error",
    FailureKind.OVERLOADED: "overloaded_error",
    FailureKind.SERVER: "api_error",
    FailureKind.TIMEOUT: "timeout_error",
}


def encode_error(failure: Failure, request_id: str | None = None) -> bytes:
    """Return the error object."""
    error = {"type": ERROR_TYPES[failure.kind], "message": failure.message}
    told: _Object = {"type": "error", "error": error}
    return _JSON.encode(told | ({} if request_id is None else {"request_id": request_id}))


def encode_count(tokens: int) -> bytes:
    """Return the answer of `count_tokens`."""
    return _JSON.encode({"input_tokens": tokens})


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the `message` object."""
    first = answer.choices[0] if answer.choices else None
    blocks = [block for part in (first.parts if first else ()) for block in _blocks(part, thinking=reply.thinking)]
    message = _message(answer.id, reply) | {"content": blocks, "usage": _usage(answer.usage or Usage())}
    return written(message | _ending(first.finished if first else None))


def _message(native_id: str | None, reply: Reply) -> _Object:
    own = native_id if native_id and native_id.startswith("msg_") else f"msg_{reply.ids.id}"
    return {
        "id": own,
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(Usage()),
    }


def _usage(usage: Usage) -> _Object:
    return {
        "input_tokens": max(0, usage.prompt - usage.cached - usage.cache_written),
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    }


def _ending(finished: Finished | None) -> _Object:
    if finished is None:
        return {"stop_reason": None, "stop_sequence": None}
    at = finished.stop_sequence
    reason = "stop_sequence" if at is not None else _REASONS[finished.reason]
    return {"stop_reason": reason, "stop_sequence": at}


def _blocks(part: Text | Thinking | Image | CalledTool, *, thinking: bool) -> Iterator[_Object]:
    match part:
        case Text(text):
            if text:
                yield {"type": "text", "text": text}
        case Thinking():
            if thinking:
                yield from _thought(part)
        case Image(mime, data):
            yield _image(mime, data)
        case CalledTool(identifier, name, arguments, signature):
            if signature is not None and thinking:
                yield _thinking("", claude_signatures.of_next_call(signature))
            yield {"type": "tool_use", "id": identifier, "name": name, "input": _input(arguments)}
        case _:
            assert_never(part)


def _thought(part: Thinking) -> Iterator[_Object]:
    if part.redacted is not None:
        yield {"type": "redacted_thinking", "data": part.redacted}
    elif part.text or part.signature is not None:
        yield _thinking(part.text, "" if part.signature is None else claude_signatures.of_thinking(part.signature))


def _thinking(text: str, signature: str) -> _Object:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _image(mime: str, data: Base64) -> _Object:
    return {"type": "image", "source": {"type": "base64", "media_type": mime, "data": data}}


def _input(arguments: str) -> object:
    """Return a call's arguments as the object they must be; what the model wrote instead stands under `_unparsed`."""
    try:
        return _OBJECT.decode(arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {"_unparsed": arguments}


class ClaudeStream:
    """One streamed answer (see `codecs.StreamEncoder`).

    A block is opened by the first event of its kind and closed by the first of another. Clients take a call for complete when its block is closed, and some
    servers tell several in turns: what comes before a call's arguments are whole waits for them.
    """

    __slots__ = (
        "_arguments", "_begun", "_call", "_calls", "_count", "_failed", "_finished", "_kind", "_reply", "_usage", "_waiting",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        """Begin."""
        self._reply = reply
        self._begun = False
        self._failed = False
        self._kind: str | None = None  # of the block that is open
        self._count = 0  # blocks begun
        self._calls: dict[int, int] = {}  # a call's number to its block's
        self._call: int | None = None  # the one whose arguments are told
        self._arguments: list[str] = []  # of that one
        self._waiting: list[_Content] = []
        self._usage = Usage()
        self._finished: Finished | None = None

    def encode(self, events: Iterable[Event]) -> bytes:
        """Return the events of the dialect for these."""
        return b"".join([piece for event in events for piece in self._one(event)])

    def close(self) -> bytes:
        """Return the closing events; nothing after a failure."""
        if self._failed:
            return b""
        closing = [*self._begin(None), *self._rest(), *self._close()]
        told: _Object = {"type": "message_delta", "delta": _ending(self._finished), "usage": _usage(self._usage)}
        return b"".join((*closing, _event(told), _event({"type": "message_stop"})))

    def _one(self, event: Event) -> Iterator[bytes]:
        match event:
            case Started():
                yield from self._begin(event.id)
            case Usage():
                self._usage = event
            case Failed():
                self._failed = True
                yield encode_event(encode_error(event.failure), "error")
            case LogprobsDelta():
                return
            case _:
                if event.choice == 0:
                    yield from self._begin(None)
                    yield from self._in_turn(event)

    def _in_turn(self, event: _Content) -> Iterator[bytes]:
        if self._call is not None and not (isinstance(event, ToolCallDelta) and event.index == self._call):
            if self._waiting or not self._is_told():
                self._waiting.append(event)
                return
            self._call = None
        yield from self._content(event)
        if self._waiting and self._is_told():
            yield from self._release()

    def _rest(self) -> Iterator[bytes]:
        while self._waiting:
            yield from self._release()

    def _release(self) -> Iterator[bytes]:
        waiting, self._waiting, self._call = self._waiting, [], None
        for event in waiting:
            yield from self._in_turn(event)

    def _is_told(self) -> bool:
        """Tell whether the arguments of the call at hand are whole; what is not seen to be is waited for until the end."""
        if not self._arguments or not self._arguments[-1].endswith("}"):
            return False
        try:
            _OBJECT.decode("".join(self._arguments))
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def _content(self, event: _Content) -> Iterator[bytes]:
        match event:
            case TextDelta():
                yield from self._text(event)
            case ThinkingDelta():
                yield from self._think(event)
            case ImagePart():
                if not event.draft:
                    yield from self._whole("image", _image(event.mime, event.data))
            case ToolCallStarted():
                yield from self._called(event)
            case ToolCallDelta(index, arguments):
                if arguments:
                    self._arguments.append(arguments)
                    yield self._delta({"type": "input_json_delta", "partial_json": arguments}, self._calls[index])
            case Finished():
                self._finished = event
                yield from self._close()
            case _:
                assert_never(event)

    def _text(self, event: TextDelta) -> Iterator[bytes]:
        # Also text that says nothing, or carries only a signature, ends what was said before it: a whole answer has two parts there.
        if self._kind != "text":
            yield from self._close()
        if event.text:
            yield from self._open("text", {"type": "text", "text": ""})
            yield self._delta({"type": "text_delta", "text": event.text})
        if event.signature is not None:
            yield from self._close()

    def _think(self, event: ThinkingDelta) -> Iterator[bytes]:
        if self._kind != "thinking":
            yield from self._close()
        if not self._reply.thinking:
            return
        if event.redacted is not None:
            yield from self._whole("redacted_thinking", {"type": "redacted_thinking", "data": event.redacted})
            return
        if not event.text and event.signature is None:
            return
        yield from self._open("thinking", _thinking("", ""))
        if event.text:
            yield self._delta({"type": "thinking_delta", "thinking": event.text})
        if event.signature is not None:
            yield self._signed(claude_signatures.of_thinking(event.signature))
            yield from self._close()

    def _called(self, event: ToolCallStarted) -> Iterator[bytes]:
        if event.signature is not None and self._reply.thinking:
            yield from self._close()
            yield from self._open("thinking", _thinking("", ""))
            yield self._signed(claude_signatures.of_next_call(event.signature))
        yield from self._close()
        self._calls[event.index] = self._count
        self._call, self._arguments = event.index, []
        yield from self._open("tool_use", {"type": "tool_use", "id": event.id, "name": event.name, "input": {}})

    def _begin(self, native_id: str | None) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield _event({"type": "message_start", "message": _message(native_id, self._reply)})

    def _open(self, kind: str, block: _Object) -> Iterator[bytes]:
        if self._kind == kind:
            return
        yield from self._close()
        self._kind = kind
        yield _event({"type": "content_block_start", "index": self._count, "content_block": block})
        self._count += 1

    def _whole(self, kind: str, block: _Object) -> Iterator[bytes]:
        yield from self._close()
        yield from self._open(kind, block)
        yield from self._close()

    def _close(self) -> Iterator[bytes]:
        if self._kind is not None:
            self._kind = None
            yield _event({"type": "content_block_stop", "index": self._count - 1})

    def _delta(self, delta: _Object, index: int | None = None) -> bytes:
        at = self._count - 1 if index is None else index
        return _event({"type": "content_block_delta", "index": at, "delta": delta})

    def _signed(self, signature: str) -> bytes:
        return self._delta({"type": "signature_delta", "signature": signature})


def _event(body: _Object) -> bytes:
    return write_event(body, str(body["type"]))
