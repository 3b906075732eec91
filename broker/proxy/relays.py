"""How the bytes of an upstream's answer become the client's.

Owns: one relay for each way: untouched, converted as they come, converted at the end. Pure: bytes in, bytes out; `job` moves them. Nothing is started
before there is a byte to send, so that a failure before it can still go to another account.
"""

from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from broker.model.errors import BrokerError
from broker.proxy.failures import failure
from broker.proxy.headers import Headers, to_client
from broker.proxy.wire.heads import ResponseHead
from broker.translate.codeassist import UnwrapStream, unwrap_answer
from broker.translate.codecs import ERRORS, Dialect, StreamDecoder, StreamEncoder
from broker.translate.failures import failure_of
from broker.translate.ir import Event, Failed, Failure, Started, Usage
from broker.translate.renaming import Renaming, Rewriting
from broker.translate.responses_opening import Opening, opening
from broker.translate.sse import SseParser, encode_event

_MAX_WHOLE_BYTES: Final = 256 << 20  # ten 4K images; more is no answer to hold in memory

EVENTS: Final = b"text/event-stream"
"""The media type of a stream of events."""


class Start(msgspec.Struct, frozen=True):
    """What a client's answer starts with; `length` None where it is not known."""

    status: int
    headers: Headers
    length: int | None = None


class Relay(Protocol):
    """One way.

    `failure` is set once the bytes turned out to be no answer; what `feed` and `close` returned by then tells it to a client that has already had a
    part. `between` says whether a comment may be put after what was returned last.
    """

    failure: Failure | None
    between: bool

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream; return bytes for the client, maybe none."""
        ...

    def close(self) -> bytes:
        """The upstream's answer is complete: return what is left."""
        ...

    def opening(self) -> Start:
        """Return how the client's answer starts; asked once, when the first bytes are there."""
        ...

    def ending(self, told: bytes) -> bytes | None:
        """Return `told`, an error event, as it can stand here; None where the answer can only be cut."""
        ...


class Untouched:
    """The same dialect on both sides."""

    __slots__ = ("_head", "_request_id", "_tail", "between", "events", "failure")

    def __init__(self, head: ResponseHead, request_id: bytes) -> None:
        """Pass on the body that belongs to `head`."""
        self._head = head
        self._request_id = request_id
        self.events = is_events(head)
        self._tail = b"\n\n"
        self.failure: Failure | None = None
        self.between = self.events

    def feed(self, data: bytes) -> bytes:
        """Return `data`."""
        if self.events:
            self._tail = data[-4:] if len(data) >= 4 else (self._tail + data)[-4:]
            self.between = self._tail.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
        return data

    def close(self) -> bytes:
        """Return nothing."""
        return b""

    def opening(self) -> Start:
        """Return the upstream's own status, headers and length."""
        return Start(self._head.status, to_client(self._head.headers, self._request_id), self._head.length)

    def ending(self, told: bytes) -> bytes | None:
        """Put an event between events, but not where the upstream promised how many bytes there are."""
        return told if self.between and self._head.length is None else None


class Guarded(Untouched):
    """Responses on both sides: what says only that an answer was begun is held, so that a refusal after it can still go to another account."""

    __slots__ = ("_held", "_parser")

    def __init__(self, head: ResponseHead, request_id: bytes) -> None:
        """Pass on the body that belongs to `head`."""
        super().__init__(head, request_id)
        self._parser = SseParser() if self.events else None
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Return `data`, or nothing while the answer only begins."""
        if self._parser is None:
            return super().feed(data)
        self._held.append(data)
        told = _opened(self._parser, data)
        if isinstance(told, Failure):
            self.failure = told
        return self._released() if told is Opening.GO else b""

    def close(self) -> bytes:
        """Return what is held: the upstream said no more."""
        return self._released() if self._held else b""

    def _released(self) -> bytes:
        held, self._held, self._parser = b"".join(self._held), [], None
        return super().feed(held)


def _opened(parser: SseParser, data: bytes) -> Opening | Failure:
    try:
        judged = (opening(event.data) for event in parser.feed(data))
        return next((told for told in judged if told is not Opening.WAIT), Opening.WAIT)
    except BrokerError:
        return Opening.GO


class Renamed:
    """What passes on the same dialect, with the model by the name the client asked for."""

    __slots__ = ("_inner", "_length", "_renaming", "between", "failure")

    def __init__(self, inner: Untouched, name: str) -> None:
        """Put `name` into what `inner` lets pass."""
        self._inner = inner
        self._renaming = Renaming(name) if inner.events else Rewriting(name)
        self._length: int | None = None
        self.failure: Failure | None = None
        self.between = inner.between

    def feed(self, data: bytes) -> bytes:
        """Return the lines these bytes complete; of a whole answer, nothing yet."""
        return self._passed(self._renaming.feed(self._inner.feed(data)))

    def close(self) -> bytes:
        """Return the rest."""
        rest = self._passed(self._renaming.feed(self._inner.close()) + self._renaming.close())
        self._length = None if self._inner.events else len(rest)
        return rest

    def opening(self) -> Start:
        """Return the upstream's own status and headers; the length is another."""
        start = self._inner.opening()
        headers = [header for header in start.headers if header[0] != b"content-length"]
        return Start(start.status, headers, self._length)

    def ending(self, told: bytes) -> bytes | None:
        """Put an event between events."""
        return self._inner.ending(told)

    def _passed(self, out: bytes) -> bytes:
        self.failure, self.between = self._inner.failure, self._inner.between
        return out


class Unwrapped:
    """Code Assist's events for a Gemini client that reads events."""

    __slots__ = ("_request_id", "_stream", "between", "failure")

    def __init__(self, request_id: bytes) -> None:
        """Begin."""
        self._stream = UnwrapStream()
        self._request_id = request_id
        self.failure: Failure | None = None
        self.between = True

    def feed(self, data: bytes) -> bytes:
        """Return the events these bytes complete."""
        return self._stream.feed(data)

    def close(self) -> bytes:
        """Return the rest."""
        return self._stream.close()

    def opening(self) -> Start:
        """Return the head of a stream of events."""
        return event_start(self._request_id)

    def ending(self, told: bytes) -> bytes | None:
        """Return it: events are always whole here."""
        return told


class Listed:
    """Code Assist's events for a Gemini client that reads a JSON array."""

    __slots__ = ("_any", "_parser", "_request_id", "between", "failure")

    def __init__(self, request_id: bytes) -> None:
        """Begin."""
        self._parser = SseParser()
        self._request_id = request_id
        self._any = False
        self.failure: Failure | None = None
        self.between = False

    def feed(self, data: bytes) -> bytes:
        """Return the elements these bytes complete."""
        try:
            return self._elements(event.data for event in self._parser.feed(data))
        except BrokerError as error:
            self.failure = failure_of(error)
            return self.ending(encode_event(ERRORS[Dialect.GEMINI].encode_error(self.failure)))

    def close(self) -> bytes:
        """Return the rest and the end of the array."""
        out = self._elements(event.data for event in self._parser.close())
        return out + (b"]" if self._any else b"[]")

    def opening(self) -> Start:
        """Return the head of a JSON answer."""
        return _json_start(self._request_id)

    def ending(self, told: bytes) -> bytes:
        """Make the error the last element, as Google does."""
        return _last_element(told, first=not self._any)

    def _elements(self, events: Iterable[bytes]) -> bytes:
        parts: list[bytes] = []
        for data in events:
            parts += (b",\r\n" if self._any else b"[", unwrap_answer(data))
            self._any = True
        return b"".join(parts)


class Translated:
    """A stream in another dialect. What says only that an answer was begun is held, so that a refusal after it can still go to another account."""

    __slots__ = ("_begun", "_decoder", "_encoder", "_held", "_request_id", "between", "failure")

    def __init__(self, decoder: StreamDecoder, encoder: StreamEncoder, request_id: bytes) -> None:
        """Read with one codec, write with another."""
        self._decoder = decoder
        self._encoder = encoder
        self._request_id = request_id
        self._held = b""
        self._begun = False
        self.failure: Failure | None = None
        self.between = True

    def feed(self, data: bytes) -> bytes:
        """Return the client's events for these bytes."""
        return self._written(self._decoder.feed(data))

    def close(self) -> bytes:
        """Return the closing events."""
        out = self._written(self._decoder.close())
        held, self._held = self._held, b""
        return held + out + self._encoder.close()

    def opening(self) -> Start:
        """Return the head of a stream of events."""
        return event_start(self._request_id)

    def ending(self, told: bytes) -> bytes | None:
        """Return it: events are always whole here."""
        return told

    def _written(self, events: list[Event]) -> bytes:
        if not events:
            return b""
        last = events[-1]
        if type(last) is Failed:  # which nothing is derived from; to be asked for a class it is not costs a struct more
            self.failure = last.failure
        out = self._encoder.encode(events)
        if self._begun:
            return out
        if all(isinstance(event, Started | Usage) for event in events):
            self._held += out
            return b""
        self._begun = True
        held, self._held = self._held, b""
        return held + out


class TranslatedList(Translated):
    """A stream in another dialect for a Gemini client that reads a JSON array; the encoder writes the elements."""

    __slots__ = ("_any",)

    def __init__(self, decoder: StreamDecoder, encoder: StreamEncoder, request_id: bytes) -> None:
        """Read with one codec, write with another."""
        super().__init__(decoder, encoder, request_id)
        self._any = False
        self.between = False

    def feed(self, data: bytes) -> bytes:
        """Return the elements for these bytes."""
        out = super().feed(data)
        self._any = self._any or bool(out)
        return out

    def opening(self) -> Start:
        """Return the head of a JSON answer."""
        return _json_start(self._request_id)

    def ending(self, told: bytes) -> bytes | None:
        """Make the error the last element, as Google does."""
        return _last_element(told, first=not self._any)


class Whole:
    """An answer that is converted when it is complete. `convert` returns the client's body, or the failure the answer really is."""

    __slots__ = ("_convert", "_length", "_parts", "_request_id", "_size", "between", "failure")

    def __init__(self, convert: Callable[[bytes], bytes | Failure], request_id: bytes) -> None:
        """Collect for `convert`."""
        self._convert = convert
        self._request_id = request_id
        self._parts: list[bytes] = []
        self._size = 0
        self._length = 0
        self.failure: Failure | None = None
        self.between = False

    def feed(self, data: bytes) -> bytes:
        """Keep `data`."""
        self._size += len(data)
        if self._size > _MAX_WHOLE_BYTES:
            self.failure = failure(502, f"the upstream's answer is larger than {_MAX_WHOLE_BYTES} bytes")
            self._parts.clear()
        else:
            self._parts.append(data)
        return b""

    def close(self) -> bytes:
        """Return the client's body."""
        body, self._parts = b"".join(self._parts), []
        out = self._convert(body)
        if isinstance(out, Failure):
            self.failure = out
            return b""
        self._length = len(out)
        return out

    def opening(self) -> Start:
        """Return the head of a JSON answer."""
        return _json_start(self._request_id, self._length)

    def ending(self, told: bytes) -> bytes | None:
        """Return None: a part of a whole answer has never gone out."""
        del told
        return None


def event_start(request_id: bytes) -> Start:
    """Return how a stream of events starts."""
    return Start(200, [(b"content-type", EVENTS), (b"cache-control", b"no-cache"), (b"x-request-id", request_id)])


def is_events(head: ResponseHead) -> bool:
    """Tell whether an answer is a stream of events that can be read."""
    kind, plain = media(head)
    return plain and kind.startswith(EVENTS)


def media(head: ResponseHead) -> tuple[bytes, bool]:
    """Return the media type an answer has, in lower case, and whether it is without a coding."""
    kind, plain = None, True
    for name, value in head.headers:
        if name == b"content-type":
            kind = kind or value.lower()
        elif name == b"content-encoding":
            plain = plain and value == b"identity"
    return kind or b"", plain


def _json_start(request_id: bytes, length: int | None = None) -> Start:
    return Start(200, [(b"content-type", b"application/json"), (b"x-request-id", request_id)], length)


def _last_element(told: bytes, *, first: bool) -> bytes:
    """Return an error event as the last element of an array."""
    return (b"[" if first else b",\r\n") + told.removeprefix(b"data: ").rstrip(b"\n") + b"]"
