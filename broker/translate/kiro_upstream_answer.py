"""Kiro as an upstream, answer side: an event stream -> `ir` events.

Owns: what each frame means. It must never raise on what an upstream sent, and never make up a number: tokens are told where Kiro tells them.

Kiro answers with a stream whatever is asked for, so a whole answer is one that is read at once. No frame says that an answer is complete: what carries it
says so (HTTP's own framing), and the last frames tell of usage where there is any. So an answer that stops between two frames, and was not cut below, is
complete, unless it said nothing or left a call's arguments unfinished.

Left out: references, links, citations, follow-up prompts, credits, and how full the context is: no dialect has a place for them. Signatures of thoughts, since
they are not sent back (`kiro_upstream_request`).
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from broker.translate.eventstream import Frame, FrameError, FrameParser
from broker.translate.exchange import Reading
from broker.translate.failures import broken_answer, error_body
from broker.translate.ir import (
    Event,
    Failed,
    Finished,
    FinishReason,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.kiro_errors import read_error

T = TypeVar("T")

_REASONS: Final = {
    "END_TURN": FinishReason.STOP,
    "PAUSE_TURN": FinishReason.STOP,
    "TOOL_USE": FinishReason.TOOL_CALLS,
    "MAX_TOKENS": FinishReason.LENGTH,
    "MODEL_CONTEXT_WINDOW_EXCEEDED": FinishReason.LENGTH,
    "CONTENT_FILTERED": FinishReason.CONTENT_FILTER,
}


class _Said(msgspec.Struct):
    content: str | None = None


class _Thought(msgspec.Struct):
    text: str | None = None


class _Called(msgspec.Struct, rename="camel"):
    tool_use_id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"null")
    stop: bool | None = None


class _Tokens(msgspec.Struct, rename="camel"):
    uncached_input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class _Metadata(msgspec.Struct, rename="camel"):
    token_usage: _Tokens | None = None
    stop_reason: str | None = None


_TEXT: Final = msgspec.json.Decoder(str)


def decode_answer(body: bytes, reading: Reading) -> list[Event]:
    """Read a whole answer."""
    reader = KiroReading(reading)
    return [*reader.feed(body), *reader.close()]


class KiroReading:
    """One streamed answer (see `codecs.StreamDecoder`)."""

    __slots__ = ("_over", "_parser", "_reader")

    def __init__(self, reading: Reading) -> None:
        """Begin."""
        self._parser = FrameParser()
        self._reader = _Reader(reading)
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        """Read bytes cut anywhere."""
        if self._over:
            return []
        try:
            return self._read(self._parser.feed(data))
        except FrameError as error:
            out = self._read(error.before)
            fault = broken_answer(f"the upstream's answer is no event stream: {error}")
            return out if out and isinstance(out[-1], Failed) else [*out, *self._fail(fault)]

    def close(self) -> list[Event]:
        """The upstream ended: `Failed` where that cannot be the end of an answer."""
        if self._over:
            return []
        self._over = True
        if not self._parser.between or self._reader.unfinished:
            return self._fail(broken_answer("the upstream's answer was cut short"))
        return self._reader.end()

    def _read(self, frames: Iterable[Frame]) -> list[Event]:
        out: list[Event] = []
        for frame in frames:
            out += self._reader.take(frame)
            if out and isinstance(out[-1], Failed):
                self._over = True
                break
        return out

    def _fail(self, failed: Failed) -> list[Event]:
        self._over = True
        return [failed]


class _Reader:
    """What is known of one answer so far."""

    __slots__ = ("_arguments", "_begun", "_calls", "_reading", "_reason", "_usage")

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._begun = False
        self._calls: dict[str, int] = {}
        self._arguments: dict[str, list[str] | None] = {}  # of calls whose end was not told; None once it was
        self._reason: str | None = None
        self._usage: Usage | None = None

    @property
    def unfinished(self) -> bool:
        """Whether a call's arguments are only a part of an object, none being an empty one."""
        return any(not _is_object("".join(parts)) for parts in self._arguments.values() if parts)

    def take(self, frame: Frame) -> list[Event]:
        match frame.text(":message-type"):
            case "event":
                return self._event(frame.text(":event-type"), frame.payload)
            case "exception":
                return [Failed(read_error(error_body(frame.payload), name=frame.text(":exception-type")))]
            case "error":
                told = {"message": frame.text(":error-message")}
                return [Failed(read_error(told, name=frame.text(":error-code")))]
            case _:
                return [broken_answer("the upstream sent a frame of an unknown kind")]

    def end(self) -> list[Event]:
        if not self._begun and self._reason is None:
            return [broken_answer("the upstream's answer is empty")]
        empty: list[Event] = [
            ToolCallDelta(self._calls[call], "{}") for call, parts in self._arguments.items() if parts == []
        ]
        usage: list[Event] = [] if self._usage is None else [self._usage]
        reason = _REASONS.get(self._reason or "", FinishReason.STOP)
        if self._calls and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS
        return self._started([*empty, *usage, Finished(reason, self._reason)])

    def _event(self, name: str, payload: bytes) -> list[Event]:
        match name:
            case "assistantResponseEvent":
                return _read(_SAID, payload, lambda said: self._said(TextDelta(said.content or "")))
            case "reasoningContentEvent":
                return _read(_THOUGHT, payload, lambda thought: self._said(ThinkingDelta(thought.text or "")))
            case "toolUseEvent":
                return _read(_CALLED, payload, self._call)
            case "metadataEvent":
                return _read(_METADATA, payload, self._note)
            case "invalidStateEvent":
                return [Failed(read_error(error_body(payload)))]
            case _:
                return []

    def _said(self, delta: TextDelta | ThinkingDelta) -> list[Event]:
        return self._started([delta]) if delta.text else []

    def _started(self, events: list[Event]) -> list[Event]:
        begun, self._begun = self._begun, True
        return events if begun else [Started(), *events]

    def _call(self, called: _Called) -> list[Event]:
        call = called.tool_use_id or ""
        out: list[Event] = []
        if call not in self._calls:
            number = self._calls[call] = len(self._calls)
            self._arguments[call] = []
            named = self._reading.names.inward(called.name or f"tool_{number}")
            out.append(ToolCallStarted(number, call or self._reading.ids.call(number), named))
        parts = self._arguments[call]
        if parts is None:
            return out  # its end was told
        piece = _arguments(called.input)
        if called.stop and not piece and not parts:
            piece = "{}"
        if piece:
            parts.append(piece)
            out.append(ToolCallDelta(self._calls[call], piece))
        if called.stop:
            self._arguments[call] = None
        return self._started(out) if out else []

    def _note(self, told: _Metadata) -> list[Event]:
        self._reason = told.stop_reason or self._reason
        tokens = told.token_usage
        if tokens is not None:
            cached, written = _count(tokens.cache_read_input_tokens), _count(tokens.cache_write_input_tokens)
            self._usage = Usage(
                prompt=_count(tokens.uncached_input_tokens) + cached + written,
                completion=_count(tokens.output_tokens),
                cached=cached,
                cache_written=written,
            )
        return []


_SAID: Final = msgspec.json.Decoder(_Said)
_THOUGHT: Final = msgspec.json.Decoder(_Thought)
_CALLED: Final = msgspec.json.Decoder(_Called)
_METADATA: Final = msgspec.json.Decoder(_Metadata)


def _read(decoder: msgspec.json.Decoder[T], payload: bytes, use: Callable[[T], list[Event]]) -> list[Event]:
    try:
        return use(decoder.decode(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [broken_answer("the upstream sent an event that is none")]


def _arguments(told: msgspec.Raw) -> str:
    """Return a piece of a call's arguments: a text, or, as some were seen to come, an object as a whole."""
    data = bytes(told)
    if data == b"null":
        return ""
    return _TEXT.decode(data) if data[:1] == b'"' else data.decode()


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False


def _count(told: int | None) -> int:
    return max(0, told or 0)
