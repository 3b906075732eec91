"""OpenAI chat completions as an upstream, answer side: whole answers and chunks -> `ir` events.

Owns: what each field means, also as servers that merely speak like OpenAI write it: a call's name or id repeated, null or late, or all calls under one index;
usage on a chunk of its own or on the last; reasoning under several names, and counted beside the answer or within it. It must never raise on what an
upstream sent.

A refusal is text that ends as what was filtered does: clients that want JSON are told in time that it is none.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from broker.model.errors import BrokerError
from broker.translate.exchange import Reading
from broker.translate.failures import broken_answer
from broker.translate.ir import (
    Event,
    Failed,
    Failure,
    FailureKind,
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
from broker.translate.signers import Signer
from broker.translate.sse import SseEvent, SseParser
from broker.translate.thoughts import Gathering, remember

_DONE: Final = b"[DONE]"
_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


_GIVEN_UP: Final = {
    "error": Failure(502, FailureKind.SERVER, "the upstream gave up its answer", code="error"),  # OpenRouter's word
    "insufficient_system_resource": Failure(
        503, FailureKind.OVERLOADED, "the upstream ran out of resources", code="insufficient_system_resource"
    ),  # DeepSeek's
}


class WireFunction(msgspec.Struct):
    """The function of a call; some servers send the arguments as the object itself."""

    name: str | None = None
    arguments: str | dict[str, object] | None = None


class WireCall(msgspec.Struct):
    """A call or a part of one."""

    index: int | None = None
    id: str | None = None
    function: WireFunction | None = None


class WireUrl(msgspec.Struct):
    """`image_url`."""

    url: str | None = None


class WireImage(msgspec.Struct):
    """One of `images`, as gateways send them."""

    image_url: WireUrl | None = None


class WireTextPart(msgspec.Struct):
    """One part of `content` from servers that send a list."""

    type: str = ""
    text: str | None = None


class WireMessage(msgspec.Struct):
    """A message, or what one gains."""

    content: str | list[WireTextPart] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[WireCall] | None = None
    images: list[WireImage] | None = None


class WireTop(msgspec.Struct):
    """A token that might have stood there."""

    token: str
    logprob: float


class WireLogprob(msgspec.Struct):
    """A token that does."""

    token: str
    logprob: float
    top_logprobs: list[WireTop] = []


class WireLogprobs(msgspec.Struct):
    """`logprobs`."""

    content: list[WireLogprob] | None = None


class WireDetails(msgspec.Struct):
    """`prompt_tokens_details`, `completion_tokens_details`."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """`usage`; what was cached stands in three places, with Kimi in the second and with DeepSeek in the third."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: WireDetails | None = None
    completion_tokens_details: WireDetails | None = None
    cached_tokens: int | None = None
    prompt_cache_hit_tokens: int | None = None


class WireChoice(msgspec.Struct):
    """One choice of an answer or a chunk; Kimi tells the usage of a stream here."""

    index: int = 0
    message: WireMessage | None = None
    delta: WireMessage | None = None
    finish_reason: str | None = None
    logprobs: WireLogprobs | None = None
    usage: WireUsage | None = None


class WireAnswer(msgspec.Struct):
    """A whole answer, a chunk, or an error in the place of either."""

    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[WireChoice] | None = None
    usage: WireUsage | None = None
    error: dict[str, object] | str | None = None


_ANSWER: Final = msgspec.json.Decoder(WireAnswer)


def decode_answer(body: bytes, reading: Reading) -> list[Event]:
    """Read a whole answer."""
    reader = _Reader(reading)
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return [broken_answer("the upstream's answer is no chat completion")]
    if answer.error is None and not answer.choices:
        return [broken_answer("the upstream's answer is no chat completion")]
    return [*reader.read(answer), *reader.close(cut=False)]


class ChatReading:
    """One streamed answer (see `codecs.StreamDecoder`). It is complete with a finish reason for each choice, or with `[DONE]`: not all send both."""

    __slots__ = ("_parser", "_reader")

    def __init__(self, reading: Reading) -> None:
        """Begin."""
        self._parser = SseParser()
        self._reader = _Reader(reading)

    def feed(self, data: bytes) -> list[Event]:
        """Read bytes cut anywhere."""
        try:
            return self._read(self._parser.feed(data))
        except BrokerError as error:
            return self._reader.fail(broken_answer(error.detail))

    def close(self) -> list[Event]:
        """The upstream ended: the closing events, `Failed` if the answer was cut short."""
        return [*self._read(self._parser.close()), *self._reader.close(cut=True)]

    def _read(self, events: Iterable[SseEvent]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if event.data.strip() == _DONE:
                self._reader.done = True
                continue
            if self._reader.failed:
                continue
            try:
                chunk = _ANSWER.decode(event.data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return [*out, *self._reader.fail(broken_answer("the upstream sent an event that is no chunk"))]
            out += self._reader.read(chunk)
        return out


class _Call:
    """A call as far as it is known. It is told once it has a name: until then its `arguments` wait. `number` is ours, None until then."""

    __slots__ = ("arguments", "id", "number")

    def __init__(self) -> None:
        self.id: str | None = None
        self.number: int | None = None
        self.arguments = ""


class _Reader:
    """What is known of one answer so far. Usage and finish reasons are held until the end: they come in any order."""

    __slots__ = (
        "_begun",
        "_calls",
        "_finished",
        "_known",
        "_reading",
        "_refused",
        "_thoughts",
        "_total",
        "_usage",
        "done",
        "failed",
    )

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._begun = False
        self._usage: Usage | None = None
        self._finished: dict[int, str] = {}  # every choice seen, and the word it ended with
        self._refused: set[int] = set()
        self._known: dict[tuple[int, int], _Call] = {}  # by choice and the server's number
        self._calls: dict[int, int] = {}  # calls told of each choice
        self._thoughts = Gathering()  # of the first choice, until its next call
        self._total = 0
        self.done = False
        self.failed = False

    def read(self, answer: WireAnswer) -> list[Event]:
        if answer.error is not None:
            return self.fail(Failed(read_error({"error": answer.error})))
        out: list[Event] = []
        if not self._begun:
            self._begun = True
            out.append(Started(answer.id, answer.model, int(answer.created) if answer.created else None))
        for choice in answer.choices or ():
            out += [] if self.failed else self._choice(choice)
        if answer.usage is not None:
            self._usage = _usage(answer.usage)
        return out

    def fail(self, failed: Failed) -> list[Event]:
        if self.failed:
            return []
        self.failed = True
        return [failed]

    def close(self, *, cut: bool) -> list[Event]:
        if self.failed:
            return []
        unfinished = not self._finished or not all(self._finished.values())
        if not self._begun or (cut and not self.done and unfinished):
            return self.fail(broken_answer("the upstream's answer was cut short"))
        nameless = [event for key, call in self._known.items() for event in self._told(call, key[0], None)]
        choices = sorted(self._finished or {0: ""})
        return [*nameless, *([self._usage] if self._usage else []), *(self._ended(choice) for choice in choices)]

    def _ended(self, choice: int) -> Finished:
        word = self._finished.get(choice) or None
        reason = _REASONS.get(word or "", FinishReason.STOP)
        if reason is not FinishReason.STOP:
            return Finished(reason, word, choice)
        if choice in self._refused:
            return Finished(FinishReason.CONTENT_FILTER, "refusal", choice)
        # Some servers say `stop` after a call.
        return Finished(FinishReason.TOOL_CALLS if self._calls.get(choice) else reason, word, choice)

    def _choice(self, choice: WireChoice) -> list[Event]:
        if choice.finish_reason in _GIVEN_UP:
            return self.fail(Failed(_GIVEN_UP[choice.finish_reason]))
        if choice.usage is not None:
            self._usage = _usage(choice.usage)
        out: list[Event] = []
        said = choice.delta or choice.message
        if said is not None:
            out += self._said(said, choice.index)
        if choice.logprobs is not None and choice.logprobs.content:
            out.append(LogprobsDelta(tuple(_logprob(each) for each in choice.logprobs.content), choice.index))
        if choice.finish_reason or choice.index not in self._finished:
            self._finished[choice.index] = choice.finish_reason or ""
        return out

    def _said(self, said: WireMessage, choice: int) -> list[Event]:
        out: list[Event] = []
        thought = said.reasoning_content or said.reasoning
        if thought:
            out.append(ThinkingDelta(thought, choice))
            if choice == 0:
                self._thoughts.add(thought)
        text = _text(said.content) or said.refusal
        if said.refusal:
            self._refused.add(choice)
        if text:
            out.append(TextDelta(text, choice))
        out += [event for image in said.images or () for event in _image(image, choice)]
        for place, call in enumerate(said.tool_calls or ()):
            out += self._call(call, place, choice)
        return out

    def _call(self, call: WireCall, place: int, choice: int) -> list[Event]:
        key = (choice, place if call.index is None else call.index)
        function = call.function or WireFunction()
        known = self._known.get(key)
        out: list[Event] = []
        if known is not None and function.name and call.id not in (None, "", known.id) and known.id:
            # Another call, under the number of the last one: Gemini's own endpoint of this dialect numbers none.
            out += self._told(known, choice, None)
            known = None
        if known is None:
            known = self._known[key] = _Call()
        known.id = known.id or call.id
        known.arguments += _arguments(function.arguments)
        return [*out, *(self._told(known, choice, function.name) if function.name or known.number is not None else [])]

    def _told(self, call: _Call, choice: int, name: str | None) -> list[Event]:
        """Tell what is new of a call; one that has got no name to the end is called by its number."""
        out: list[Event] = []
        if call.number is None:
            call.number = self._calls.get(choice, 0)
            self._calls[choice] = call.number + 1
            identifier = call.id or self._reading.ids.call(self._total)
            self._total += 1
            if choice == 0:
                remember(self._reading.signatures, Signer.CHAT, identifier, self._thoughts.said())
            named = self._reading.names.inward(name or f"tool_{call.number}")
            out.append(ToolCallStarted(call.number, identifier, named, choice))
        arguments, call.arguments = call.arguments, ""
        return [*out, *([ToolCallDelta(call.number, arguments, choice)] if arguments else [])]


def _arguments(told: str | Mapping[str, object] | None) -> str:
    return told if isinstance(told, str) else msgspec.json.encode(told).decode() if told is not None else ""


def _text(content: str | list[WireTextPart] | None) -> str | None:
    if isinstance(content, list):
        return "".join(part.text for part in content if part.text)
    return content


def _image(image: WireImage, choice: int) -> list[Event]:
    url = image.image_url.url if image.image_url else None
    head, comma, data = (url or "").partition(",")
    if not comma or not data or not head.lower().startswith("data:"):
        return []
    return [ImagePart(head[5:].partition(";")[0].lower() or "image/png", data, choice)]


def _usage(told: WireUsage) -> Usage:
    before, after = told.prompt_tokens_details or WireDetails(), told.completion_tokens_details or WireDetails()
    prompt, completion, reasoning = map(_count, (told.prompt_tokens, told.completion_tokens, after.reasoning_tokens))
    if reasoning and told.total_tokens == prompt + completion + reasoning:
        completion += reasoning  # xAI counts it apart
    cached = before.cached_tokens or told.cached_tokens or told.prompt_cache_hit_tokens
    return Usage(prompt, completion, reasoning, _count(cached))


def _count(told: int | None) -> int:
    return max(0, told or 0)


def _logprob(entry: WireLogprob) -> Logprob:
    top = tuple(TokenLogprob(each.token, each.logprob) for each in entry.top_logprobs)
    return Logprob(TokenLogprob(entry.token, entry.logprob), top)
