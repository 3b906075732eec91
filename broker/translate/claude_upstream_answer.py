"""Anthropic messages as an upstream, answer side: whole answers and streams -> `ir` events.

Owns: what each block and event means. It must never raise on what an upstream sent.

Blocks of tools that ran at Anthropic (searches and their results) are not passed on: what came of them is in the text.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.translate.claude_errors import read_error
from broker.translate.exchange import Reading
from broker.translate.failures import broken_answer
from broker.translate.ir import (
    Event,
    Failed,
    Finished,
    FinishReason,
    ImagePart,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.signers import Signer, marked
from broker.translate.sse import SseEvent, SseParser
from broker.translate.thoughts import Gathering, remember

_Object = Mapping[str, object]

_REASONS: Final = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.CONTENT_FILTER,
}


_NO_INPUT: Final = msgspec.Raw(b"{}")


class WireBlock(msgspec.Struct):
    """One block of an answer. `input` stays the JSON text it came as."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = _NO_INPUT
    source: dict[str, object] | None = None


class WireUsage(msgspec.Struct):
    """Tokens; what a later event does not tell stays as it was."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class WireMessage(msgspec.Struct):
    """A whole answer, or the beginning of a stream."""

    type: str = ""
    id: str | None = None
    model: str | None = None
    content: list[WireBlock] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: WireUsage | None = None
    error: dict[str, object] | None = None


class WireDelta(msgspec.Struct):
    """What a block, or the message, gains."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class WireEvent(msgspec.Struct):
    """One event of a stream; `type` says which of the fields counts."""

    type: str
    index: int = 0
    message: WireMessage | None = None
    content_block: WireBlock | None = None
    delta: WireDelta | None = None
    usage: WireUsage | None = None
    error: dict[str, object] | None = None


_MESSAGE: Final = msgspec.json.Decoder(WireMessage)
_EVENT: Final = msgspec.json.Decoder(WireEvent)


def decode_answer(body: bytes, reading: Reading) -> list[Event]:
    """Read a whole answer."""
    try:
        message = _MESSAGE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [broken_answer("the upstream's answer is no message")]
    if message.type == "error" or message.error is not None:
        return [Failed(read_error(message.error or {}))]
    if message.type != "message":
        return [broken_answer("the upstream's answer is no message")]
    reader = _Reader(reading)
    return [
        *reader.begin(message),
        *reader.whole(message.content),
        *reader.end(message.stop_reason, message.stop_sequence),
    ]


class ClaudeReading:
    """One streamed answer (see `codecs.StreamDecoder`)."""

    __slots__ = ("_failed", "_parser", "_reader", "_stopped")

    def __init__(self, reading: Reading) -> None:
        """Begin."""
        self._parser = SseParser()
        self._reader = _Reader(reading)
        self._stopped = False
        self._failed = False

    def feed(self, data: bytes) -> list[Event]:
        """Read bytes cut anywhere."""
        if self._over():
            return []
        try:
            return self._read(self._parser.feed(data))
        except BrokerError as error:
            return self._fail(broken_answer(error.detail))

    def close(self) -> list[Event]:
        """The upstream ended: `Failed` unless it had said so."""
        if self._over():
            return []
        out = self._read(self._parser.close())
        return out if self._over() else [*out, *self._fail(broken_answer("the upstream's answer was cut short"))]

    def _over(self) -> bool:
        return self._failed or self._stopped

    def _read(self, events: Iterable[SseEvent]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if self._over():
                break
            out += self._one(event.data)
        return out

    def _one(self, data: bytes) -> list[Event]:  # noqa: PLR0911 - one case an event
        try:
            event = _EVENT.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._fail(broken_answer("the upstream sent an event that is none"))
        match event:
            case WireEvent(type="message_start", message=WireMessage() as message):
                return [*self._reader.begin(message), *self._reader.whole(message.content)]
            case WireEvent(type="content_block_start", content_block=WireBlock() as block):
                return self._reader.open(event.index, block)
            case WireEvent(type="content_block_delta", delta=WireDelta() as delta):
                return self._reader.more(event.index, delta)
            case WireEvent(type="content_block_stop"):
                return self._reader.shut(event.index)
            case WireEvent(type="message_delta", delta=delta):
                self._reader.note(delta or WireDelta(), event.usage)
                return []
            case WireEvent(type="message_stop"):
                self._stopped = True
                return self._reader.end(None, None)
            case WireEvent(type="error"):
                return self._fail(Failed(read_error(event.error or {})))
            case _:
                return []  # ping, and what may come next year

    def _fail(self, failed: Failed) -> list[Event]:
        self._failed = True
        return [failed]


class _Reader:
    """What is known of one answer so far."""

    __slots__ = ("_bare", "_begun", "_calls", "_open", "_reading", "_reason", "_sequence", "_thoughts", "_usage")

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._begun = False
        self._calls = 0
        self._open: dict[int, int] = {}  # a block's number to its call's
        self._bare: dict[int, str] = {}  # calls no argument has come for, with the input they began with
        self._usage = Usage()
        self._thoughts = Gathering()
        self._reason: str | None = None
        self._sequence: str | None = None

    def begin(self, message: WireMessage) -> list[Event]:
        self._count(message.usage)
        self._begun = True
        return [Started(message.id, message.model)]

    def whole(self, blocks: Iterable[WireBlock]) -> list[Event]:
        out: list[Event] = []
        for index, block in enumerate(blocks, -1_000_000):  # far from the numbers a stream uses
            out += [*self.open(index, block), *self.shut(index)]
        return out

    def open(self, index: int, block: WireBlock) -> list[Event]:
        match block.type:
            case "text":
                return [TextDelta(block.text)] if block.text else []
            case "thinking":
                return self._thinking(block.thinking, block.signature)
            case "redacted_thinking":
                return self._redacted(block.data)
            case "image":
                return _image(block.source or {})
            case "tool_use":
                return [self._call(index, block)]
            case _:
                return []

    def more(self, index: int, delta: WireDelta) -> list[Event]:
        match delta.type:
            case "text_delta":
                return [TextDelta(delta.text)] if delta.text else []
            case "thinking_delta" | "signature_delta":
                return self._thinking(delta.thinking, delta.signature)
            case "input_json_delta" if index in self._open and delta.partial_json:
                self._bare.pop(index, None)
                return [ToolCallDelta(self._open[index], delta.partial_json)]
            case _:
                return []

    def shut(self, index: int) -> list[Event]:
        """Close a block; a call whose arguments all came at its beginning gets them now."""
        bare = self._bare.pop(index, None)
        number = self._open.pop(index, None)
        return [ToolCallDelta(number, bare)] if number is not None and bare is not None else []

    def note(self, delta: WireDelta, usage: WireUsage | None) -> None:
        self._count(usage)
        self._reason = delta.stop_reason or self._reason
        self._sequence = delta.stop_sequence or self._sequence

    def end(self, reason: str | None, sequence: str | None) -> list[Event]:
        reason, sequence = reason or self._reason, sequence or self._sequence
        called = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        finished = Finished(_REASONS.get(reason or "", called), reason, stop_sequence=sequence)
        started: list[Event] = [] if self._begun else [Started()]
        return [*started, self._usage, finished]

    def _call(self, index: int, block: WireBlock) -> Event:
        number, self._calls = self._calls, self._calls + 1
        self._open[index] = number
        self._bare[index] = bytes(block.input).decode("utf-8", "replace")
        identifier = block.id or self._reading.ids.call(number)
        remember(self._reading.signatures, Signer.ANTHROPIC, identifier, self._thoughts.signed())
        return ToolCallStarted(number, identifier, self._reading.names.inward(block.name or f"tool_{number}"))

    def _thinking(self, text: str | None, signature: str | None) -> list[Event]:
        if not text and not signature:
            return []
        delta = ThinkingDelta(text or "", signature=marked(Signer.ANTHROPIC, signature) if signature else None)
        self._thoughts.add(delta.text, delta.signature)
        return [delta]

    def _redacted(self, data: str | None) -> list[Event]:
        if not data:
            return []
        redacted = marked(Signer.ANTHROPIC, data)
        self._thoughts.add("", redacted=redacted)
        return [ThinkingDelta("", redacted=redacted)]

    def _count(self, usage: WireUsage | None) -> None:
        if usage is None:
            return
        old = self._usage
        written = _kept(usage.cache_creation_input_tokens, old.cache_written)
        cached = _kept(usage.cache_read_input_tokens, old.cached)
        fresh = _kept(usage.input_tokens, old.prompt - old.cached - old.cache_written)
        self._usage = Usage(
            prompt=fresh + cached + written,
            completion=_kept(usage.output_tokens, old.completion),
            cached=cached,
            cache_written=written,
        )


def _kept(told: int | None, before: int) -> int:
    return before if told is None else max(0, told)


def _image(source: _Object) -> list[Event]:
    data, mime = source.get("data"), source.get("media_type")
    if not isinstance(data, str) or not data:
        return []
    return [ImagePart(mime if isinstance(mime, str) and mime else "image/png", data)]
