import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.codecs import Dialect
from broker.translate.tokens import UNTOLD, Ends, Tokens


def told(dialect: Dialect, *parts: bytes) -> Tokens:
    ends = Ends(dialect)
    for part in parts:
        ends.feed(part)
    return ends.tokens()


def sse(*events: object, end: str = "\n\n") -> bytes:
    return "".join(f"data: {event if isinstance(event, str) else json.dumps(event)}{end}" for event in events).encode()


CHAT_USAGE = {
    "prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42,
    "prompt_tokens_details": {"cached_tokens": 20}, "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}  # fmt: skip
CHAT = Tokens(30, 12, 20, 5)
RESPONSES_USAGE = {
    "input_tokens": 30, "input_tokens_details": {"cached_tokens": 20}, "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 42,
}  # fmt: skip
GEMINI_USAGE = {
    "promptTokenCount": 28, "toolUsePromptTokenCount": 2, "candidatesTokenCount": 7, "thoughtsTokenCount": 5,
    "cachedContentTokenCount": 20, "totalTokenCount": 42, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 28}],
}  # fmt: skip
CLAUDE_USAGE = {
    "input_tokens": 7, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 20, "output_tokens": 12,
    "cache_creation": {"ephemeral_5m_input_tokens": 3}, "service_tier": "standard",
}  # fmt: skip
CLAUDE = Tokens(30, 12, 20, None)
LONG = 'word \n"usage": {}' * 3000

gemini_answer = {
    "candidates": [{"content": {"parts": [{"text": LONG}]}}],
    "usageMetadata": GEMINI_USAGE,
    "modelVersion": "m",
}
response = {"id": "r", "output": [{"text": LONG}], "usage": RESPONSES_USAGE, "user": None, "metadata": {"a": "b"}}
claude_answer = {"type": "message", "content": [{"text": LONG}], "usage": CLAUDE_USAGE}
claude_start = {"type": "message_start", "message": {"usage": {**CLAUDE_USAGE, "output_tokens": 1}}}
claude_end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}}
words = [{"type": "content_block_delta", "delta": {"text": LONG[:900]}}] * 30

WHOLE = {
    "chat": (Dialect.OPENAI_CHAT, {"choices": [{"message": {"content": LONG}}], "usage": CHAT_USAGE, "id": "x"}, CHAT),
    "responses": (Dialect.RESPONSES, response, CHAT),
    "gemini": (Dialect.GEMINI, gemini_answer, CHAT),
    "code assist": (Dialect.CODE_ASSIST, {"response": gemini_answer, "traceId": "t"}, CHAT),
    "antigravity": (Dialect.ANTIGRAVITY, {"response": gemini_answer}, CHAT),
    "gemini array": (Dialect.GEMINI, [{"candidates": []}, gemini_answer], CHAT),
    "claude": (Dialect.CLAUDE, claude_answer, CLAUDE),
}
STREAMS = {
    "chat": (Dialect.OPENAI_CHAT, sse({"choices": [{"delta": {"content": LONG}}], "usage": None},
                                      {"choices": [], "usage": CHAT_USAGE}, "[DONE]"), CHAT),
    "chat, told early": (Dialect.OPENAI_CHAT, sse({"usage": CHAT_USAGE}, {"choices": [], "usage": None}, "[DONE]"), CHAT),
    "responses": (Dialect.RESPONSES, sse({"type": "response.created", "response": {"usage": None}}, *words,
                                         {"type": "response.completed", "response": response, "sequence_number": 9}), CHAT),
    "gemini": (Dialect.GEMINI, sse(*([{"usageMetadata": {"promptTokenCount": 28}}] * 20), gemini_answer, end="\r\n\r\n"), CHAT),
    "code assist": (Dialect.CODE_ASSIST, sse({"response": gemini_answer, "traceId": "t"}), CHAT),
    "claude": (Dialect.CLAUDE, sse(claude_start, {"type": "ping"}, *words, claude_end, {"type": "message_stop"}), CLAUDE),
    "claude, short": (Dialect.CLAUDE, sse(claude_start, claude_end), CLAUDE),
    "claude, told at the end": (Dialect.CLAUDE, sse({"type": "message_start", "message": {"usage": {"input_tokens": 0}}},
                                                    {**claude_end, "usage": CLAUDE_USAGE}), CLAUDE),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLE)
def test_whole_answers_compact_and_indented(name: str) -> None:
    dialect, document, expected = WHOLE[name]
    assert told(dialect, json.dumps(document).encode()) == expected
    assert told(dialect, json.dumps(document, indent=2).encode() + b"\n") == expected


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str) -> None:
    dialect, body, expected = STREAMS[name]
    assert told(dialect, body) == expected


EVERY = [(dialect, json.dumps(document).encode(), expected) for dialect, document, expected in WHOLE.values()]
EVERY += STREAMS.values()


@given(st.sampled_from(EVERY), st.lists(st.integers(1, 20_000), min_size=1, max_size=12))
def test_any_cut_tells_the_same(case: tuple[Dialect, bytes, Tokens], sizes: list[int]) -> None:
    dialect, body, expected = case
    parts, turn = [], 0
    while body:
        size = sizes[turn % len(sizes)]
        parts.append(body[:size])
        body, turn = body[size:], turn + 1
    assert told(dialect, *parts) == expected


def test_little_is_kept_whatever_the_size() -> None:
    ends = Ends(Dialect.CLAUDE)
    for size in (1, 100, 70_000, 9000, 5) * 50:
        ends.feed(b"x" * size)
        assert len(ends._head) <= 4096
        assert sum(map(len, ends._parts)) <= 12_288


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"<html>", b'{"usage": null, "usageMetadata": null}', b'{"usage": 5, "usageMetadata": "x"}', b'"usage"', b'"usageMetadata": {',
        b'{"usage": {}, "usageMetadata": {}}', b"\xff\xfe", b'data: {"type": "message_start"', b'data: {"type":"message_start"}\n\n',
        b'data: {"type":"message_start","message":{}}\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n', b'"message_start"',
        b'{"usage":{"prompt_tokens":-5,"input_tokens":1000000000000000000000000,"output_tokens":"7"},"usageMetadata":{"promptTokenCount":-1,"x":1}}',
        b'{"usage":' * 20,
    ],
)  # fmt: skip
def test_what_is_not_told_stays_unknown(dialect: Dialect, body: bytes) -> None:
    found = told(dialect, body)
    assert found.prompt is None
    assert (found.completion or 0, found.cached or 0, found.reasoning or 0) == (0, 0, 0)


def test_a_part_that_is_told_counts_and_the_rest_does_not() -> None:
    assert told(Dialect.OPENAI_CHAT, b'{"usage":{"prompt_tokens":8,"total_tokens":9}}') == Tokens(8)
    assert told(Dialect.RESPONSES, b'{"usage":{"input_tokens":8}}') == Tokens(8)
    assert told(Dialect.GEMINI, b'{"usageMetadata":{"candidatesTokenCount":4,"thoughtsTokenCount":3}}') == Tokens(
        None, 7, None, 3
    )
    assert told(Dialect.GEMINI, b'{"usageMetadata":{"promptTokenCount":4}}') == Tokens(4, 0, 0, 0)
    # A stream that was cut tells what it read, not what it came to.
    assert told(Dialect.CLAUDE, sse(claude_start)) == Tokens(30, None, 20)


def test_kiro_tells_it_in_a_frame() -> None:
    frame = (
        b'\x00\x00\x01{\x0b:event-type{"stopReason":"END_TURN","tokenUsage":{"uncachedInputTokens":7,"outputTokens":12,'
    )
    whole = frame + b'"cacheReadInputTokens":20,"cacheWriteInputTokens":3,"totalTokens":42}}\xd3}\x00"'
    assert told(Dialect.KIRO, b'\x00{"content":"\\"tokenUsage\\": {}"}' + whole) == CLAUDE
    assert told(Dialect.KIRO, frame + b'"cacheWriteInputTokens":3}}') == Tokens(10, 12)
    assert told(Dialect.KIRO, frame) == UNTOLD
    assert told(Dialect.KIRO, b'"tokenUsage":') == UNTOLD
    assert told(Dialect.KIRO, b'{"tokenUsage":{"outputTokens":2}}') == Tokens(None, 2)


def test_what_a_model_says_is_not_what_it_costs() -> None:
    said = {"usage": CHAT_USAGE, "usageMetadata": GEMINI_USAGE}
    text = {"choices": [{"message": {"content": json.dumps(said)}}]}
    arguments = {
        "candidates": [{"content": {"parts": [{"functionCall": {"args": said}}]}}],
        "output": [said],
        "content": [{"input": said}],
    }
    for dialect in Dialect:
        assert told(dialect, json.dumps(text).encode()) == UNTOLD
        assert told(dialect, json.dumps(arguments).encode()) == UNTOLD
        assert told(dialect, sse(arguments)) == UNTOLD


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 8, "total_tokens": 8}, Tokens(8, 0)),
        ({"prompt_tokens": 8, "total_tokens": 9}, Tokens(8)),
        ({"prompt_tokens": 8}, Tokens(8)),
        ({"total_tokens": 8}, Tokens()),
        (
            {
                "input_tokens": 5,
                "output_tokens": 1290,
                "total_tokens": 1295,
                "input_tokens_details": {"image_tokens": 0},
            },
            Tokens(5, 1290),
        ),
    ],
)
def test_embeddings_and_images_count_in_their_own_way(usage: object, expected: Tokens) -> None:
    ends = Ends(Dialect.OPENAI_CHAT)
    ends.feed(json.dumps({"data": [{"b64_json": "A" * 50_000}], "usage": usage}).encode())
    assert ends.tokens() == expected
