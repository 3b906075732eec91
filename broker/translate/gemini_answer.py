"""Gemini generateContent, answer side: whole answers and chunks -> `ir` events.

Owns: what each field of an answer means, and the order of the closing events. It must never raise on what an upstream sent.

Finish reasons and usage may come on any chunk, and more content after them, so both are held until the upstream ends; by then it is also
known whether the answer called a tool.
"""

from datetime import datetime
from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.translate.blob import blob_of, spared
from broker.translate.exchange import Reading
from broker.translate.failures import broken_answer
from broker.translate.gemini_errors import read_status
from broker.translate.gemini_wire import (
    WireAnswer,
    WireBlob,
    WireCall,
    WireCandidate,
    WireEnvelope,
    WireLogprobs,
    WirePart,
    WireUsage,
)
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
from broker.translate.sse import SseEvent, SseParser

_CHUNK: Final = msgspec.json.Decoder(WireEnvelope)
_CHUNKS: Final = msgspec.json.Decoder(list[WireEnvelope])
_TEXT: Final = msgspec.json.Decoder(str | None)

_FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MODEL_ARMOR",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "NO_IMAGE",
    }
)


def decode_answer(body: bytes, reading: Reading) -> list[Event]:
    """Read a whole answer, in the envelope of Code Assist or without, in an array or without."""
    reader = _Reader(reading, streamed=False)
    return [*reader.read(body), *reader.close()]


class GeminiStream:
    """One streamed answer, `alt=sse` (see `codecs.StreamDecoder`). The envelope of Code Assist is taken off where there is one."""

    __slots__ = ("_parser", "_reader")

    def __init__(self, reading: Reading) -> None:
        """Begin."""
        self._parser = SseParser()
        self._reader = _Reader(reading, streamed=True)

    def feed(self, data: bytes) -> list[Event]:
        """Read bytes cut anywhere."""
        try:
            events = self._parser.feed(data)
        except BrokerError as error:
            return self._reader.fail(error.detail)
        return self._read(events)

    def close(self) -> list[Event]:
        """Close the answer: what is left over, usage and finish reasons; or a failure where it was cut short."""
        return [*self._read(self._parser.close()), *self._reader.close()]

    def _read(self, events: list[SseEvent]) -> list[Event]:
        if len(events) == 1:  # as nearly always
            return self._reader.read(events[0].data)
        out: list[Event] = []
        for event in events:
            out += self._reader.read(event.data)
        return out


class _Reader:
    """What is known of one answer so far."""

    __slots__ = (
        "_begun",
        "_blocked",
        "_calls",
        "_failed",
        "_finishes",
        "_reading",
        "_streamed",
        "_total_calls",
        "_usage",
    )

    def __init__(self, reading: Reading, *, streamed: bool) -> None:
        self._reading = reading
        self._streamed = streamed
        self._begun = False
        self._failed = False
        self._blocked: str | None = None
        self._usage: WireUsage | None = None
        self._finishes: dict[int, str | None] = {}  # by choice, in order of appearance
        self._calls: dict[int, int] = {}  # how many, by choice
        self._total_calls = 0

    def read(self, data: bytes) -> list[Event]:
        """Read one JSON text; nothing more after a failure."""
        if self._failed:
            return []
        out: list[Event] = []
        try:
            chunks = _CHUNKS.decode(data) if data[:16].lstrip()[:1] == b"[" else [_CHUNK.decode(data)]
            for chunk in chunks:
                self._chunk(chunk.response or chunk, out)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self.fail(f"the upstream's answer cannot be read: {error}")
        return out

    def fail(self, why: str) -> list[Event]:
        """End the answer with a failure, once."""
        if self._failed:
            return []
        self._failed = True
        return [broken_answer(why)]

    def close(self) -> list[Event]:
        """Return usage and finish reasons, or the failure to have come to an end."""
        if self._failed:
            return []
        if not self._finishes:
            if self._blocked is None:
                return self.fail("the upstream's answer holds nothing")
            self._finishes[0] = self._blocked
        if self._streamed and None in self._finishes.values():
            return self.fail("the upstream's answer was cut short")
        out: list[Event] = [_usage(self._usage)] if self._usage else []
        for choice, native in self._finishes.items():
            out.append(self._finished(choice, native))
        return out

    def _chunk(self, chunk: WireAnswer, out: list[Event]) -> None:
        if self._failed:
            return
        if chunk.error is not None:
            self._failed = True
            out.append(Failed(read_status(chunk.error)))
            return
        if not self._begun:
            self._begun = True
            out.append(Started(chunk.id, chunk.model, _epoch(chunk.created)))
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.feedback is not None and chunk.feedback.block:
            self._blocked = chunk.feedback.block
        for candidate in chunk.candidates or ():
            self._candidate(candidate, out)

    def _candidate(self, candidate: WireCandidate, out: list[Event]) -> None:
        choice = candidate.index or 0
        if candidate.finish or choice not in self._finishes:
            self._finishes[choice] = candidate.finish or None
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._part(part, choice, out)
        if candidate.logprobs is not None:
            tokens = _logprobs(candidate.logprobs)
            if tokens:
                out.append(LogprobsDelta(tokens, choice))

    def _part(self, part: WirePart, choice: int, out: list[Event]) -> None:
        signature = part.signature or part.signature_snake or None
        call, blob = part.call or part.call_snake, part.blob or part.blob_snake
        if call is not None:
            self._call(call, choice, signature, out)
        elif blob is not None:
            self._blob(blob, choice, signature, out, draft=bool(part.thought))
        elif part.thought:
            out.append(ThinkingDelta(part.text or "", choice, signature))
        elif part.text is not None or signature is not None:
            out.append(TextDelta(part.text or "", choice, signature))

    def _call(self, call: WireCall, choice: int, signature: str | None, out: list[Event]) -> None:
        call_id = self._reading.ids.call(self._total_calls)
        index = self._calls.get(choice, 0)
        self._calls[choice] = index + 1
        self._total_calls += 1
        if signature is not None:
            self._reading.signatures.remember(call_id, signature)
        out.append(ToolCallStarted(index, call_id, self._reading.names.inward(call.name or ""), choice, signature))
        out.append(ToolCallDelta(index, _arguments(call.args), choice))

    def _blob(self, blob: WireBlob, choice: int, signature: str | None, out: list[Event], *, draft: bool) -> None:
        data = blob_of(blob.data) or spared(_TEXT.decode(blob.data) or "")
        if data:
            mime = blob.mime or blob.mime_snake or "image/png"
            out.append(ImagePart(mime, data, choice, draft, signature))

    def _finished(self, choice: int, native: str | None) -> Finished:
        if native in _FILTERED or native == self._blocked is not None:
            reason = FinishReason.CONTENT_FILTER
        elif choice in self._calls:
            # Also over MAX_TOKENS: a call that arrived is whole, and the client must answer it.
            reason = FinishReason.TOOL_CALLS
        else:
            reason = FinishReason.LENGTH if native == "MAX_TOKENS" else FinishReason.STOP
        return Finished(reason, native, choice)


def _arguments(args: msgspec.Raw) -> str:
    """Return the arguments' own text without the white space Google indents whole answers with; no object means no arguments."""
    text = bytes(args)
    return msgspec.json.format(text, indent=-1).decode() if text[:1] == b"{" else "{}"


def _usage(usage: WireUsage) -> Usage:
    thoughts = usage.thoughts or 0
    return Usage(
        prompt=(usage.prompt or 0) + (usage.tool_prompt or 0),
        completion=(usage.candidates or 0) + thoughts,
        reasoning=thoughts,
        cached=usage.cached or 0,
    )


def _logprobs(result: WireLogprobs) -> tuple[Logprob, ...]:
    tops = result.top or []
    return tuple(
        Logprob(
            TokenLogprob(token.token, token.logprob),
            tuple(TokenLogprob(t.token, t.logprob) for t in tops[i].candidates or ()) if i < len(tops) else (),
        )
        for i, token in enumerate(result.chosen or ())
    )


def _epoch(created: str | None) -> int | None:
    try:
        return int(datetime.fromisoformat(created).timestamp()) if created else None
    except (ValueError, OverflowError):
        return None
