"""Code Assist's envelope around Gemini requests and answers.

Owns: `{model, project, user_prompt_id, request}` out and `{response}` in; for translated requests as `codecs.UpstreamCodec`, and for a
Gemini client's own bytes as `wrap_request`, `unwrap_answer` and `UnwrapStream`, which never re-encode what is inside. It must never
change the inside.
"""

from typing import Final

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.translate import gemini_answer, gemini_errors, gemini_request
from broker.translate.blob import written
from broker.translate.counting import read_count
from broker.translate.exchange import Encoded, Reading, Target
from broker.translate.failures import failure_of
from broker.translate.fields import bad_field, read
from broker.translate.ir import Event, Failure, Request
from broker.translate.schema_memory import KNOWN
from broker.translate.sse import SseEvent, SseParser, encode_event, write_event

_NO_VALUE: Final = b"null"
_NULL: Final = msgspec.Raw(_NO_VALUE)


class _Wrapped(msgspec.Struct):
    response: msgspec.Raw = _NULL


class _Inner(msgspec.Struct):
    contents: msgspec.Raw


class _Count(msgspec.Struct):
    contents: msgspec.Raw = _NULL
    inner: _Inner | None = msgspec.field(name="generateContentRequest", default=None)


_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
_WRAPPED: Final = msgspec.json.Decoder(_Wrapped)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_COUNT: Final = msgspec.json.Decoder(_Count)


class CodeAssist:
    """See `codecs.UpstreamCodec`."""

    __slots__ = ()

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the enveloped body of generateContent or streamGenerateContent."""
        inner, names = gemini_request.build(request, target, KNOWN.cleaned)
        if request.session is not None:
            inner["session_id"] = request.session
        return Encoded(written(inner, _opened(target), b"}"), names)

    def decode_answer(self, body: bytes, reading: Reading) -> list[Event]:
        """Read a whole answer."""
        return gemini_answer.decode_answer(body, reading)

    def stream_decoder(self, reading: Reading) -> gemini_answer.GeminiStream:
        """Begin reading server-sent events."""
        return gemini_answer.GeminiStream(reading)

    def decode_error(self, status: int, body: bytes) -> Failure:
        """Read an error answer, in an array or not."""
        return gemini_errors.decode_error(status, body)

    def encode_count(self, request: Request, target: Target) -> bytes:
        """Write the body of countTokens. It takes contents only: instructions and tools are counted as text before them."""
        inner, _ = gemini_request.build(request, target)
        beside = [inner[key] for key in ("systemInstruction", "tools") if key in inner]
        text = msgspec.json.encode(beside).decode()
        contents = inner["contents"]
        assert isinstance(contents, list)
        said = [{"role": "user", "parts": [{"text": text}]}, *contents] if beside else contents
        return wrap_count_tokens(written({"contents": said}), target)

    def decode_count(self, body: bytes) -> int | None:
        """Read totalTokens."""
        return read_count(unwrap_answer(body))


def wrap_request(body: bytes, target: Target) -> bytes:
    """Put a Gemini client's generateContent body into the envelope.

    Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
    inner = read(_RAW, body)
    if bytes(memoryview(inner)[:1]) != b"{":
        bad_field("body", "expected object")
    return b"".join((_opened(target), inner, b"}"))


def wrap_count_tokens(body: bytes, target: Target) -> bytes:
    """Return the Code Assist form of a Gemini client's countTokens body: model and contents, no project, nothing around.

    Raises:
        BrokerError: `bad_request` where there are no contents.
    """
    asked = read(_COUNT, body)
    contents = asked.inner.contents if asked.inner is not None else asked.contents
    if bytes(contents) == _NO_VALUE:
        bad_field("contents", "is required")
    model = "models/" + target.model.removeprefix("models/")
    return msgspec.json.encode({"request": {"model": model, "contents": contents}})


def unwrap_answer(body: bytes) -> bytes:
    """Take the envelope off a whole answer. What has none is returned as it is: errors, token counts, and what is no JSON.

    An array of one (errors come so at times) is taken for its element; of several, each is unwrapped.
    """
    return bytes(_inside(body))


class UnwrapStream:
    """Takes the envelope off each event of a stream: bytes cut anywhere in, whole events out."""

    __slots__ = ("_failed", "_parser")

    def __init__(self) -> None:
        """Begin."""
        self._parser = SseParser()
        self._failed = False

    def feed(self, data: bytes) -> bytes:
        """Return the events these bytes complete; after one too large for memory an error event, then nothing more."""
        if self._failed:
            return b""
        try:
            return _events(self._parser.feed(data))
        except BrokerError as error:
            return self._fail(error)

    def close(self) -> bytes:
        """Return what the upstream left unfinished, if it is a whole event but for its last blank line."""
        return b"" if self._failed else _events(self._parser.close())

    def _fail(self, error: BrokerError) -> bytes:
        self._failed = True
        told = BrokerError(ErrorCode.INTERNAL, error.detail, hint="")
        return encode_event(gemini_errors.encode_error(failure_of(told)))


def _events(events: list[SseEvent]) -> bytes:
    return b"".join([write_event(_inside(event.data), event.name) for event in events])


def _inside(body: bytes) -> msgspec.Raw:
    """Return an answer without its envelope, where it stands: it may be an image."""
    whole = msgspec.Raw(body)
    try:
        if body[:16].lstrip()[:1] != b"[":
            return _unwrapped(whole)
        parts = [_unwrapped(part) for part in _LIST.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return whole
    return parts[0] if len(parts) == 1 else msgspec.Raw(b"[" + b",".join(parts) + b"]")


def _unwrapped(data: msgspec.Raw) -> msgspec.Raw:
    response = _WRAPPED.decode(data).response
    return data if response == _NULL else response


def _opened(target: Target) -> bytes:
    """Return the envelope up to its inside."""
    head: dict[str, str] = {"model": target.model}
    if target.project is not None:
        head["project"] = target.project
    if target.prompt_id is not None:
        head["user_prompt_id"] = target.prompt_id
    return msgspec.json.encode(head)[:-1] + b',"request":'
