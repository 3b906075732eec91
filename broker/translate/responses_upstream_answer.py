"""OpenAI Responses as an upstream, answer side: whole answers and streams -> `ir` events.

Owns: what each item and event means. It must never raise on what an upstream sent.

A whole answer is read as the stream of its finished items. What a stream tells in pieces is taken from the pieces; what it tells only when an item is done, or
only in its last event, from there. Items of tools that ran at the provider are not passed on: what came of them is in the text. A refusal is text that ends as
what was filtered does.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.translate.exchange import Reading
from broker.translate.failures import broken_answer
from broker.translate.ir import (
    Event,
    Failed,
    Finished,
    FinishReason,
    ImagePart,
    Logprob,
    LogprobsDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.openai_errors import read_error
from broker.translate.responses_upstream_wire import (
    WireDetails,
    WireEvent,
    WireItem,
    WireLogprob,
    WirePart,
    WireResponse,
    WireUsage,
)
from broker.translate.signers import Signer, marked
from broker.translate.sse import SseEvent, SseParser

_DONE: Final = b"[DONE]"
_RESPONSE: Final = msgspec.json.Decoder(WireResponse)
_EVENT: Final = msgspec.json.Decoder(WireEvent)

_INCOMPLETE: Final = {
    "max_output_tokens": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_UNFINISHED: Final = ("cancelled", "queued", "in_progress")


def decode_answer(body: bytes, reading: Reading) -> list[Event]:
    """Read a whole answer."""
    try:
        response = _RESPONSE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [broken_answer("the upstream's answer is no response")]
    if response.error is not None:
        return [failed_response(response)]
    if response.output is None or response.status == "failed":
        return [broken_answer("the upstream's answer is no response")]
    if response.status in _UNFINISHED:
        return [broken_answer(f"the upstream's answer is {response.status}")]
    return _Reader(reading).end(response)


def failed_response(response: WireResponse) -> Failed:
    """Return why a response failed."""
    return Failed(read_error({"error": response.error or {"message": "the upstream gave up its answer"}}))


def failed_event(event: WireEvent) -> Failed:
    """Return what an `error` event says: by itself, or as servers put it, in an object of its own."""
    told = event.error or {"code": event.code, "message": event.message, "param": event.param}
    return Failed(read_error({"error": told}))


class ResponsesReading:
    """One streamed answer (see `codecs.StreamDecoder`). It is complete with the event that holds the whole response."""

    __slots__ = ("_over", "_parser", "_reader")

    def __init__(self, reading: Reading) -> None:
        """Begin."""
        self._parser = SseParser()
        self._reader = _Reader(reading)
        self._over = False

    def feed(self, data: bytes) -> list[Event]:
        """Read bytes cut anywhere."""
        if self._over:
            return []
        try:
            return self._read(self._parser.feed(data))
        except BrokerError as error:
            return self._fail(broken_answer(error.detail))

    def close(self) -> list[Event]:
        """The upstream ended: `Failed` unless it had said so."""
        out = self._read(self._parser.close())
        return [*out, *self._fail(broken_answer("the upstream's answer was cut short"))]

    def _read(self, events: Iterable[SseEvent]) -> list[Event]:
        return [told for event in events if event.data.strip() != _DONE for told in self._one(event.data)]

    def _one(self, data: bytes) -> list[Event]:
        if self._over:
            return []
        try:
            event = _EVENT.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._fail(broken_answer("the upstream sent an event that is none"))
        match event:
            case WireEvent(type="response.completed" | "response.incomplete", response=WireResponse() as response):
                self._over = True
                return self._reader.end(response)
            case WireEvent(type="response.failed", response=response):
                return self._fail(failed_response(response or WireResponse()))
            case WireEvent(type="error"):
                return self._fail(failed_event(event))
            case _:
                return self._reader.read(event)

    def _fail(self, failed: Failed) -> list[Event]:
        if self._over:
            return []
        self._over = True
        return [failed]


class _Open:
    """An item that has begun: which call it is, whether it was told in pieces, and which part the last piece belongs to."""

    __slots__ = ("call", "place", "told")

    def __init__(self, call: int = 0) -> None:
        self.call = call
        self.told = False
        self.place: tuple[str, int] | None = None


class _Reader:
    """What is known of one answer so far.

    The first event is held until there is something to say: a request that is turned away by an event can so still go to another account.
    """

    __slots__ = ("_begun", "_calls", "_items", "_open", "_reading", "_refused", "_signature", "_started")

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._started = Started()
        self._begun = False
        self._items = 0
        self._calls = 0
        self._refused = False
        self._open: dict[int, _Open] = {}
        self._signature: str | None = None  # of the reasoning that leads to the next call

    def read(self, event: WireEvent) -> list[Event]:
        match event:
            case WireEvent(response=WireResponse() as response):
                self._name(response)
                return []
            case WireEvent(type="response.output_item.added", item=WireItem() as item):
                return self._begin(self._add(event.output_index, item))
            case WireEvent(type="response.output_item.done", item=WireItem() as item):
                return self._begin(self._finish(event.output_index, item))
            case WireEvent(delta=str(text)) if text:
                return self._begin(self._more(event, text))
            case _:
                return []  # what is known already, what tools of the provider do, and what may come next year

    def end(self, response: WireResponse) -> list[Event]:
        """Return what is left to say when the answer is complete."""
        self._name(response)
        whole = response.output or [] if not self._items and not self._open else []
        said = [event for index, item in enumerate(whole) for event in self._finish(index, item)]
        usage = [_usage(response.usage)] if response.usage is not None else []
        return [*([] if self._begun else [self._started]), *said, *usage, self._finished(response)]

    def _finished(self, response: WireResponse) -> Finished:
        reason = response.incomplete_details.reason if response.incomplete_details else None
        if response.status == "incomplete" or reason is not None:
            return Finished(_INCOMPLETE.get(reason or "", FinishReason.LENGTH), reason or response.status)
        if self._refused:
            return Finished(FinishReason.CONTENT_FILTER, "refusal")
        return Finished(FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP, response.status)

    def _name(self, response: WireResponse) -> None:
        known = self._started
        created = int(response.created_at) if response.created_at else known.created
        self._started = Started(response.id or known.id, response.model or known.model, created)

    def _begin(self, events: list[Event]) -> list[Event]:
        if self._begun or not events:
            return events
        self._begun = True
        return [self._started, *events]

    # --- items ---

    def _add(self, index: int, item: WireItem) -> list[Event]:
        """Open an item; a call is told at once."""
        if index in self._open:
            return []
        self._items += 1
        opened = self._open[index] = _Open(self._calls)
        if item.type not in ("function_call", "custom_tool_call"):
            return []
        self._calls += 1
        identifier = item.call_id or self._reading.ids.call(opened.call)
        if self._signature is not None:
            self._reading.signatures.remember(identifier, self._signature)
            self._signature = None
        name = self._reading.names.inward(item.name or f"tool_{opened.call}")
        return [ToolCallStarted(opened.call, identifier, name)]

    def _more(self, event: WireEvent, text: str) -> list[Event]:
        """Read a piece of an item. Text may come for an item that was never opened, arguments may not: whose they are would not be known."""
        opened = self._open.get(event.output_index)
        match event.type:
            case "response.output_text.delta" | "response.refusal.delta":
                self._refused |= event.type == "response.refusal.delta"
                self._text_of(event.output_index).told = True
                return [TextDelta(text), *_logprobs(event.logprobs or ())]
            case "response.reasoning_summary_text.delta":
                return self._thought(event.output_index, ("summary", event.summary_index), text)
            case "response.reasoning_text.delta":
                return self._thought(event.output_index, ("content", event.content_index), text)
            case "response.function_call_arguments.delta" if opened is not None:
                opened.told = True
                return [ToolCallDelta(opened.call, text)]
            case _:
                return []

    def _text_of(self, index: int) -> _Open:
        return self._open.setdefault(index, _Open())

    def _thought(self, index: int, place: tuple[str, int], text: str) -> list[Event]:
        opened = self._text_of(index)
        gap = "\n\n" if opened.place not in (None, place) else ""
        opened.told, opened.place = True, place
        return [ThinkingDelta(gap + text)]

    def _finish(self, index: int, item: WireItem) -> list[Event]:
        """Close an item: tell what was not told in pieces."""
        out = self._add(index, item)
        opened = self._open.pop(index)
        match item.type:
            case "message":
                self._refused |= any(part.refusal for part in item.content or ())
                return [*out, *([] if opened.told else _said(item.content or ()))]
            case "reasoning":
                return [*out, *self._reasoned(item, told=opened.told)]
            case "function_call":
                missing = "" if opened.told else item.arguments
                return [*out, *([ToolCallDelta(opened.call, missing)] if missing else [])]
            case "custom_tool_call":
                return [*out, ToolCallDelta(opened.call, msgspec.json.encode({"input": item.input or ""}).decode())]
            case "image_generation_call" if item.result:
                return [*out, ImagePart(f"image/{item.output_format or 'png'}", item.result)]
            case _:
                return out

    def _reasoned(self, item: WireItem, *, told: bool) -> list[Event]:
        texts = [part.text for part in (*(item.summary or ()), *(item.content or ())) if part.text]
        text = "" if told else "\n\n".join(texts)
        if item.encrypted_content:
            self._signature = marked(Signer.OPENAI, item.encrypted_content)
            return [ThinkingDelta(text, signature=self._signature)]
        return [ThinkingDelta(text)] if text else []


def _said(parts: Sequence[WirePart]) -> list[Event]:
    out: list[Event] = []
    for part in parts:
        text = part.text or part.refusal
        if text:
            out += [TextDelta(text), *_logprobs(part.logprobs or ())]
    return out


def _logprobs(told: Sequence[WireLogprob]) -> list[Event]:
    return [LogprobsDelta(tuple(_logprob(each) for each in told))] if told else []


def _logprob(told: WireLogprob) -> Logprob:
    top = tuple(TokenLogprob(each.token, each.logprob) for each in told.top_logprobs or ())
    return Logprob(TokenLogprob(told.token, told.logprob), top)


def _usage(told: WireUsage) -> Usage:
    before, after = told.input_tokens_details or WireDetails(), told.output_tokens_details or WireDetails()
    return Usage(
        prompt=max(0, told.input_tokens or 0),
        completion=max(0, told.output_tokens or 0),
        reasoning=max(0, after.reasoning_tokens or 0),
        cached=max(0, before.cached_tokens or 0),
    )
