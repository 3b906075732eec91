"""Gemini generateContent, answer side: events and whole answers -> bytes.

Owns: the `GenerateContentResponse`, whole and in chunks, as server-sent events or as elements of a JSON array. What a vendor signed travels with the part that
follows (`gemini_client_signatures`).

The dialect has no pieces of calls. So in a stream a call, and what comes after it, is told when the choice has ended, in the chunk that says so, as
Google does; a call that was cut short is never told.

Source: ai.google.dev/api/generate-content#GenerateContentResponse.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, assert_never

import msgspec

from broker.translate import gemini_client_signatures
from broker.translate.blob import written
from broker.translate.exchange import Reply
from broker.translate.fold import fold
from broker.translate.gemini_errors import encode_error
from broker.translate.ir import (
    Answer,
    AnswerPart,
    CalledTool,
    Event,
    Failed,
    Finished,
    FinishReason,
    Image,
    ImagePart,
    Logprob,
    LogprobsDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.sse import write_event

LISTED: Final = "listed"
"""The extra of a reply that asks for a JSON array in place of events, as clients do that do not say `alt=sse`."""

_JSON: Final = msgspec.json.Encoder()
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_Object = dict[str, object]

_REASONS: Final = {
    FinishReason.STOP: "STOP",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.CONTENT_FILTER: "SAFETY",
}
_OfChoice = TextDelta | ThinkingDelta | ImagePart | ToolCallStarted | ToolCallDelta | LogprobsDelta | Finished


def encode_count(tokens: int) -> bytes:
    """Return the answer of `countTokens`."""
    return _JSON.encode({"totalTokens": tokens})


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the `GenerateContentResponse`."""
    candidates = []
    for choice in answer.choices:
        parts = _Parts(reply)
        said = [*parts.of(choice.parts), *parts.rest()]
        candidates.append(_candidate(choice.index, said, choice.finished, choice.logprobs, told=bool(said)))
    return written(_response(candidates, answer.id, reply, answer.usage or Usage()))


def _response(candidates: list[_Object], native_id: str | None, reply: Reply, usage: Usage | None = None) -> _Object:
    told = candidates or [_candidate(0, [], None, (), told=False)]
    out: _Object = {"candidates": told}
    if not any("content" in candidate for candidate in told):
        out["promptFeedback"] = {"blockReason": "SAFETY"}
    if usage is not None:
        out["usageMetadata"] = _usage(usage)
    return out | {"modelVersion": reply.model, "responseId": native_id or reply.ids.id}


def _candidate(
    index: int, parts: list[_Object], finished: Finished | None, logprobs: Sequence[Logprob], *, told: bool
) -> _Object:
    """Return a candidate that is complete; `told` says that the client has seen some of it."""
    filtered = finished is not None and finished.reason is FinishReason.CONTENT_FILTER
    # Google's own clients take a chunk without parts for a broken one; but a refusal has none.
    out: _Object = {} if filtered and not told else _content(parts or [{"text": ""}])
    if finished is not None:
        out["finishReason"] = _REASONS[finished.reason]
        if filtered and finished.native:
            out["finishMessage"] = finished.native
    if logprobs:
        out["logprobsResult"] = _logprobs(logprobs)
    return out | {"index": index}


def _content(parts: list[_Object]) -> _Object:
    return {"content": {"parts": parts, "role": "model"}}


def _usage(usage: Usage) -> _Object:
    out: _Object = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": max(0, usage.completion - usage.reasoning),
        "totalTokenCount": usage.total,
    }
    if usage.reasoning:
        out["thoughtsTokenCount"] = usage.reasoning
    if usage.cached:
        out["cachedContentTokenCount"] = usage.cached
    return out


def _logprobs(tokens: Sequence[Logprob]) -> _Object:
    return {
        "chosenCandidates": [_token(each.chosen) for each in tokens],
        "topCandidates": [{"candidates": [_token(top) for top in each.top]} for each in tokens],
    }


def _token(token: TokenLogprob) -> _Object:
    return {"token": token.token, "logProbability": token.logprob}


class _Parts:
    """The parts of one choice. Thoughts with a proof wait for the part they led to."""

    __slots__ = ("_proven", "_shows")

    def __init__(self, reply: Reply) -> None:
        self._shows = reply.thinking
        self._proven: list[Thinking] = []

    def of(self, said: Iterable[AnswerPart]) -> Iterator[_Object]:
        for part in said:
            match part:
                case Thinking():
                    self.prove(part)
                    yield from self.thought(part.text)
                case Text(text, signature):
                    if text or signature is not None:
                        yield {"text": text} | self._signed(signature)
                case Image(mime, data, signature):
                    yield {"inlineData": {"mimeType": mime, "data": data}} | self._signed(signature)
                case CalledTool(identifier, name, arguments, signature):
                    call = {"id": identifier, "name": name, "args": _arguments(arguments)}
                    yield {"functionCall": call} | self._signed(signature)
                case _:
                    assert_never(part)

    def thought(self, text: str) -> Iterator[_Object]:
        """Yield the words of a thought, where the client wants to see them."""
        if text and self._shows:
            yield {"text": text, "thought": True}

    def prove(self, thought: Thinking) -> None:
        """Keep a thought's proof for the next part; without one there is nothing to keep."""
        if thought.signature is not None or thought.redacted is not None:
            self._proven.append(thought)

    def rest(self) -> Iterator[_Object]:
        """Yield what no part came after."""
        signed = self._signed(None)
        if signed:
            yield {"text": "", "thought": True} | signed

    def _signed(self, own: str | None) -> _Object:
        proven, self._proven = self._proven, []
        packed = gemini_client_signatures.pack(own, proven)
        return {} if packed is None else {"thoughtSignature": packed}


def _arguments(text: str) -> object:
    """Return a call's arguments as the object they must be; what the model wrote instead stands under `_unparsed`."""
    try:
        _OBJECT.decode(text or "{}")
        # Without line feeds: Google's SDKs read a chunk from one line.
        return msgspec.Raw(msgspec.json.format(text or "{}", indent=-1).encode())
    except (msgspec.DecodeError, RecursionError):
        return {"_unparsed": text}


class _Choice:
    """One choice while it grows."""

    __slots__ = ("_later", "_parts", "_thought", "finished", "logprobs", "told")

    def __init__(self, reply: Reply) -> None:
        self._parts = _Parts(reply)
        self._thought: list[str] = []  # of the thinking that is not signed yet
        self._later: list[Event] = []  # from the first call on
        self.told = False
        self.logprobs: list[Logprob] = []
        self.finished: Finished | None = None

    def take(self, event: _OfChoice) -> list[_Object]:
        """Return the parts to tell now."""
        if isinstance(event, Finished):
            self.finished = event
        elif isinstance(event, LogprobsDelta):
            self.logprobs += event.tokens
        elif self._later or isinstance(event, ToolCallStarted):
            self._later.append(event)
        elif isinstance(event, ThinkingDelta):
            return self._think(event)
        elif not (isinstance(event, ImagePart) and event.draft):
            self._thought.clear()
            return list(self._parts.of(_part(event)))
        return []

    def rest(self) -> list[_Object]:
        """Return the parts to tell at the end."""
        whole = fold(self._later)
        held = [part for choice in whole.choices for part in choice.parts]
        return [*self._parts.of(held), *self._parts.rest()]

    def _think(self, event: ThinkingDelta) -> list[_Object]:
        if event.redacted is not None:
            self._thought.clear()
            self._parts.prove(Thinking("", None, event.redacted))
            return []
        self._thought.append(event.text)
        if event.signature is not None:
            self._parts.prove(Thinking("".join(self._thought), event.signature))
            self._thought.clear()
        return list(self._parts.thought(event.text))


def _part(event: TextDelta | ImagePart | ToolCallDelta) -> Iterator[AnswerPart]:
    match event:
        case TextDelta(text, _, signature):
            yield Text(text, signature)
        case ImagePart():
            yield Image(event.mime, event.data, event.signature)
        case ToolCallDelta():
            return  # of a call that never began
        case _:
            assert_never(event)


class GeminiChunks:
    """One streamed answer (see `codecs.StreamEncoder`)."""

    __slots__ = ("_any", "_choices", "_failed", "_id", "_listed", "_reply", "_usage")

    def __init__(self, reply: Reply) -> None:
        """Begin; the reply's extras say whether as an array."""
        self._reply = reply
        self._listed = reply.extras.get(LISTED) is True
        self._any = False
        self._failed = False
        self._id: str | None = None
        self._usage = Usage()
        self._choices: dict[int, _Choice] = {}

    def encode(self, events: Iterable[Event]) -> bytes:
        """Return a chunk for each of these that says something."""
        return b"".join([out for event in events if (out := self._one(event))])  # of one it is no copy

    def close(self) -> bytes:
        """Return the last chunk: calls, finish reasons, usage. Nothing after a failure."""
        if self._failed:
            return b""
        candidates = []
        for index, choice in sorted(self._choices.items()):
            rest = choice.rest()
            told = choice.told or bool(rest)
            candidates.append(_candidate(index, rest, choice.finished, choice.logprobs, told=told))
        last = _response(candidates, self._id, self._reply, self._usage)
        return self._framed(last) + (b"]" if self._listed else b"")

    def _one(self, event: Event) -> bytes:
        match event:
            case Started():
                self._id = event.id
                return b""
            case Usage():
                self._usage = event
                return b""
            case Failed():
                self._failed = True
                return self._framed(msgspec.Raw(encode_error(event.failure))) + (b"]" if self._listed else b"")
            case _:
                return self._content(event)

    def _content(self, event: _OfChoice) -> bytes:
        choice = self._choices.get(event.choice)
        if choice is None:
            choice = self._choices[event.choice] = _Choice(self._reply)
        parts = choice.take(event)
        if not parts:
            return b""
        choice.told = True
        candidate = _content(parts) | {"index": event.choice}
        return self._framed(_response([candidate], self._id, self._reply))

    def _framed(self, body: object) -> bytes:
        if not self._listed:
            return write_event(body)
        begun, self._any = self._any, True
        return written(body, b",\r\n" if begun else b"[")
