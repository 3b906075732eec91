"""Requests to upstreams of another dialect, and their answers."""

import json

import msgspec
import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.model.policy import Payload, Setting
from broker.proxy.policies import Policies
from broker.proxy.relays import Translated, TranslatedList
from broker.proxy.routes import CountTokens, Generate
from broker.proxy.translation import project_for, target_for
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import UPSTREAMS, upstream_of
from broker.proxy.works import TalkWork
from broker.translate.codecs import Dialect
from tests.fakes.works import (
    ANTHROPIC,
    API,
    ASKED,
    ASSIST,
    CHATGPT,
    CLAUDE,
    HEAD,
    LEASE,
    SPOKEN,
    STREAM,
    STREAMED,
    chat,
    context,
    gemini,
    messages,
    responses,
    send,
)
from tests.proxy.conftest import events


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


def test_responses_are_translated_for_what_only_speaks_like_openai() -> None:
    own = msgspec.structs.replace(CLAUDE, account="openai-compatible/a", provider="openai-compatible")
    upstream = upstream_of(Kind.OPENAI_COMPATIBLE, Dialect.RESPONSES)
    work = responses(b'{"model":"openai-compatible/m","input":"hi"}')
    assert json.loads(send(work, upstream, own).body)["messages"] == [{"role": "user", "content": "hi"}]


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


def test_a_project_is_named_where_there_is_one_to_name() -> None:
    antigravity = UPSTREAMS[Kind.ANTIGRAVITY]
    without = msgspec.structs.replace(LEASE, facts={})
    assert project_for(API, LEASE, counting=False) is None
    assert project_for(ASSIST, LEASE, counting=True) is None
    assert [project_for(each, LEASE, counting=False) for each in (ASSIST, antigravity)] == ["p-1", "p-1"]
    assert project_for(antigravity, without, counting=False) is None
    with pytest.raises(BrokerError):
        project_for(ASSIST, without, counting=False)


def test_where_a_request_goes() -> None:
    given = context(safety_off=True)
    target = target_for("m", given, "p-1")
    assert (target.model, target.project, target.prompt_id, target.safety_off) == ("m", "p-1", "r-1", True)
    assert target.signatures is given.signatures


def test_rules_and_prompts_are_of_what_is_asked_in_its_own_words() -> None:
    rules = Payload(override=(Setting(path="x", value=1),))
    given = msgspec.structs.replace(context(), policies=Policies.of({}, rules))
    body = {"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": "hi"}]}
    work = TalkWork(Dialect.OPENAI_CHAT, ASKED, json.dumps(body).encode(), given)
    assert json.loads(send(work, API, LEASE).body)["x"] == 1
