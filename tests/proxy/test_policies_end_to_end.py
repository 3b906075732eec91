"""What policies, rules and suffixes make of requests, seen by an upstream: every client's dialect, to its own and to others."""

import json
from typing import Any

import pytest

from broker.config import Config, ProxyConfig, RoutingConfig, UpstreamConfig
from broker.model.policy import Payload, Policy, Removal, Setting
from broker.model.secret import Secret
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer
from tests.proxy.conftest import KEY, MakeProxy, Proxy

ACCOUNTS = ("gemini/a", "gemini-api/a", "claude/a", "openai-api/a")
KINDS = ("gemini", "codeassist", "anthropic", "openai")
TEXT = {"candidates": [{"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}]}
SAID = {"role": "assistant", "content": "ok"}
ITEM = {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]}
ANSWERS: dict[str, object] = {
    "v1internal": {"response": TEXT},
    "generateContent": TEXT,
    "countTokens": {"totalTokens": 3},
    "count_tokens": {"input_tokens": 3},
    "chat/completions": {"id": "c", "object": "chat.completion", "choices": [{"index": 0, "message": SAID, "finish_reason": "stop"}]},
    "responses": {"id": "r", "object": "response", "status": "completed", "output": [ITEM]},
    "messages": {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "ok"}], "stop_reason": "end_turn"},
}  # fmt: skip
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]
ASKED: dict[str, tuple[str, dict[str, object]]] = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "responses": ("/v1/responses", {"input": [{"role": "user", "content": "hi"}]}),
    "claude": ("/v1/messages", {"max_tokens": 9000, "messages": [{"role": "user", "content": "hi"}]}),
    "gemini": ("/v1beta/models/MODEL:generateContent", {"contents": CONTENTS}),
}
MODELS = {
    "code assist": "gemini/gemini-2.5-pro",
    "gemini": "gemini-api/gemini-3-pro",
    "claude": "claude/claude-opus-4-6",
    "older claude": "claude/claude-opus-4-5",
    "openai": "openai-api/gpt-5.2",
}
PAIRS = pytest.mark.parametrize(("client", "upstream"), [(client, each) for client in ASKED for each in MODELS])


async def reply(peer: Peer, taken: Taken) -> None:
    found = next(body for part, body in ANSWERS.items() if part in taken.line)
    await peer.send(answer(json.dumps(found).encode(), "200 OK", "Content-Type: application/json"))


def daemon(*names: str) -> FakeDaemon:
    made = FakeDaemon()
    for name in names or ACCOUNTS:
        made.put(account(name, lease(name, facts={"project_id": "p-1"})))
    return made


def everywhere(url: str) -> dict[str, UpstreamConfig]:
    return {kind: UpstreamConfig(base_url=url) for kind in KINDS}


async def ask(p: Proxy, client: str, model: str, **fields: object) -> object:
    path, body = ASKED[client]
    named = {} if client == "gemini" else {"model": model}
    got = await p.ask("POST", path.replace("MODEL", model), {**named, **body, **fields})
    assert got.status == 200, got.body
    return got.json()


def seen(taken: Taken) -> dict[str, Any]:
    """Return what an upstream was asked; of an envelope what is inside."""
    body = json.loads(taken.body)
    assert "(" not in body.get("model", "") + taken.line
    return dict(body.get("request", body))


def effort(body: dict[str, Any]) -> object:
    """Return how hard a body says to think, in its own words."""
    if "thinking" in body:
        return body["thinking"].get("budget_tokens") or body["output_config"]["effort"]
    told = body.get("generationConfig", {}).get("thinkingConfig", {})
    return (
        told.get("thinkingLevel")
        or told.get("thinkingBudget")
        or body.get("reasoning_effort")
        or body.get("reasoning", {}).get("effort")
    )


# Three quarters of the limit: an Anthropic client's own, or what others are given.
MOST = {"claude": 6750, "chat": 24000, "responses": 24000, "gemini": 24000}
HIGH = {"code assist": 24576, "gemini": "high", "claude": "high", "openai": "high"}
LOW = {"code assist": 1024, "gemini": "low", "claude": "low", "older claude": 1024, "openai": "low"}


@PAIRS
async def test_thinking_by_policy_and_by_suffix(proxy: MakeProxy, client: str, upstream: str) -> None:
    async with RawUpstream([reply]) as there:
        async with proxy(daemon(), upstreams=everywhere(there.url), policies={"*": Policy(thinking="high")}) as p:
            for model in (MODELS[upstream], f"{MODELS[upstream]}(low)"):
                await ask(p, client, model)
        high = MOST[client] if upstream == "older claude" else HIGH[upstream]
        assert [effort(seen(each)) for each in there.requests] == [high, LOW[upstream]]


PROMPT = Policy(prepend="Said before.", append="Said after.")
PLACES = ("system", "systemInstruction", "instructions", "messages")


@PAIRS
async def test_a_prompt_stands_around_instructions_once(proxy: MakeProxy, client: str, upstream: str) -> None:
    async with RawUpstream([answer(b"{}", "503 Busy"), reply]) as there:
        names = [f"{name}{number}" for name in ACCOUNTS for number in (1, 2)]
        async with proxy(daemon(*names), upstreams=everywhere(there.url), policies={"*": PROMPT}) as p:
            await ask(p, client, MODELS[upstream])
        assert len(there.requests) == 2
        for each in there.requests:
            body = seen(each)
            told = json.dumps(next(body[place] for place in PLACES if place in body))
            assert (told.count("Said before."), told.count("Said after.")) == (1, 1)
            assert told.index("Said before.") < told.index("Said after.")


RULES = Payload(
    default=(Setting(path="metadata.given", value="x"), Setting(path="metadata.own", value="x")),
    override=(Setting(path="metadata.forced.deep", value=[1, {"a": 1.5}]),),
    remove=(Removal(path="metadata.gone"), Removal(path="temperature"), Removal(path="generationConfig.temperature")),
)


@PAIRS
async def test_rules_change_what_goes_out(proxy: MakeProxy, client: str, upstream: str) -> None:
    given = {"generationConfig": {"temperature": 0.5}} if client == "gemini" else {"temperature": 0.5}
    async with RawUpstream([reply]) as there:
        async with proxy(daemon(), upstreams=everywhere(there.url), payload=RULES) as p:
            await ask(p, client, MODELS[upstream], **given)
        body = seen(there.requests[0])
        assert body["metadata"] == {"given": "x", "own": "x", "forced": {"deep": [1, {"a": 1.5}]}}
        assert "temperature" not in json.dumps(body)


async def test_all_three_leave_other_bytes_alone(proxy: MakeProxy) -> None:
    body = (
        b'{ "max_tokens" : 9000, "odd": 1e0, "system" : [ {"type":"text","text":"x-anthropic-billing-header: cc;"} ,'
        b' {"type":"text" , "text":"M","cache_control":{"type":"ephemeral"}} ], "model":"claude-opus-4-5(2048)",\t"messages":"?" }'
    )
    told = (
        b'{ "max_tokens" : 9000, "odd": 1e0, "system" : [ {"type":"text","text":"x-anthropic-billing-header: cc;"} ,'
        b' {"type":"text","text":"P"},{"type":"text" , "text":"M","cache_control":{"type":"ephemeral"}} ], "model":"claude-opus-4-5",'
        b'\t"messages":"?","thinking":{"type":"enabled","budget_tokens":2048},"service_tier":"auto" }'
    )
    payload = Payload(override=(Setting(path="service_tier", value="auto", provider="claude", models="claude-*"),))
    policies = {"claude-*": Policy(prepend="P")}
    async with RawUpstream([reply]) as there:
        async with proxy(daemon(), upstreams=everywhere(there.url), payload=payload, policies=policies) as p:
            assert (await p.ask("POST", "/v1/messages", body)).status == 200
        assert there.requests[0].body == told


@pytest.mark.parametrize("client", ASKED)
async def test_a_second_proxy_says_nothing_twice(proxy: MakeProxy, client: str) -> None:
    chained = FakeDaemon()
    names = {"chat": "openai-api", "responses": "openai-api", "claude": "anthropic-api", "gemini": "gemini-api"}
    chained.put(account(f"{names[client]}/a", lease(f"{names[client]}/a", KEY)))
    model = {"openai-api": "gpt-5.2", "anthropic-api": "claude-opus-4-6", "gemini-api": "gemini-3-pro"}[names[client]]
    async with RawUpstream([reply]) as there:
        settings = {"policies": {"*": PROMPT}}
        async with proxy(daemon(), upstreams=everywhere(there.url), **settings) as second:
            urls = {"gemini": second.url, "anthropic": second.url, "openai": f"{second.url}/v1"}
            upstreams = {kind: UpstreamConfig(base_url=url) for kind, url in urls.items()}
            async with proxy(chained, upstreams=upstreams, **settings) as first:
                await ask(first, client, model)
        assert there.requests[0].body.count(b"Said before.") == 1
        assert there.requests[0].body.count(b"Said after.") == 1


async def test_counts_are_told_instructions_but_nothing_of_the_answer(proxy: MakeProxy) -> None:
    settings = {"policies": {"*": Policy(thinking="high", prepend="P")}, "payload": RULES}
    asked = {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "hi"}]}
    async with RawUpstream([reply]) as there:
        async with proxy(daemon(), upstreams=everywhere(there.url), **settings) as p:
            for model in ("claude-opus-4-6", "claude-opus-4-6(low)", "gemini-api/gemini-3-pro"):
                got = await p.ask("POST", "/v1/messages/count_tokens", {**asked, "model": model})
                assert got.json() == {"input_tokens": 3}
        plain, suffixed, translated = [seen(each) for each in there.requests]
    assert plain == {**asked, "system": "P"}
    assert suffixed == {**asked, "system": "P", "thinking": {"type": "adaptive"}}
    assert "generationConfig" not in json.dumps(translated)


async def test_policies_that_say_as_much_are_an_error_that_names_both(proxy: MakeProxy) -> None:
    async with RawUpstream([reply]) as there:
        policies = {"gpt-*": Policy(thinking=1), "*-5.2": Policy(thinking=2)}
        async with proxy(daemon(), upstreams=everywhere(there.url), policies=policies) as p:
            got = await p.chat(model="gpt-5.2")
        assert got.status == 400
        assert "*-5.2 and gpt-*" in got.json()["error"]["message"]
        assert not there.requests


async def test_an_alias_may_say_how_hard_to_think(proxy: MakeProxy) -> None:
    routing = RoutingConfig(aliases={"hard": "openai-api/gpt-5.2(high)"})
    async with RawUpstream([reply]) as there:
        async with proxy(daemon(), upstreams=everywhere(there.url), routing=routing) as p:
            for client in ("chat", "claude"):
                await ask(p, client, "hard")
            await ask(p, "chat", "hard(low)")
        assert [effort(seen(each)) for each in there.requests] == ["high", "high", "low"]


async def test_other_settings_hold_for_the_next_request(proxy: MakeProxy) -> None:
    async with RawUpstream([reply]) as there:
        async with proxy(daemon(), upstreams=everywhere(there.url)) as p:
            await ask(p, "chat", "gpt-5.2")
            own = ProxyConfig(port=0, api_keys=(Secret(KEY),))
            p.worker.apply(Config(proxy=own, upstreams=everywhere(there.url), policies={"*": Policy(thinking="low")}))
            await ask(p, "chat", "gpt-5.2")
        assert [effort(seen(each)) for each in there.requests] == [None, "low"]
