import json

import msgspec
import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Names
from broker.model.policy import Payload, Removal, Setting
from broker.proxy.policies import Policies
from broker.proxy.relays import Listed, Start, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS, upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works import GeminiWork, Manner, TalkWork
from broker.translate.codecs import Dialect
from broker.translate.passage import Peeked
from tests.fakes.works import (
    ANTHROPIC,
    API,
    ASKED,
    ASSIST,
    BODY,
    CHATGPT,
    CLAUDE,
    HEAD,
    LEASE,
    SPOKEN,
    STREAM,
    chat,
    context,
    gemini,
    messages,
    responses,
    send,
)


def test_the_same_dialect_keeps_its_bytes() -> None:
    work = gemini(Generate("gemini/m", True, "v1", True), "alt=sse&key=ours&x=1")
    sent = send(work, API, LEASE)
    assert sent.body is BODY
    assert sent.target == b"/v1/models/m:streamGenerateContent?alt=sse&x=1"
    assert dict(sent.headers)[b"x-goog-api-key"] == b"fake-access-1"
    assert dict(sent.headers)[b"user-agent"] == b"GeminiCLI"
    assert isinstance(work.relay(API, HEAD), Untouched)
    assert work.events


def test_code_assist_gets_an_envelope() -> None:
    work = gemini(Generate("gemini-2.5-pro", False, "v1beta"))
    sent = send(work, ASSIST, LEASE)
    body = json.loads(sent.body)
    assert (body["model"], body["project"], body["user_prompt_id"]) == ("gemini-2.5-pro", "p-1", "r-1")
    assert BODY.strip() in sent.body
    assert b"content-encoding" not in dict(sent.headers)
    assert isinstance(work.relay(ASSIST, HEAD), Whole)
    assert not work.events


@pytest.mark.parametrize(("sse", "relay"), [(True, Unwrapped), (False, Listed)])
def test_both_forms_of_a_stream(sse: bool, relay: type) -> None:
    work = gemini(Generate("gemini-2.5-pro", True, "v1", sse))
    assert send(work, ASSIST, LEASE).target == b"/v1internal:streamGenerateContent?alt=sse"
    assert isinstance(work.relay(ASSIST, HEAD), relay)
    assert work.events is sse


def test_counting() -> None:
    work = gemini(CountTokens("gemini-2.5-pro", "v1beta"))
    assert json.loads(send(work, ASSIST, LEASE).body) == {"request": {"model": "models/gemini-2.5-pro", "contents": []}}
    assert send(work, API, LEASE).target == b"/v1beta/models/gemini-2.5-pro:countTokens"
    assert not work.events


def test_what_cannot_be_wrapped() -> None:
    with pytest.raises(BrokerError) as caught:
        send(gemini(Generate("gemini-2.5-pro", False, "v1"), body=b"[]"), ASSIST, LEASE)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    with pytest.raises(BrokerError) as caught:
        gemini(Generate("mystery-4o", False, "v1"))
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_errors_of_google_are_readable_as_they_are() -> None:
    assert gemini(Generate("gemini-2.5-pro", False, "v1")).own_error(ASSIST, b'[{"error":{}}]') == b'{"error":{}}'
    assert chat().own_error(API, b"{}") is None


@pytest.mark.parametrize(("upstream", "inner"), [(API, ()), (ASSIST, ("request",))])
def test_a_chat_is_translated(upstream: object, inner: tuple[str, ...]) -> None:
    work = chat()
    assert upstream in (API, ASSIST)
    chosen = API if upstream is API else ASSIST
    body = json.loads(send(work, chosen, LEASE).body)
    for key in inner:
        body = body[key]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert work.request.asked_model == "gemini-2.5-pro"
    assert not work.events


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"nonsense", ""), (b'{"model": 5, "messages": []}', "model"), (b'{"model": "gemini-2.5-pro"}', "messages")],
)
def test_bad_bodies_name_the_field(body: bytes, field: str) -> None:
    with pytest.raises(BrokerError) as caught:
        TalkWork(Dialect.OPENAI_CHAT, ASKED, body, context())
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert field in caught.value.detail


def test_anthropic_messages_pass_untouched_to_anthropic() -> None:
    raw = b'{ "stream" : true, "odd": 1e0, "model":"claude-opus-4-5", "messages": "whatever" }'
    work = messages(raw=raw)
    sent = send(work, ANTHROPIC, CLAUDE)
    assert sent.body is raw
    assert sent.target == b"/v1/messages?beta=true"
    named = dict(sent.headers)
    assert named[b"authorization"] == b"Bearer fake-oat-1"
    assert named[b"anthropic-beta"] == b"context-management-2025-06-27,oauth-2025-04-20"
    assert named[b"user-agent"] == b"claude-cli"
    assert b"x-api-key" not in named
    assert work.events
    assert isinstance(work.relay(ANTHROPIC, HEAD), Untouched)
    assert work.own_error(ANTHROPIC, b"{}") == b"{}"


def test_only_the_name_of_the_model_is_changed() -> None:
    work = messages(raw=b'{"a":[1 ],"model" : "claude/claude-opus-4-5"}')
    assert send(work, ANTHROPIC, CLAUDE).body == b'{"a":[1 ],"model" : "claude-opus-4-5"}'
    suffixed = messages(raw=b'{ "model" : "claude-opus-4-6(high)" }')
    thinking = b'"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}'
    assert send(suffixed, ANTHROPIC, CLAUDE).body == b'{ "model" : "claude-opus-4-6",' + thinking + b" }"


def test_tokens_are_counted_by_anthropic() -> None:
    raw = b'{"model":"claude-opus-4-5","messages":[]}'
    sent = send(messages(count=True, raw=raw), ANTHROPIC, CLAUDE)
    assert (sent.target, sent.body) == (b"/v1/messages/count_tokens?beta=true", raw)


def test_what_a_gemini_client_cannot_ask() -> None:
    with pytest.raises(BrokerError, match="contents: must hold"):
        gemini(Generate("claude-opus-4-5", False, "v1"))
    head = RequestHead("POST", "/x", "", [(b"content-encoding", b"gzip")])
    with pytest.raises(BrokerError, match="uncompressed"):
        GeminiWork(Generate("claude-opus-4-5", False, "v1"), head, SPOKEN, context())
    compressed = GeminiWork(Generate("gemini-2.5-pro(high)", False, "v1"), head, BODY, context())
    for upstream in (API, ASSIST):
        with pytest.raises(BrokerError, match="uncompressed"):
            send(compressed, upstream, LEASE)


def test_a_suffix_is_written_where_the_dialects_agree() -> None:
    told = b'{ "contents" : [] , "odd": 1e0,"generationConfig":{"thinkingConfig":{"thinkingBudget":24576}} }'
    for upstream in (API, ASSIST):
        sent = send(gemini(Generate("gemini-2.5-pro(high)", False, "v1")), upstream, LEASE)
        assert told in sent.body
        assert b"(high)" not in sent.target + sent.body


def test_rules_reach_what_goes_out() -> None:
    rules = Payload(override=(Setting(path="x", value=1),), remove=(Removal(path="odd", dialect="code-assist"),))
    given = msgspec.structs.replace(context(), policies=Policies.of({}, rules))
    head = RequestHead("POST", "/x", "", [])
    work = GeminiWork(Generate("gemini-2.5-pro", False, "v1"), head, BODY, given)
    assert send(work, API, LEASE).body == b'{ "contents" : [] , "odd": 1e0,"x":1 }'
    assert b'"request":{ "contents" : [],"x":1 }}' in send(work, ASSIST, LEASE).body
    body = {"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": "hi"}]}
    chat = TalkWork(Dialect.OPENAI_CHAT, ASKED, json.dumps(body).encode(), given)
    assert json.loads(send(chat, API, LEASE).body)["x"] == 1


def test_a_chat_passes_untouched_to_what_speaks_like_openai() -> None:
    raw = b'{ "model" : "openai-compatible/local-1", "messages": 7, "odd": 1e0 }'
    work = TalkWork(Dialect.OPENAI_CHAT, ASKED, raw, context())
    own = msgspec.structs.replace(CLAUDE, account="openai-compatible/a", provider="openai-compatible")
    sent = send(work, UPSTREAMS[Kind.OPENAI], own)
    assert sent.body == raw.replace(b"openai-compatible/local-1", b"local-1")
    assert isinstance(work.relay(UPSTREAMS[Kind.OPENAI], HEAD), Untouched)


@pytest.mark.parametrize("provider", ["openai-api", "xai"])
def test_responses_pass_untouched_where_they_are_spoken(provider: str) -> None:
    upstream = upstream_of(PROVIDERS[provider], Dialect.RESPONSES)
    raw = b'{ "model":"' + provider.encode() + b'/m", "input":7, "previous_response_id":"resp_1" }'
    work = responses(raw)
    sent = send(work, upstream, msgspec.structs.replace(CLAUDE, account=f"{provider}/a", provider=provider))
    assert (sent.target, sent.body) == (b"/responses", raw.replace(provider.encode() + b"/", b""))
    assert isinstance(work.relay(upstream, HEAD), Untouched)
    assert work.own_error(upstream, b'{"error":{}}') == b'{"error":{}}'
    assert work.own_error(upstream, b'{"detail":"words of its own"}') is None


def test_a_whole_answer_comes_from_an_upstream_that_only_streams() -> None:
    codex = UPSTREAMS[Kind.CODEX]
    work = responses(b'{"model":"gpt-5","input":"hi"}')
    assert json.loads(send(work, codex, CHATGPT).body)["stream"] is True
    relay = work.relay(codex, HEAD)
    assert relay.feed(STREAM[:50]) + relay.feed(STREAM[50:]) == b""
    assert json.loads(relay.close()) == {"id": "resp_1", "output": [{"type": "message", "content": [{"text": "yes"}]}]}
    assert isinstance(responses(b'{"model":"gpt-5","stream":true}').relay(codex, HEAD), Untouched)


OWN = Names({"mine": "claude-opus-4-5"})
PLAIN_JSON = [(b"content-type", b"application/json"), (b"content-length", b"26"), (b"request-id", b"r")]


def aliased(headers: list[tuple[bytes, bytes]], *parts: bytes) -> tuple[Start, bytes]:
    raw = b'{"model": "mine", "messages": []}'
    work = TalkWork(Dialect.CLAUDE, ASKED, raw, context(names=OWN))
    assert send(work, ANTHROPIC, CLAUDE).body == b'{"model": "claude-opus-4-5", "messages": []}'
    relay = work.relay(ANTHROPIC, ResponseHead(200, headers, None))
    out = b"".join(relay.feed(part) for part in parts) + relay.close()
    return relay.opening(), out


def test_the_client_sees_the_name_of_its_own_and_the_upstream_s_headers() -> None:
    start, out = aliased(PLAIN_JSON, b'{"model":"claude', b'-opus-4-5"}')
    assert out == b'{"model":"mine"}'
    assert start.length == len(out)
    assert dict(start.headers)[b"request-id"] == b"r"
    assert b"content-length" not in dict(start.headers)
    events = [(b"content-type", b"text/event-stream")]
    start, out = aliased(events, b'data: {"message":{"model":"x"}', b"}\n\n")
    assert out == b'data: {"message":{"model":"mine"}}\n\n'
    assert start.length is None


def test_what_is_coded_passes_as_it_is() -> None:
    _, out = aliased([*PLAIN_JSON, (b"content-encoding", b"gzip")], b'{"model":"x"}')
    assert out == b'{"model":"x"}'


def test_a_conversation_is_told_by_the_request() -> None:
    assert messages(metadata={"user_id": "alice"}).session() == "alice"
    assert gemini(Generate("gemini-2.5-pro", False, "v1"), body=b'{"contents": []}').session() is None


def test_what_nobody_speaks_is_translated_there_and_back() -> None:
    chatted, asked = chat(), gemini(Generate("claude-opus-4-5", False, "v1"), body=SPOKEN)
    assert (chatted.foreign, asked.foreign) == (True, True)
    assert json.loads(send(chatted, API, LEASE).body)["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert json.loads(send(asked, ANTHROPIC, CLAUDE).body)["model"] == "claude-opus-4-5"
    for work, upstream in ((chatted, API), (asked, ANTHROPIC)):
        assert isinstance(work.relay(upstream, HEAD), Whole)
    assert asked.own_error(ANTHROPIC, b"{}") is None


def test_what_every_request_with_a_head_has_in_common() -> None:
    asked, chatted = gemini(Generate("gemini-2.5-pro", False, "v1")), messages(model="claude-opus-4-5")
    assert (asked.said, chatted.said) == (None, Peeked("claude-opus-4-5"))
    assert (asked.foreign, chatted.foreign) == (False, False)
    assert [asked.manner(each, "m") for each in (API, ASSIST, ANTHROPIC)] == [
        Manner.UNTOUCHED,
        None,  # its envelope has the request's id in it
        Manner.TRANSLATED,
    ]
    assert chatted.manner(ANTHROPIC, "claude-opus-4-5") is Manner.UNTOUCHED
    assert chatted.manner(ANTHROPIC, "another") is None  # the name is written into it
    assert chatted.manner(API, "claude-opus-4-5") is Manner.TRANSLATED
    assert gemini(Generate("gemini-2.5-pro(high)", False, "v1")).manner(API, "gemini-2.5-pro") is None
    named = TalkWork(Dialect.CLAUDE, ASKED, b'{"model": "mine", "messages": []}', context(names=OWN))
    assert named.manner(ANTHROPIC, "claude-opus-4-5") is None
