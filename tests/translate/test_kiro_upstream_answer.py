import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.fold import fold
from broker.translate.ir import (
    CalledTool,
    Failed,
    FailureKind,
    Finished,
    FinishReason,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.kiro import Kiro
from tests.contract.codec_contract import CUTS, IDS, PIECES, UpstreamCodecContract, cut, inherited, read_stream, reading
from tests.fakes.eventstream import texts
from tests.fakes.kiro import called, ended, event, exception, said, talk, thought

CODEC = Kiro()


def frames(pieces, *, comments=False):
    yield event("initial-response", conversationId="c-1")
    for number, (kind, content) in enumerate(pieces):
        if comments:
            yield event("somethingOfNextYearEvent", x=[1])
        match kind:
            case "text":
                yield said(content)
            case "thinking":
                yield thought(content)
            case "image":
                pass  # its answers have none
            case "call":
                yield from called((f"tooluse_{number}", "f", content))
    yield from ended(uncachedInputTokens=3, outputTokens=4)


class TestContract(UpstreamCodecContract):
    codec = CODEC

    def whole(self, pieces):
        return b"".join(frames(pieces))

    def stream(self, pieces, line_end, comments):
        return b"".join(frames(pieces, comments=comments))

    @inherited
    @given(pieces=PIECES, share=st.floats(0, 1))
    def test_a_cut_stream_is_told_as_a_failure(self, pieces, share):
        # Between two frames no byte tells that there should be more: HTTP's framing does.
        parts = list(frames(pieces))
        data = b"".join(parts)
        at = max(1, min(int(share * len(data)), len(data) - 1))
        if any(sum(map(len, parts[:n])) == at for n in range(len(parts))):
            at += 1
        events = read_stream(CODEC.stream_decoder(reading()), [data[:at]])
        assert isinstance(events[-1], Failed)
        assert sum(isinstance(each, Failed | Finished) for each in events) == 1


def events(*parts, names=()):
    return CODEC.decode_answer(b"".join(parts), reading(*names))


def failed(*parts):
    last = events(*parts)[-1]
    assert isinstance(last, Failed)
    return last.failure


def test_text_thoughts_and_calls_in_order():
    found = events(
        thought("hm"), said("Let me "), said("look."), *called(("t_1", "read", '{"a":1}')), *ended("TOOL_USE")
    )
    assert found == [
        Started(),
        ThinkingDelta("hm"),
        TextDelta("Let me "),
        TextDelta("look."),
        ToolCallStarted(0, "t_1", "read"),
        ToolCallDelta(0, '{"a'),
        ToolCallDelta(0, '":1}'),
        Finished(FinishReason.TOOL_CALLS, "TOOL_USE"),
    ]
    parts = fold(found).choices[0].parts
    assert parts == (Thinking("hm"), Text("Let me look."), CalledTool("t_1", "read", '{"a":1}'))


def test_nothing_begins_before_something_is_said():
    reader = CODEC.stream_decoder(reading())
    assert reader.feed(event("initial-response", conversationId="c") + said("") + event("toolUseEvent")[:3]) == []


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("END_TURN", FinishReason.STOP),
        ("PAUSE_TURN", FinishReason.STOP),
        ("TOOL_USE", FinishReason.TOOL_CALLS),
        ("MAX_TOKENS", FinishReason.LENGTH),
        ("MODEL_CONTEXT_WINDOW_EXCEEDED", FinishReason.LENGTH),
        ("CONTENT_FILTERED", FinishReason.CONTENT_FILTER),
        ("UNKNOWN", FinishReason.STOP),
    ],
)
def test_why_it_ended(reason, finish):
    assert events(said("a"), *ended(reason))[-1] == Finished(finish, reason)


def test_without_a_reason_calls_tell():
    assert events(said("a"))[-1] == Finished(FinishReason.STOP)
    assert events(*called(("t", "f", "{}")))[-1] == Finished(FinishReason.TOOL_CALLS)
    assert events(*called(("t", "f", "{}")), *ended("END_TURN"))[-1] == Finished(FinishReason.TOOL_CALLS, "END_TURN")
    assert events(*called(("t", "f", "{}")), *ended("MAX_TOKENS"))[-1] == Finished(FinishReason.LENGTH, "MAX_TOKENS")


def test_an_answer_may_say_nothing_where_it_says_why():
    assert events(*ended("CONTENT_FILTERED")) == [
        Started(),
        Finished(FinishReason.CONTENT_FILTER, "CONTENT_FILTERED"),
    ]


def test_tokens_are_told_where_kiro_tells_them():
    tokens = {"uncachedInputTokens": 3, "outputTokens": 4, "cacheReadInputTokens": 5, "cacheWriteInputTokens": 6}
    answer = fold(events(said("a"), *ended(**tokens)))
    assert answer.usage == Usage(prompt=14, completion=4, cached=5, cache_written=6)
    assert fold(events(said("a"), *ended())).usage is None
    assert fold(events(said("a"), event("metadataEvent", tokenUsage={"outputTokens": -2}))).usage == Usage()


def test_calls_side_by_side():
    first, second = (called((i, "f", f'{{"n":"{i}"}}')) for i in ("a", "b"))
    mixed = [frame for pair in zip(first, second, strict=True) for frame in pair]
    assert fold(events(*mixed)).choices[0].parts == (
        CalledTool("a", "f", '{"n":"a"}'),
        CalledTool("b", "f", '{"n":"b"}'),
    )


def test_names_come_back_as_the_client_knows_them():
    names = reading("a tool")
    outward = names.names.outward("a tool")
    (_, started, *_) = CODEC.decode_answer(b"".join(called(("t", outward, "{}"))), names)
    assert started == ToolCallStarted(0, "t", "a tool")


def use(**fields):
    return event("toolUseEvent", **fields)


@pytest.mark.parametrize(
    ("parts", "arguments"),
    [
        ([use(toolUseId="t", name="f", stop=True)], "{}"),
        ([use(toolUseId="t", name="f", input="")], "{}"),
        ([use(toolUseId="t", name="f")], "{}"),
        ([use(toolUseId="t", name="f", input='{"a":1}')], '{"a":1}'),
        ([use(toolUseId="t", name="f", input={"a": 1}, stop=True)], '{"a": 1}'),
        (
            [use(toolUseId="t", name="f", input='{"a":1}', stop=True), use(toolUseId="t", name="f", input="x")],
            '{"a":1}',
        ),
        ([use(toolUseId="t", name="f", input="not json", stop=True)], "not json"),  # the client judges
    ],
)
def test_arguments(parts, arguments):
    assert fold(events(*parts)).choices[0].parts == (CalledTool("t", "f", arguments),)


def test_a_call_without_id_and_name_gets_some():
    assert fold(events(use(input="{}", stop=True))).choices[0].parts == (CalledTool(IDS.call(0), "tool_0", "{}"),)


def test_a_call_cut_in_its_arguments_is_no_answer():
    assert "cut short" in failed(use(toolUseId="t", name="f", input='{"a":')).message
    assert "cut short" in failed(use(toolUseId="t", name="f", input="[1]")).message


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([], "empty"),
        ([event("meteringEvent", usage=1)], "empty"),
        ([event("initial-response")], "empty"),
        ([said("a")[:-1]], "cut short"),
        ([said("a"), said("b")[:11]], "cut short"),
        ([said("a")[:-1] + b"\x00"], "checksum"),
        ([texts({":message-type": "event", ":event-type": "assistantResponseEvent"}, b"{")], "event that is none"),
        ([event("assistantResponseEvent", content=1)], "event that is none"),
        ([event("toolUseEvent", toolUseId=[])], "event that is none"),
        (
            [texts({":message-type": "event", ":event-type": "toolUseEvent"}, b'{"input":"\\ud800\\x"}')],
            "event that is none",
        ),
        ([texts({":message-type": "news"}, b"{}")], "unknown kind"),
        ([texts({}, b"{}")], "unknown kind"),
    ],
)
def test_what_is_no_answer(parts, why):
    failure = failed(*parts)
    assert why in failure.message
    assert (failure.status, failure.kind) == (502, FailureKind.SERVER)


def test_exceptions_and_errors():
    told = failed(
        said("a"), exception("ThrottlingException", "slow down", reason="USER_REQUEST_RATE_EXCEEDED"), said("b")
    )
    assert (told.status, told.kind, told.message) == (429, FailureKind.RATE_LIMITED, "slow down")
    headers = {":message-type": "error", ":error-code": "InternalServerError", ":error-message": "it broke"}
    told = failed(texts(headers, b""))
    assert (told.status, told.message, told.code) == (500, "it broke", "InternalServerError")
    told = failed(event("invalidStateEvent", reason="INVALID_TASK_ASSIST_PLAN", message="no such state"))
    assert (told.status, told.message, told.reason) == (502, "no such state", "INVALID_TASK_ASSIST_PLAN")
    assert failed(texts({":message-type": "exception", ":exception-type": "XException"}, b"<html>")).status == 502


@given(cuts=CUTS, at=st.integers(0, 5))
def test_what_was_said_before_a_fault_does_not_depend_on_the_cuts(cuts, at):
    parts = talk("one ", "two")
    parts[at] = parts[at][:-1] + bytes([parts[at][-1] ^ 1])
    streamed = read_stream(CODEC.stream_decoder(reading()), cut(b"".join(parts), cuts))
    assert streamed == events(*parts)
    assert isinstance(streamed[-1], Failed)
    assert [each.text for each in streamed if isinstance(each, TextDelta)] == ["one ", "two"][: max(0, at - 1)]


def test_an_exception_before_a_fault_is_what_is_told():
    assert failed(said("a"), exception("ThrottlingException", "slow down"), b"x" * 12).status == 429


def test_nothing_follows_a_failure():
    reader = CODEC.stream_decoder(reading())
    assert isinstance(reader.feed(said("a") + exception("XException", "no") + said("b"))[-1], Failed)
    assert reader.feed(said("c")) == []
    assert reader.close() == []
    reader = CODEC.stream_decoder(reading())
    assert len(reader.feed(b"x" * 12)) == 1
    assert reader.close() == []


def test_a_talk_byte_by_byte():
    data = b"".join(talk("one ", "two", calls=[("t", "f", json.dumps({"é": "ü"}))]))
    streamed = read_stream(CODEC.stream_decoder(reading()), [bytes([byte]) for byte in data])
    assert fold(streamed) == fold(CODEC.decode_answer(data, reading()))
