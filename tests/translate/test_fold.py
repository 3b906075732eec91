"""A whole answer is the sum of its events."""

from broker.translate.fold import fold
from broker.translate.ir import (
    Answer,
    CalledTool,
    Choice,
    Failed,
    Failure,
    FailureKind,
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


def parts(*events):
    return fold(events).choices[0].parts


def test_neighbouring_deltas_become_one_part():
    assert parts(ThinkingDelta("hm"), ThinkingDelta("m"), TextDelta("a"), TextDelta("b")) == (
        Thinking("hmm"),
        Text("ab"),
    )


def test_a_signature_closes_its_part():
    assert parts(TextDelta("a"), TextDelta("", signature="s"), TextDelta("b")) == (Text("a", "s"), Text("b"))


def test_redacted_thinking_stands_alone():
    assert parts(ThinkingDelta("a"), ThinkingDelta("", redacted="x"), ThinkingDelta("b")) == (
        Thinking("a"),
        Thinking("", redacted="x"),
        Thinking("b"),
    )


def test_an_image_splits_text_and_a_draft_is_left_out():
    assert parts(
        TextDelta("a"), ImagePart("image/png", "D", draft=True), ImagePart("image/png", "I", signature="s")
    ) == (
        Text("a"),
        Image("image/png", "I", "s"),
    )


def test_arguments_of_interleaved_calls_find_their_own():
    found = parts(
        ToolCallStarted(0, "a", "f"),
        ToolCallStarted(1, "b", "g", signature="s"),
        ToolCallDelta(1, '{"y"'),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(1, ":1}"),
    )
    assert found == (CalledTool("a", "f", "{}"), CalledTool("b", "g", '{"y":1}', "s"))


def test_choices_usage_names_and_ends_are_told_apart():
    logprob = Logprob(TokenLogprob("a", -0.5))
    answer = fold(
        [
            Started("id", "m", 7),
            TextDelta("b", choice=1),
            TextDelta("a"),
            LogprobsDelta((logprob,)),
            Usage(1, 1),
            Usage(1, 2),
            Finished(FinishReason.STOP, "STOP"),
            Finished(FinishReason.LENGTH, "MAX_TOKENS", choice=1),
        ]
    )
    assert answer == Answer(
        "id",
        "m",
        7,
        (
            Choice(0, (Text("a"),), Finished(FinishReason.STOP, "STOP"), (logprob,)),
            Choice(1, (Text("b"),), Finished(FinishReason.LENGTH, "MAX_TOKENS", choice=1)),
        ),
        Usage(1, 2),
    )


def test_nothing_is_read_after_a_failure():
    failure = Failure(502, FailureKind.SERVER, "cut")
    answer = fold([TextDelta("a"), Failed(failure), TextDelta("b")])
    assert answer.failure == failure
    assert answer.choices == (Choice(0, (Text("a"),)),)
