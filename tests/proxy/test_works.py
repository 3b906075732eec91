import json

import msgspec
import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Names
from broker.model.policy import Payload, Removal, Setting
from broker.model.secret import Secret
from broker.proxy.naming import Served
from broker.proxy.policies import Policies
from broker.proxy.relays import Listed, Start, Translated, TranslatedList, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate
from broker.proxy.upstreams.base import Kind, Sent, Upstream
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS, upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works import Context, GeminiWork, TalkWork
from broker.translate.codecs import Dialect
from broker.translate.signatures import SignatureMemory
from tests.proxy.conftest import events

API, ASSIST, ANTHROPIC = UPSTREAMS[Kind.GEMINI], UPSTREAMS[Kind.CODE_ASSIST], UPSTREAMS[Kind.ANTHROPIC]
LEASE = Lease(
    account="gemini/a",
    provider="gemini",
    generation=1,
    access_token=Secret("fake-access-1"),
    facts={"project_id": "p-1"},
)
ASKED = RequestHead("POST", "/v1/chat/completions", "", [])
HEAD = ResponseHead(200, [(b"content-type", b"application/json")], 2)
NAMES = Names()
BODY = b'{ "contents" : [] , "odd": 1e0 }'


def context(*, safety_off: bool = False, names: Names = NAMES) -> Context:
    return Context("r-1", 1_750_000_000, SignatureMemory(), safety_off, Served(PROVIDERS), names, lambda _: 0)


def send(work: GeminiWork | TalkWork, upstream: Upstream, lease: Lease) -> Sent:
    return work.sent(upstream, lease, work.wanted.goals[0].model)


def gemini(route: Generate | CountTokens, query: str = "", body: bytes = BODY) -> GeminiWork:
    headers = [(b"user-agent", b"GeminiCLI"), (b"x-goog-api-key", b"ours"), (b"content-encoding", b"identity")]
    return GeminiWork(route, RequestHead("POST", "/x", query, headers), body, context())


def chat(*, safety_off: bool = False, **fields: object) -> TalkWork:
    body = {"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": "hi"}], **fields}
    return TalkWork(Dialect.OPENAI_CHAT, ASKED, json.dumps(body).encode(), context(safety_off=safety_off))


def messages(*, count: bool = False, raw: bytes | None = None, **fields: object) -> TalkWork:
    body = {"model": "gemini-2.5-pro", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    headers = [
        (b"anthropic-beta", b"context-management-2025-06-27"),
        (b"x-api-key", b"ours"),
        (b"user-agent", b"claude-cli"),
    ]
    head = RequestHead("POST", "/v1/messages", "beta=true&key=ours", headers)
    return TalkWork(Dialect.CLAUDE, head, raw or json.dumps(body).encode(), context(), count=count)


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


@pytest.mark.parametrize("safety_off", [True, False])
def test_the_safety_setting_is_obeyed(safety_off: bool) -> None:
    body = json.loads(send(chat(safety_off=safety_off), API, LEASE).body)
    assert ("safetySettings" in body) is safety_off


def test_whole_answers_are_translated_back() -> None:
    work = chat()
    send(work, API, LEASE)
    relay = work.relay(API, HEAD)
    assert relay.feed(b'{"candidates":[{"content":{"parts":[{"text":"yes"}]},') == b""
    assert relay.feed(b'"finishReason":"STOP"}]}') == b""
    answer = json.loads(relay.close())
    assert answer["choices"][0]["message"]["content"] == "yes"
    assert answer["model"] == "gemini-2.5-pro"
    broken = work.relay(API, HEAD)
    broken.feed(b"<html>")
    assert broken.close() == b""
    assert broken.failure is not None
    assert broken.failure.status == 502


def test_streams_are_translated_back() -> None:
    work = chat(stream=True)
    assert work.events
    assert send(work, ASSIST, LEASE).target.endswith(b"?alt=sse")
    relay = work.relay(ASSIST, HEAD)
    assert isinstance(relay, Translated)
    out = relay.feed(
        b'data: {"response":{"candidates":[{"content":{"parts":[{"text":"yes"}]},"finishReason":"STOP"}]}}\n\n'
    )
    out += relay.close()
    assert b'"content":"yes"' in out
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"nonsense", ""), (b'{"model": 5, "messages": []}', "model"), (b'{"model": "gemini-2.5-pro"}', "messages")],
)
def test_bad_bodies_name_the_field(body: bytes, field: str) -> None:
    with pytest.raises(BrokerError) as caught:
        TalkWork(Dialect.OPENAI_CHAT, ASKED, body, context())
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert field in caught.value.detail


CLAUDE = Lease(account="claude/a", provider="claude", generation=1, access_token=Secret("fake-oat-1"))


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


def test_anthropic_messages_are_translated_for_others() -> None:
    work = messages(thinking={"type": "adaptive"})
    assert json.loads(send(work, API, LEASE).body)["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    relay = work.relay(API, HEAD)
    thought = (
        b'{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"yes"}]},"finishReason":"STOP"}]}'
    )
    relay.feed(thought)
    answer = json.loads(relay.close())
    assert [block["type"] for block in answer["content"]] == ["thinking", "text"]
    hidden = messages()
    send(hidden, API, LEASE)
    relay = hidden.relay(API, HEAD)
    relay.feed(thought)
    assert [block["type"] for block in json.loads(relay.close())["content"]] == ["text"]
    with pytest.raises(BrokerError) as caught:
        messages(max_tokens=None)
    assert caught.value.detail.startswith("max_tokens")


def test_a_chat_is_translated_for_anthropic() -> None:
    work = chat(model="claude-opus-4-5", stream=True)
    sent = send(work, ANTHROPIC, CLAUDE)
    assert json.loads(sent.body)["max_tokens"] == 32000
    assert dict(sent.headers)[b"anthropic-version"] == b"2023-06-01"
    relay = work.relay(ANTHROPIC, HEAD)
    out = relay.feed(
        b'data: {"type":"message_start","message":{"id":"m","type":"message"}}\n\ndata: {"type":"message_stop"}\n\n'
    )
    assert (out + relay.close()).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(("upstream", "target"), [(API, b":countTokens"), (ASSIST, b"/v1internal:countTokens")])
def test_tokens_are_counted_by_whoever_would_answer(upstream: object, target: bytes) -> None:
    work = messages(count=True, max_tokens=None, system="s" * 10)
    chosen = API if upstream is API else ASSIST
    sent = send(work, chosen, LEASE)
    assert sent.target.endswith(target)
    assert b"ssssssssss" in sent.body
    assert not work.events
    relay = work.relay(chosen, HEAD)
    relay.feed(b'{"totalTokens": 7}')
    assert json.loads(relay.close()) == {"input_tokens": 7}
    broken = work.relay(chosen, HEAD)
    broken.feed(b"{}")
    assert broken.close() == b""
    assert broken.failure is not None


def test_tokens_are_counted_by_anthropic() -> None:
    raw = b'{"model":"claude-opus-4-5","messages":[]}'
    sent = send(messages(count=True, raw=raw), ANTHROPIC, CLAUDE)
    assert (sent.target, sent.body) == (b"/v1/messages/count_tokens?beta=true", raw)


SPOKEN = b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":2000}}}'
STREAMED = (
    b'data: {"type":"message_start","message":{"type":"message","usage":{"input_tokens":3}}}\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
    b'data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"yes"}}\n\n'
    b'data: {"type":"message_stop"}\n\n'
)


def test_a_gemini_client_is_translated_for_others() -> None:
    work = gemini(Generate("claude/claude-opus-4-5(high)", False, "v1"), "key=ours", SPOKEN)
    sent = send(work, ANTHROPIC, CLAUDE)
    assert sent.target == b"/v1/messages"
    body = json.loads(sent.body)
    assert (body["model"], body["messages"][0]["content"]) == ("claude-opus-4-5", [{"type": "text", "text": "hi"}])
    assert body["thinking"]["budget_tokens"] > 2000
    assert "stream" not in body
    assert b"x-goog-api-key" not in dict(sent.headers)
    relay = work.relay(ANTHROPIC, HEAD)
    relay.feed(b'{"type":"message","content":[{"type":"text","text":"yes"}],"stop_reason":"max_tokens"}')
    answer = json.loads(relay.close())
    assert answer["modelVersion"] == "claude/claude-opus-4-5(high)"
    assert answer["candidates"] == [
        {"content": {"parts": [{"text": "yes"}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    ]
    assert work.own_error(ANTHROPIC, b"{}") is None


@pytest.mark.parametrize(("sse", "relay"), [(True, Translated), (False, TranslatedList)])
def test_both_forms_of_a_translated_stream(sse: bool, relay: type) -> None:
    shown = SPOKEN.replace(b'"thinkingBudget"', b'"includeThoughts":true,"thinkingBudget"')
    for body, parts in ((SPOKEN, ["yes", ""]), (shown, ["hm", "yes", ""])):
        work = gemini(Generate("claude-opus-4-5", True, "v1", sse), body=body)
        assert json.loads(send(work, ANTHROPIC, CLAUDE).body)["stream"] is True
        made = work.relay(ANTHROPIC, HEAD)
        assert type(made) is relay
        out = made.feed(STREAMED) + made.close()
        chunks = [json.loads(data) for data in events(out)] if sse else json.loads(out)
        assert [chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks] == parts
        assert chunks[-1]["usageMetadata"]["promptTokenCount"] == 3
        assert work.events is sse


def test_a_gemini_client_has_its_tokens_counted_by_who_would_answer() -> None:
    work = gemini(CountTokens("claude-opus-4-5", "v1beta"), body=SPOKEN)
    sent = send(work, ANTHROPIC, CLAUDE)
    assert sent.target == b"/v1/messages/count_tokens"
    assert "max_tokens" not in json.loads(sent.body)
    relay = work.relay(ANTHROPIC, HEAD)
    relay.feed(b'{"input_tokens": 7}')
    assert json.loads(relay.close()) == {"totalTokens": 7}
    with pytest.raises(BrokerError, match="no endpoint that counts"):
        send(gemini(CountTokens("gpt-5", "v1"), body=SPOKEN), UPSTREAMS[Kind.OPENAI], CLAUDE)


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


def test_anthropic_messages_are_translated_for_what_speaks_like_openai() -> None:
    work = messages(model="gpt-5", stream=True)
    own = msgspec.structs.replace(CLAUDE, account="openai-api/a", provider="openai-api")
    sent = send(work, UPSTREAMS[Kind.OPENAI], own)
    assert json.loads(sent.body)["messages"] == [{"role": "user", "content": "hi"}]
    relay = work.relay(UPSTREAMS[Kind.OPENAI], HEAD)
    out = (
        relay.feed(b'data: {"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        + relay.close()
    )
    assert b'"text":"yes"' in out
    assert out.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    with pytest.raises(BrokerError) as caught:
        send(messages(count=True, model="gpt-5", max_tokens=None), UPSTREAMS[Kind.OPENAI], own)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def responses(raw: bytes) -> TalkWork:
    return TalkWork(Dialect.RESPONSES, RequestHead("POST", "/v1/responses", "", []), raw, context())


CHATGPT = Lease(account="codex/a", provider="codex", generation=1, access_token=Secret("fake-1"))
STREAM = (
    b'data: {"type":"response.output_item.done","item":{"type":"message","content":[{"text":"yes"}]}}\n\n'
    b'data: {"type":"response.completed","response":{ "id":"resp_1","output":[]}}\n\n'
)


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


def test_responses_are_translated_for_what_only_speaks_like_openai() -> None:
    own = msgspec.structs.replace(CLAUDE, account="openai-compatible/a", provider="openai-compatible")
    upstream = upstream_of(Kind.OPENAI_COMPATIBLE, Dialect.RESPONSES)
    work = responses(b'{"model":"openai-compatible/m","input":"hi"}')
    assert json.loads(send(work, upstream, own).body)["messages"] == [{"role": "user", "content": "hi"}]


def test_a_whole_answer_comes_from_an_upstream_that_only_streams() -> None:
    codex = UPSTREAMS[Kind.CODEX]
    work = responses(b'{"model":"gpt-5","input":"hi"}')
    assert json.loads(send(work, codex, CHATGPT).body)["stream"] is True
    relay = work.relay(codex, HEAD)
    assert relay.feed(STREAM[:50]) + relay.feed(STREAM[50:]) == b""
    assert json.loads(relay.close()) == {"id": "resp_1", "output": [{"type": "message", "content": [{"text": "yes"}]}]}
    assert isinstance(responses(b'{"model":"gpt-5","stream":true}').relay(codex, HEAD), Untouched)


def test_a_stream_is_folded_for_a_client_of_another_dialect() -> None:
    codex = UPSTREAMS[Kind.CODEX]
    work = chat(model="gpt-5", temperature=0.5)
    body = json.loads(send(work, codex, CHATGPT).body)
    assert (body["stream"], body["store"], "temperature" in body) == (True, False, False)
    relay = work.relay(codex, HEAD)
    relay.feed(STREAM)
    assert json.loads(relay.close())["choices"][0]["message"]["content"] == "yes"
    cut = work.relay(codex, HEAD)
    cut.feed(STREAM[:100])
    assert cut.close() == b""
    assert cut.failure is not None
    assert cut.failure.status == 502


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
