"""Every upstream's answers to every client: streamed and whole they are the same, however the bytes are cut and whatever stands between them.

The contract holds the two halves by themselves; here they are joined, as the proxy joins them.
"""

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.exchange import Reply
from broker.translate.fold import fold
from broker.translate.ir import (
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    ImagePart,
    Started,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tests.contract.codec_contract import CUTS, IDS, PIECES, cut, reading
from tests.translate import (
    test_claude,
    test_claude_upstream_answer,
    test_codeassist,
    test_gemini,
    test_gemini_client,
    test_kiro_upstream_answer,
    test_openai_chat,
    test_openai_upstream_answer,
    test_responses,
    test_responses_upstream_answer,
)

SAID = {
    Dialect.GEMINI: test_gemini.TestContract(),
    Dialect.CODE_ASSIST: test_codeassist.TestContract(),
    Dialect.ANTIGRAVITY: test_codeassist.TestContract(),
    Dialect.CLAUDE: test_claude_upstream_answer.TestContract(),
    Dialect.OPENAI_CHAT: test_openai_upstream_answer.TestContract(),
    Dialect.RESPONSES: test_responses_upstream_answer.TestContract(),
    Dialect.KIRO: test_kiro_upstream_answer.TestContract(),
}
READ = {
    Dialect.OPENAI_CHAT: test_openai_chat.TestContract(),
    Dialect.RESPONSES: test_responses.TestContract(),
    Dialect.CLAUDE: test_claude.TestContract(),
    Dialect.GEMINI: test_gemini_client.TestContract(),
}
REPLY = Reply(IDS, "asked", include_usage=True)


def passed(upstream, client, chunks, reply=REPLY):
    """What a client is sent of a stream that comes in these pieces."""
    decoder, encoder = UPSTREAMS[upstream].stream_decoder(reading()), CLIENTS[client].stream_encoder(reply)
    out = [encoder.encode(decoder.feed(chunk)) for chunk in chunks]
    return b"".join((*out, encoder.encode(decoder.close()), encoder.close()))


def kept_alive(upstream, data, line_end):
    """Put a comment between any two lines, also of one event."""
    return data if upstream is Dialect.KIRO else data.replace(line_end, line_end + b": keep-alive" + line_end)


def test_all_pairs_are_here():
    assert (set(SAID), set(READ)) == (set(UPSTREAMS), set(CLIENTS))


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("upstream", list(UPSTREAMS))
@settings(max_examples=6)
@given(pieces=PIECES, line_end=st.sampled_from([b"\n", b"\r\n", b"\r"]), cuts=CUTS)
def test_a_stream_put_together_is_the_whole_answer(upstream, client, pieces, line_end, cuts):
    said = SAID[upstream]
    answer = fold(UPSTREAMS[upstream].decode_answer(said.whole(pieces), reading()))
    stream = kept_alive(upstream, said.stream(pieces, line_end, False), line_end)
    out = passed(upstream, client, cut(stream, cuts))
    assert READ[client].reassembled(out) == json.loads(CLIENTS[client].encode_answer(answer, REPLY))


@pytest.mark.parametrize("upstream", list(UPSTREAMS))
def test_each_byte_may_come_alone(upstream):
    pieces = [("thinking", "höm"), ("text", "🙂 né"), ("call", '{"ü":"日"}'), ("call", "{}")]
    stream = SAID[upstream].stream(pieces, b"\r\n", True)
    single = [stream[i : i + 1] for i in range(len(stream))]
    for client in CLIENTS:
        assert READ[client].reassembled(passed(upstream, client, single)) == READ[client].reassembled(
            passed(upstream, client, [stream])
        )


@pytest.mark.parametrize("client", list(CLIENTS))
@pytest.mark.parametrize("upstream", list(UPSTREAMS))
def test_what_breaks_off_ends_with_one_error_in_the_client_s_words(upstream, client):
    stream = SAID[upstream].stream([("text", "he"), ("thinking", "hm"), ("text", "there")], b"\n", False)
    begun = stream[: stream.index(b"there") - 1]
    broken = passed(upstream, client, [begun if upstream is Dialect.KIRO else begun.rpartition(b"\n\n")[0] + b"\n\n"])
    assert broken.count(b"cut short") == 1
    assert (b"he" in broken, b"[DONE]" in broken) == (True, False)
    last = json.loads(broken.strip().rpartition(b"data: ")[2])
    if client is Dialect.RESPONSES:
        assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    else:
        assert set(last) == set(json.loads(CLIENTS[client].encode_error(Failure(502, FailureKind.SERVER, "x"))))


@pytest.mark.parametrize("client", list(CLIENTS))
def test_after_an_error_nothing_is_told(client):
    encoder = CLIENTS[client].stream_encoder(REPLY)
    encoder.encode([Failed(Failure(502, FailureKind.SERVER, "gone"))])
    assert encoder.close() == b""


TEXTS, PROOFS = st.sampled_from(["a", "né\n", "🙂"]), st.none() | st.sampled_from(["sig", "anthropic.s", "openai.x"])
HELD = st.one_of(
    st.builds(lambda text, proof: [TextDelta(text, signature=proof)], TEXTS, PROOFS),
    st.builds(lambda text, proof: [ThinkingDelta(text, signature=proof)], TEXTS, PROOFS),
    st.just([ThinkingDelta("", redacted="anthropic.z")]),
    st.builds(lambda draft, proof: [ImagePart("image/png", "AAAA", 0, draft, proof)], st.booleans(), PROOFS),
    st.builds(lambda count, proof: [(count, proof)], st.integers(1, 3), PROOFS),
    st.just([Usage(3, 4, 1, 1, 1)]),
)


def told(held, reason):
    """The events of an answer that holds these; of calls, how many are told in turns, and how they are signed."""
    events, calls = [Started("r-1", "m")], 0
    for each in (each for some in held for each in some):
        if not isinstance(each, tuple):
            events.append(each)
            continue
        numbers = range(calls, calls + each[0])
        calls += each[0]
        events += [ToolCallStarted(number, f"c{number}", "f", signature=each[1]) for number in numbers]
        events += [ToolCallDelta(number, '{"a":') for number in numbers]
        events += [ToolCallDelta(number, "1}") for number in reversed(numbers)]
    return [*events, Usage(9, 8, 2), Finished(reason, "word")]


# Gemini's parts of one kind cannot be told from their pieces; its own tests put them together.
@pytest.mark.parametrize("client", [each for each in CLIENTS if each is not Dialect.GEMINI])
@settings(max_examples=30)
@given(held=st.lists(HELD, max_size=7), reason=st.sampled_from(FinishReason), thinks=st.booleans(), keeps=st.booleans())
def test_whatever_an_answer_holds_is_told_alike_whole_and_streamed(client, held, reason, thinks, keeps):
    events, reply = told(held, reason), Reply(IDS, "asked", True, thinks, {"encrypted": keeps})
    encoder = CLIENTS[client].stream_encoder(reply)
    data = b"".join(encoder.encode([event]) for event in events) + encoder.close()
    assert READ[client].reassembled(data) == json.loads(CLIENTS[client].encode_answer(fold(events), reply))


def measured(upstream, client, size):
    """How long a line of this size takes on its way, in seconds of work, and the most memory it needed."""
    piece = ("text" if upstream is Dialect.KIRO else "image", "A" * size)
    stream = SAID[upstream].stream([piece], b"\r\n", True)
    chunks = [stream[i : i + 65536] for i in range(0, len(stream), 65536)]
    start = time.process_time()
    passed(upstream, client, chunks)
    took = time.process_time() - start
    tracemalloc.start()
    passed(upstream, client, chunks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return took, peak


@pytest.mark.parametrize(
    ("upstream", "client"),
    [
        *((each, Dialect.GEMINI) for each in UPSTREAMS),
        *((Dialect.CLAUDE, each) for each in CLIENTS if each is not Dialect.GEMINI),
    ],
)
def test_a_line_as_long_as_an_image_takes_time_and_memory_in_proportion(upstream, client):
    small, _ = measured(upstream, client, 200_000)
    took, peak = measured(upstream, client, 3_000_000)
    assert peak < 3_000_000 * 6
    assert took < max(small, 0.02) * 15 * 5  # joined anew at each read it would be 225 times as much
