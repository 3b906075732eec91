import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy import relays
from broker.proxy.failures import error_event, failure
from broker.proxy.relays import Guarded, Listed, Translated, TranslatedList, Untouched, Unwrapped, Whole
from broker.proxy.routes import Voice
from broker.proxy.wire.heads import ResponseHead
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.exchange import Ids, Reading, Reply
from broker.translate.gemini import Gemini
from broker.translate.gemini_client_answer import LISTED
from broker.translate.ir import Failure
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory

TOLD = error_event(failure(502, "the connection broke"), Voice.GEMINI, "r-1")


def wrapped(text: str) -> bytes:
    return b'data: {"response":{"candidates":[{"content":{"parts":[{"text":"%s"}]}}]}}\n\n' % text.encode()


def plain(text: str) -> dict[str, object]:
    return {"candidates": [{"content": {"parts": [{"text": text}]}}]}


def untouched(content_type: bytes = b"text/event-stream", length: int | None = None, **headers: bytes) -> Untouched:
    given = [
        (b"content-type", content_type),
        *((name.replace("_", "-").encode(), value) for name, value in headers.items()),
    ]
    return Untouched(ResponseHead(200, given, length), b"r-1")


def test_untouched_bytes() -> None:
    relay = untouched(b"application/json", 3, set_cookie=b"no")
    assert relay.feed(b"abc") == b"abc"
    assert relay.close() == b""
    start = relay.opening()
    assert (start.status, start.length) == (200, 3)
    assert start.headers == [(b"content-type", b"application/json"), (b"x-request-id", b"r-1")]
    assert not relay.between
    assert relay.ending(TOLD) is None
    assert relay.failure is None


def test_between_untouched_events_there_is_room() -> None:
    relay = untouched()
    seen = []
    for piece in (b"data: a", b"\n", b"\n", b"data: b\r\n\r\n", b"d", b"ata: c\n\n"):
        relay.feed(piece)
        seen.append(relay.between)
    assert seen == [False, False, True, True, False, True]
    assert relay.ending(TOLD) == TOLD
    relay.feed(b"data: half")
    assert relay.ending(TOLD) is None
    assert untouched(length=99).ending(TOLD) is None


CREATED = b'event: response.created\ndata: {"type":"response.created"}\n\n'
SAYS = b'data: {"type":"response.output_item.added"}\n\n'
REFUSED = b'data: {"type":"error","code":"rate_limit_exceeded","message":"slow down"}\n\n'
AT_FAULT = b'data: {"type":"error","code":"invalid_prompt","message":"no"}\n\n'


def guarded(content_type: bytes = b"text/event-stream") -> Guarded:
    return Guarded(ResponseHead(200, [(b"content-type", content_type)], None), b"r-1")


def test_an_answer_that_only_begins_is_held() -> None:
    relay = guarded()
    assert relay.feed(CREATED + SAYS[:9]) == b""
    assert relay.between
    assert relay.feed(SAYS[9:]) == CREATED + SAYS
    assert relay.feed(REFUSED) == REFUSED  # from here on it is the client's
    assert (relay.failure, relay.close()) == (None, b"")
    short = guarded()
    assert short.feed(CREATED) + short.close() == CREATED


def test_a_refusal_at_the_beginning_is_a_failure() -> None:
    relay = guarded()
    assert relay.feed(CREATED) + relay.feed(REFUSED) == b""
    assert relay.failure is not None
    assert (relay.failure.status, relay.failure.message) == (429, "slow down")
    own = guarded()
    assert own.feed(CREATED + AT_FAULT) == CREATED + AT_FAULT
    assert own.failure is None


def test_what_is_no_stream_of_events_is_not_held() -> None:
    assert guarded(b"application/json").feed(CREATED) == CREATED
    relay, line = guarded(), b"data: " + b"x" * (1 << 20)
    pieces = [relay.feed(line) for _ in range(66)]
    assert b"".join(pieces) == line * 66


@given(st.lists(st.sampled_from([CREATED, SAYS, AT_FAULT]), max_size=5), st.lists(st.floats(0, 1), max_size=6))
def test_guarded_bytes_are_the_same_however_they_are_cut(parts: list[bytes], where: list[float]) -> None:
    data = b"".join(parts)
    marks = [0, *sorted(int(share * len(data)) for share in where), len(data)]
    relay = guarded()
    assert b"".join(relay.feed(data[a:b]) for a, b in pairwise(marks)) + relay.close() == data


def test_a_compressed_stream_has_no_room() -> None:
    assert not untouched(content_encoding=b"gzip").between
    assert untouched(content_encoding=b"identity").between


@given(st.lists(st.integers(1, 40), max_size=8))
def test_unwrapped_and_listed_streams_hold_the_same_answers(cuts: list[int]) -> None:
    stream = wrapped("one") + b": comment\n\n" + wrapped("two") + wrapped("three")
    pieces, rest = [], stream
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    pieces.append(rest)
    expected = [plain("one"), plain("two"), plain("three")]
    as_events, as_list = Unwrapped(b"r-1"), Listed(b"r-1")
    out = b"".join(as_events.feed(piece) for piece in pieces) + as_events.close()
    assert [json.loads(event.removeprefix(b"data: ")) for event in out.split(b"\n\n") if event] == expected
    assert json.loads(b"".join(as_list.feed(piece) for piece in pieces) + as_list.close()) == expected


def test_heads_of_both_forms() -> None:
    assert dict(Unwrapped(b"r-1").opening().headers)[b"content-type"] == b"text/event-stream"
    assert dict(Listed(b"r-1").opening().headers)[b"content-type"] == b"application/json"
    assert Unwrapped(b"r-1").ending(TOLD) == TOLD
    assert Unwrapped(b"r-1").between


def test_an_error_is_the_last_element_of_a_list() -> None:
    relay = Listed(b"r-1")
    assert json.loads(relay.ending(TOLD))[0]["error"]["code"] == 502
    begun = relay.feed(wrapped("one"))
    elements = json.loads(begun + relay.ending(TOLD))
    assert elements[0] == plain("one")
    assert elements[1]["error"]["message"] == "the connection broke"
    assert not relay.between


def test_an_empty_list() -> None:
    assert Listed(b"r-1").close() == b"[]"


def test_a_list_whose_event_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Listed(b"r-1")
    monkeypatch.setattr(relay._parser, "_limit", 10)
    elements = json.loads(relay.feed(b"data: " + b"x" * 20))
    assert relay.failure is not None
    assert elements[0]["error"]


def translated() -> Translated:
    ids = Ids("r-1", 1)
    reading = Reading(ids, ToolNames(), SignatureMemory())
    reply = Reply(ids, "m")
    return Translated(
        UPSTREAMS[Dialect.GEMINI].stream_decoder(reading), CLIENTS[Dialect.OPENAI_CHAT].stream_encoder(reply), b"r-1"
    )


def test_a_translated_stream() -> None:
    relay = translated()
    assert relay.feed(b"") == b""
    out = relay.feed(wrapped("one"))
    assert b'"content":"one"' in out
    assert relay.failure is None
    assert relay.ending(TOLD) == TOLD
    assert dict(relay.opening().headers)[b"cache-control"] == b"no-cache"


def test_a_translated_stream_that_is_no_answer() -> None:
    relay = translated()
    relay.feed(b'data: {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}\n\n')
    assert relay.failure is not None
    assert (relay.failure.status, relay.failure.message) == (503, "busy")
    cut = translated()
    cut.feed(wrapped("one"))
    assert b"error" in cut.close()
    assert cut.failure is not None


def from_claude() -> Translated:
    ids = Ids("r-1", 1)
    decoder = UPSTREAMS[Dialect.CLAUDE].stream_decoder(Reading(ids, ToolNames(), SignatureMemory()))
    return Translated(decoder, CLIENTS[Dialect.RESPONSES].stream_encoder(Reply(ids, "m")), b"r-1")


def test_a_bare_beginning_is_held_until_more_is_said() -> None:
    start, rest = CLAUDE.split(b"\n\n", 1)
    relay = from_claude()
    assert relay.feed(start + b"\n\n") == b""
    out = relay.feed(rest)
    assert out.index(b"response.created") < out.index(b"output_text.delta")
    assert b"response.created" not in relay.feed(b'data: {"type":"message_stop"}\n\n') + relay.close()


def test_a_beginning_that_nothing_follows_is_told_at_the_end() -> None:
    relay = from_claude()
    assert relay.feed(CLAUDE.split(b"\n\n", 1)[0] + b"\n\n") == b""
    assert b"response.created" in relay.close()


CLAUDE = b"""data: {"type":"message_start","message":{"type":"message"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"one"}}

"""


def listed() -> TranslatedList:
    ids = Ids("r-1", 1)
    decoder = UPSTREAMS[Dialect.CLAUDE].stream_decoder(Reading(ids, ToolNames(), SignatureMemory()))
    return TranslatedList(decoder, Gemini().stream_encoder(Reply(ids, "m", extras={LISTED: True})), b"r-1")


def test_a_translated_stream_as_an_array() -> None:
    relay = listed()
    assert not relay.between
    start = relay.opening()
    assert (start.status, dict(start.headers)[b"content-type"]) == (200, b"application/json")
    out = relay.feed(CLAUDE) + relay.feed(b"") + relay.feed(b'data: {"type":"message_stop"}\n\n') + relay.close()
    first, last = json.loads(out)
    assert first["candidates"][0]["content"]["parts"] == [{"text": "one"}]
    assert last["candidates"][0]["finishReason"] == "STOP"


def test_an_error_is_the_last_element_of_a_translated_array() -> None:
    assert json.loads(listed().ending(TOLD) or b"")[0]["error"]["code"] == 502
    relay = listed()
    elements = json.loads(relay.feed(CLAUDE) + (relay.ending(TOLD) or b""))
    assert elements[1]["error"]["message"] == "the connection broke"
    told = listed()
    elements = json.loads(told.feed(CLAUDE + b'data: {"type":"error","error":{"type":"overloaded_error"}}\n\n'))
    assert elements[1]["error"]["status"] == "UNAVAILABLE"
    assert told.failure is not None


def test_whole_answers() -> None:
    relay = Whole(lambda body: body.upper(), b"r-1")
    assert relay.feed(b"ab") + relay.feed(b"c") == b""
    assert relay.close() == b"ABC"
    assert relay.opening().length == 3
    assert not relay.between
    assert relay.ending(TOLD) is None


def test_whole_answers_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    told: Failure = failure(502, "no answer")
    relay = Whole(lambda body: told, b"r-1")
    assert relay.close() == b""
    assert relay.failure is told
    monkeypatch.setattr(relays, "_MAX_WHOLE_BYTES", 3)
    large = Whole(lambda body: body, b"r-1")
    large.feed(b"abcd")
    assert large.failure is not None
    assert large.failure.status == 502
