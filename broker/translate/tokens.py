"""What an answer cost: the tokens its upstream tells, read from the two ends of its body.

Owns: where each upstream dialect tells usage, and `Ends`, which keeps as little of a body as it takes to find it, whatever its size. Pure. Nothing is parsed
until the answer is over, and then a few hundred bytes. It must never invent a number: what is not told is None.

A member of a JSON object is found by its key from the end of the text: `{` and all that follows the key is one whole document if, and only if, the key stands
at the top level. So neither text that looks like usage (its quotes would be escaped) nor a tool's arguments that hold such a member are taken for it.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from broker.translate.codecs import Dialect
from broker.translate.ir import Value

_TAIL: Final = 6144
"""Bytes kept of the end. After the usage come only small members: the model's name, ids, a Responses client's own `metadata`."""

_LOOK: Final = 2 * _TAIL
_HEAD: Final = 4096  # Anthropic's first event
_TRIES: Final = 12  # a stream that repeats `"usage": null` tells it at its end, or not
_MOST: Final = 1 << 48  # beyond it is no number of tokens, and a sum would leave 64 bits


class Tokens(Value, frozen=True):
    """As `ir.Usage` counts: `prompt` includes `cached`, and what was written to a cache; `completion` includes `reasoning`. None is what was not told."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None


UNTOLD: Final = Tokens()


class Ends:
    """The beginning and the end of a body that comes in parts."""

    __slots__ = ("_head", "_parts", "_size", "dialect")

    def __init__(self, dialect: Dialect) -> None:
        """Nothing is here yet."""
        self.dialect = dialect
        self._head = b""
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take a part."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > _LOOK:
            self._shorten()

    def tokens(self) -> Tokens:
        """Read what the answer cost, so far as it has come."""
        tail = b"".join(self._parts)
        return _READERS[self.dialect](self._head or tail, tail)

    def _shorten(self) -> None:
        if not self._head and self.dialect is Dialect.CLAUDE:
            self._head = b"".join(self._parts)[:_HEAD]
        newest = self._parts[-1]
        kept = newest if len(newest) >= _TAIL else b"".join(self._parts)
        self._parts = [kept[-_TAIL:]]
        self._size = _TAIL


def told_in(dialect: Dialect, body: bytes) -> Tokens:
    """Read what an answer cost that is here as a whole; the same as `Ends` comes to."""
    if len(body) > _LOOK:
        ends = Ends(dialect)
        ends.feed(body)
        return ends.tokens()
    return _READERS[dialect](body, body)


class _Details(Value, frozen=True):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _ChatUsage(Value, frozen=True):
    """Of chat completions; of embeddings, which cost nothing but the prompt; of images, which count as Responses do."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Chat(Value, frozen=True):
    usage: _ChatUsage | None = None


class _ResponsesUsage(Value, frozen=True):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Response(Value, frozen=True):
    usage: _ResponsesUsage | None = None


class _ResponseEvent(_Response, frozen=True):
    response: _Response | None = None


class _GeminiUsage(Value, frozen=True, rename="camel"):
    prompt_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None


class _Gemini(Value, frozen=True):
    usage: _GeminiUsage | None = msgspec.field(name="usageMetadata", default=None)


class _Envelope(_Gemini, frozen=True):
    response: _Gemini | None = None


class _ClaudeUsage(Value, frozen=True):
    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(Value, frozen=True):
    usage: _ClaudeUsage | None = None


class _KiroUsage(Value, frozen=True, rename="camel"):
    uncached_input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class _MessageStart(Value, frozen=True):
    message: _Message = _Message()


_CHAT: Final = msgspec.json.Decoder(_Chat)
_RESPONSE: Final = msgspec.json.Decoder(_ResponseEvent)
_GEMINI: Final = msgspec.json.Decoder(_Envelope)
_MESSAGE: Final = msgspec.json.Decoder(_Message)
_KIRO: Final = msgspec.json.Decoder(_KiroUsage)
_START: Final = msgspec.json.Decoder(_MessageStart)

_OPEN: Final = (b"{",)
_IN_RESPONSE: Final = (b"{", b'{"response":{')  # the answer itself, or it in an envelope or an event
_NO_DETAILS: Final = _Details()
_NO_CLAUDE: Final = _ClaudeUsage()
_BAD: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

Found = TypeVar("Found")


def _chat_usage(text: bytes) -> _ChatUsage | None:
    return _CHAT.decode(text).usage


def _chat(_head: bytes, tail: bytes) -> Tokens:
    told = _last(tail, b'"usage"', _OPEN, _chat_usage)
    if told is None:
        return UNTOLD
    cached = (told.prompt_tokens_details or _NO_DETAILS).cached_tokens
    reasoning = (told.completion_tokens_details or _NO_DETAILS).reasoning_tokens
    prompt, completion = (
        _either(told.prompt_tokens, told.input_tokens),
        _either(told.completion_tokens, told.output_tokens),
    )
    if completion is None and prompt is not None and prompt == told.total_tokens:
        completion = 0
    return _tokens(prompt, completion, cached, reasoning)


def _responses_usage(text: bytes) -> _ResponsesUsage | None:
    event = _RESPONSE.decode(text)
    return (event.response or event).usage


def _responses(_head: bytes, tail: bytes) -> Tokens:
    told = _last(tail, b'"usage"', _IN_RESPONSE, _responses_usage)
    if told is None:
        return UNTOLD
    cached = (told.input_tokens_details or _NO_DETAILS).cached_tokens
    reasoning = (told.output_tokens_details or _NO_DETAILS).reasoning_tokens
    return _tokens(told.input_tokens, told.output_tokens, cached, reasoning)


def _gemini_usage(text: bytes) -> _GeminiUsage | None:
    answer = _GEMINI.decode(text)
    return (answer.response or answer).usage


def _gemini(_head: bytes, tail: bytes) -> Tokens:
    told = _last(tail, b'"usageMetadata"', _IN_RESPONSE, _gemini_usage)
    if told is None:
        return UNTOLD
    cached, thoughts, prompt = told.cached_content_token_count, told.thoughts_token_count, told.prompt_token_count
    spoken = _sum(told.candidates_token_count, thoughts)
    if prompt is None:
        return _tokens(None, spoken, cached, thoughts)
    # Google leaves counts of zero out; where it tells the prompt's it tells all there are.
    return _tokens(prompt + (told.tool_use_prompt_token_count or 0), spoken or 0, cached or 0, thoughts or 0)


def _claude_usage(text: bytes) -> _ClaudeUsage | None:
    return _MESSAGE.decode(text).usage


def _claude(head: bytes, tail: bytes) -> Tokens:
    """A stream tells the prompt in its first event, and everything again, or the rest, in its last but one."""
    start = _started(head) or _NO_CLAUDE
    end = _last(tail, b'"usage"', _OPEN, _claude_usage) or _NO_CLAUDE
    cached = _either(end.cache_read_input_tokens, start.cache_read_input_tokens)
    written = _either(end.cache_creation_input_tokens, start.cache_creation_input_tokens)
    fresh = _either(end.input_tokens, start.input_tokens)
    prompt = None if fresh is None else fresh + (cached or 0) + (written or 0)
    # The output_tokens of the first event is what the answer begins with, not what it comes to.
    return _tokens(prompt, end.output_tokens, cached, None)


def _started(head: bytes) -> _ClaudeUsage | None:
    at = head.find(b'"message_start"')
    if at < 0:
        return None
    begin, end = head.rfind(b"data:", 0, at), head.find(b"\n", at)
    try:
        return _START.decode(head[begin + 5 : end if end >= 0 else len(head)]).message.usage
    except _BAD:
        return None


def _kiro(_head: bytes, tail: bytes) -> Tokens:
    """An event of its own, whose JSON stands between the binary parts of a frame: the object under the key is flat."""
    at = tail.rfind(b'"tokenUsage"')
    begin = tail.find(b"{", at)
    if at < 0 or begin < 0:
        return UNTOLD
    try:
        told = _KIRO.decode(tail[begin : tail.find(b"}", begin) + 1])
    except _BAD:
        return UNTOLD
    cached, fresh = told.cache_read_input_tokens, told.uncached_input_tokens
    prompt = None if fresh is None else fresh + (cached or 0) + (told.cache_write_input_tokens or 0)
    return _tokens(prompt, told.output_tokens, cached, None)


_READERS: Final[dict[Dialect, Callable[[bytes, bytes], Tokens]]] = {
    Dialect.CLAUDE: _claude,
    Dialect.OPENAI_CHAT: _chat,
    Dialect.RESPONSES: _responses,
    Dialect.KIRO: _kiro,
    Dialect.GEMINI: _gemini,
    Dialect.CODE_ASSIST: _gemini,
    Dialect.ANTIGRAVITY: _gemini,
}


def _last(text: bytes, key: bytes, befores: tuple[bytes, ...], read: Callable[[bytes], Found | None]) -> Found | None:
    """Return what the last object of `text` with this key has there; `befores` are what an object may be opened with."""
    at = text.rfind(key)
    tries = _TRIES
    while at >= 0 and tries:
        # An event's data is one line; a whole answer may have several lines, and may be the last one of an array.
        end = text.find(b"\n", at)
        found = _read_there(text[at : end if end >= 0 else len(text)], befores, read)
        if found is None:
            found = _read_there(text[at:].rstrip().removesuffix(b"]"), befores, read)
        if found is not None:
            return found
        at, tries = text.rfind(key, 0, at), tries - 1
    return None


def _read_there(part: bytes, befores: tuple[bytes, ...], read: Callable[[bytes], Found | None]) -> Found | None:
    for before in befores:
        try:
            found = read(before + part)
        except _BAD:
            continue
        if found is not None:
            return found
    return None


def _tokens(prompt: int | None, completion: int | None, cached: int | None, reasoning: int | None) -> Tokens:
    # Written out, as every request comes here: what is no number of tokens was not told.
    return Tokens(
        prompt if prompt is None or 0 <= prompt < _MOST else None,
        completion if completion is None or 0 <= completion < _MOST else None,
        cached if cached is None or 0 <= cached < _MOST else None,
        reasoning if reasoning is None or 0 <= reasoning < _MOST else None,
    )


def _either(told: int | None, before: int | None) -> int | None:
    return before if told is None else told


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else (one or 0) + other
