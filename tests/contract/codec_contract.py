"""What every codec must do, whatever its format.

A subclass of `ClientCodecContract` or `UpstreamCodecContract` says how its format looks; the rules are here. Answers are made up as `Piece`s, the
things any model can say, so that one strategy serves all formats.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.translate.codecs import ClientCodec, StreamDecoder, UpstreamCodec
from broker.translate.exchange import Ids, Reading, Reply, Target
from broker.translate.fold import fold
from broker.translate.ir import (
    Event,
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    FunctionTool,
    Image,
    ImagePart,
    Message,
    Request,
    Role,
    Started,
    Text,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStarted,
    ToolResult,
    Usage,
)
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory

# Each subclass runs the inherited methods on its own codec: examples that fail for one may well pass for another.
inherited = settings(suppress_health_check=[HealthCheck.differing_executors])

Piece = tuple[str, str]
"""("text" | "thinking" | "image" | "call", content): content is text, base64 or JSON arguments."""

_ARGUMENTS = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=6), max_size=3).map(json.dumps)
PIECES = st.lists(
    st.tuples(st.sampled_from(["text", "thinking"]), st.text(min_size=1, max_size=12))
    | st.tuples(st.just("image"), st.sampled_from(["iVBORw0KGgo=", "/9j/", "UklGRg=="]))
    | st.tuples(st.just("call"), _ARGUMENTS),
    min_size=1,
    max_size=7,
)
CUTS = st.lists(st.floats(0, 1), max_size=10)
IDS = Ids("contract", 1_700_000_000)
GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"\xff\xfe",
    b"<html></html>",
    b"[" * 50_000,
    b'{"error":null}',
    b'{"a":' * 50_000,
]


def cut(data: bytes, where: Sequence[float]) -> list[bytes]:
    """Cut bytes at these shares of their length; also inside a character or a line end."""
    marks = [0, *sorted(int(share * len(data)) for share in where), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def reading(*names: str) -> Reading:
    """Return what an upstream codec reads an answer with."""
    return Reading(IDS, ToolNames(names), SignatureMemory())


def read_stream(decoder: StreamDecoder, chunks: Sequence[bytes]) -> list[Event]:
    """Read a stream to its end."""
    events: list[Event] = []
    for chunk in chunks:
        events += decoder.feed(chunk)
    return events + decoder.close()


def events_of(pieces: Sequence[Piece]) -> list[Event]:
    """Return the events of an answer."""
    calls = 0
    events: list[Event] = [Started("r-1", "upstream-model")]
    for kind, content in pieces:
        if kind == "text":
            events.append(TextDelta(content))
        elif kind == "thinking":
            events.append(ThinkingDelta(content))
        elif kind == "image":
            events.append(ImagePart("image/png", content))
        else:
            half = len(content) // 2
            events += [
                ToolCallStarted(calls, IDS.call(calls), "f"),
                ToolCallDelta(calls, content[:half]),
                ToolCallDelta(calls, content[half:]),
            ]
            calls += 1
    return [*events, Usage(3, 4, 1), Finished(FinishReason.TOOL_CALLS if calls else FinishReason.STOP, "STOP")]


class UpstreamCodecContract(ABC):
    """For upstream codecs."""

    codec: UpstreamCodec

    @abstractmethod
    def whole(self, pieces: Sequence[Piece]) -> bytes:
        """Return a whole answer of the format that says these things and is finished."""

    @abstractmethod
    def stream(self, pieces: Sequence[Piece], line_end: bytes, comments: bool) -> bytes:
        """Return the same as a stream, in at least one event a piece."""

    @inherited
    @given(pieces=PIECES, line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]), comments=st.booleans(), cuts=CUTS)
    def test_a_stream_folds_into_the_whole_answer(
        self, pieces: list[Piece], line_end: bytes, comments: bool, cuts: list[float]
    ) -> None:
        whole = self.codec.decode_answer(self.whole(pieces), reading())
        streamed = read_stream(self.codec.stream_decoder(reading()), cut(self.stream(pieces, line_end, comments), cuts))
        assert fold(streamed) == fold(whole)
        assert fold(whole).failure is None
        assert len(fold(whole).choices) == 1

    @inherited
    @given(pieces=PIECES, share=st.floats(0, 1))
    def test_a_cut_stream_is_told_as_a_failure(self, pieces: list[Piece], share: float) -> None:
        data = self.stream(pieces, b"\n", False)
        last = data.rstrip(b"\n").rfind(b"\n")  # the event that finishes stands after it
        events = read_stream(self.codec.stream_decoder(reading()), [data[: int(share * last)]])
        assert isinstance(events[-1], Failed)
        assert sum(isinstance(event, Failed | Finished) for event in events) == 1

    @inherited
    @given(st.binary(max_size=60), CUTS)
    def test_no_bytes_make_it_raise(self, data: bytes, cuts: list[float]) -> None:
        for body in (data, b"data: " + data + b"\n\n"):
            events = read_stream(self.codec.stream_decoder(reading()), cut(body, cuts))
            assert isinstance(events[-1], Failed)

    @pytest.mark.parametrize("body", GARBAGE)
    def test_garbage_is_a_failure_of_the_upstream(self, body: bytes) -> None:
        (event,) = [e for e in self.codec.decode_answer(body, reading()) if not isinstance(e, Started)]
        assert isinstance(event, Failed)
        assert event.failure.status == 502

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
    @pytest.mark.parametrize("body", GARBAGE)
    def test_an_error_always_has_a_status_and_a_sentence(self, status: int, body: bytes) -> None:
        failure = self.codec.decode_error(status, body)
        assert failure.status == status
        assert failure.message

    def test_a_request_is_json_and_leaves_the_ir_alone(self) -> None:
        messages = (
            Message(Role.USER, (Text("hi"), Image("image/png", "AAAA"))),
            Message(Role.ASSISTANT, (ToolCall("c", "a tool", {"x": 1}),)),
            Message(Role.USER, (ToolResult("c", (Text("r"),)), Text("go"))),
        )
        tools = (FunctionTool("a tool", "d", {"type": "object", "properties": {"x": {"type": "integer"}}}),)
        request = Request("m", messages, "m", tools=tools)
        before = repr(request)
        sent = self.codec.encode_request(request, Target("m", SignatureMemory()))
        assert isinstance(json.loads(sent.body), dict)
        assert repr(request) == before
        assert sent.names.inward(sent.names.outward("a tool")) == "a tool"


class ClientCodecContract(ABC):
    """For client codecs."""

    codec: ClientCodec
    minimal: dict[str, object]

    @abstractmethod
    def reassembled(self, data: bytes) -> object:
        """Put a stream of the format together as its clients do; comparable to a whole answer's JSON."""

    @inherited
    @given(pieces=PIECES, cuts=CUTS)
    def test_a_stream_put_together_is_the_whole_answer(self, pieces: list[Piece], cuts: list[float]) -> None:
        events = events_of(pieces)
        reply = Reply(IDS, "asked", include_usage=True)
        encoder = self.codec.stream_encoder(reply)
        marks = [0, *sorted(int(share * len(events)) for share in cuts), len(events)]
        data = b"".join(encoder.encode(events[a:b]) for a, b in pairwise(marks)) + encoder.close()
        assert self.reassembled(data) == json.loads(self.codec.encode_answer(fold(events), reply))

    @inherited
    @given(pieces=PIECES)
    def test_bytes_do_not_depend_on_how_events_are_grouped(self, pieces: list[Piece]) -> None:
        events = events_of(pieces)
        one, many = (self.codec.stream_encoder(Reply(IDS, "asked")) for _ in range(2))
        assert one.encode(events) + one.close() == b"".join(many.encode([event]) for event in events) + many.close()

    @pytest.mark.parametrize("between", [[], [TextDelta("x")], [ThinkingDelta("x")], [ImagePart("image/png", "AAAA")]])
    def test_calls_that_are_told_in_turns_lose_nothing(self, between: list[Event]) -> None:
        begun = [ToolCallStarted(number, f"c{number}", "f") for number in range(3)]
        first = [ToolCallDelta(number, '{"a":') for number in (1, 0, 2)]
        last = [ToolCallDelta(number, "1}") for number in (2, 0)] + [ToolCallDelta(1, " 1}")]
        end = [Usage(3, 4), Finished(FinishReason.TOOL_CALLS)]
        events: list[Event] = [Started("r"), begun[0], first[1], *between, *begun[1:], first[0], first[2], *last, *end]
        encoder, reply = self.codec.stream_encoder(Reply(IDS, "asked", include_usage=True)), Reply(IDS, "asked")
        data = b"".join(encoder.encode([event]) for event in events) + encoder.close()
        assert self.reassembled(data) == json.loads(self.codec.encode_answer(fold(events), reply))

    def test_a_failure_ends_the_stream(self) -> None:
        encoder = self.codec.stream_encoder(Reply(IDS, "asked", include_usage=True))
        failed = Failed(Failure(502, FailureKind.SERVER, "the upstream went away"))
        assert b"the upstream went away" in encoder.encode([TextDelta("a"), failed])
        assert encoder.close() == b""

    @pytest.mark.parametrize("body", GARBAGE)
    def test_garbage_is_a_bad_request(self, body: bytes) -> None:
        with pytest.raises(BrokerError) as caught:
            self.codec.decode_request(body)
        assert caught.value.code is ErrorCode.BAD_REQUEST

    def test_unknown_fields_change_nothing(self) -> None:
        plain = self.codec.decode_request(json.dumps(self.minimal).encode())
        extended = self.minimal | {"a_field_of_next_year": {"x": [1]}}
        assert self.codec.decode_request(json.dumps(extended).encode()) == plain

    @inherited
    @given(
        st.dictionaries(
            st.sampled_from(
                ["messages", "model", "tools", "stream", "temperature", "stop", "n", "tool_choice", "response_format"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(
                        st.sampled_from(["role", "content", "type", "text", "function", "name", "tool_calls", "x"]),
                        inner,
                        max_size=4,
                    )
                ),
                max_leaves=12,
            ),
            max_size=5,
        )
    )
    def test_any_json_is_understood_or_refused(self, fields: dict[str, object]) -> None:
        refusal: BrokerError | None = None
        try:
            self.codec.decode_request(json.dumps(self.minimal | fields).encode())
        except BrokerError as error:
            refusal = error
        assert refusal is None or (refusal.code is ErrorCode.BAD_REQUEST and ": " in refusal.detail)

    @pytest.mark.parametrize("kind", FailureKind)
    def test_an_error_is_a_json_object_that_says_why(self, kind: FailureKind) -> None:
        body = self.codec.encode_error(Failure(500, kind, "why it failed", retry_after=2.5))
        assert isinstance(json.loads(body), dict)
        assert b"why it failed" in body
