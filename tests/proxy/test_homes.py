"""Where requests go, through a whole worker: hosts tried in order, and none a file could smuggle in."""

import json

import pytest

from broker.config import UpstreamConfig
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer
from tests.proxy.conftest import MakeProxy

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
SAID = answer(json.dumps({"choices": [{"message": {"content": "yes"}}]}).encode())
OUT = answer(b'{"error":{"message":"out"}}', "503 Service Unavailable")


def with_key(provider: str = "openai-api", **facts: str) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account(f"{provider}/a", lease(f"{provider}/a", facts=facts)))
    return daemon


@pytest.mark.parametrize(
    ("provider", "model", "fact"),
    [
        ("openai-api", "gpt-5", "base_url"),
        ("claude", "claude-opus-4-5", "base_url"),
        ("gemini-api", "gemini-2.5-pro", "base_url"),
        ("gemini", "gemini-2.5-pro", "base_url"),
    ],
)
async def test_a_tampered_file_gets_no_token(proxy: MakeProxy, provider: str, model: str, fact: str) -> None:
    async with RawUpstream([SAID]) as thief, proxy(with_key(provider, project_id="p", **{fact: thief.url})) as p:
        told = await p.chat(model=model)
        assert told.status == 503
        assert "none of its vendor's" in told.json()["error"]["message"]
        assert f"{provider}/a" in told.json()["error"]["message"]
        assert not thief.connections


async def test_a_compatible_key_goes_where_its_file_says(proxy: MakeProxy) -> None:
    async with RawUpstream([SAID]) as own, proxy(with_key("openai-compatible", base_url=f"{own.url}/v1")) as p:
        assert (await p.chat(model="openai-compatible/m")).status == 200
        assert own.requests[0].line == "POST /v1/chat/completions HTTP/1.1"


async def _cut(peer: Peer, taken: Taken) -> None:
    del taken
    peer.cut()


@pytest.mark.parametrize("first", [OUT, answer(b"{}", "404 Not Found"), answer(b"{}", "429 Too Many Requests"), _cut])
async def test_the_next_host_serves_what_the_first_does_not(proxy: MakeProxy, first: object) -> None:
    daemon = with_key()
    async with RawUpstream([first]) as a, RawUpstream([SAID]) as b:  # type: ignore[list-item]
        async with proxy(daemon, upstreams={"openai": UpstreamConfig(base_url=(f"{a.url}/x", f"{b.url}/y"))}) as p:
            assert (await p.ask("POST", "/v1/chat/completions", CHAT)).status == 200
    assert [each.line.split()[1] for each in (*a.requests, *b.requests)] == [
        "/x/chat/completions",
        "/y/chat/completions",
    ]
    assert not daemon.reports


async def test_a_host_that_is_not_there_is_passed_over(proxy: MakeProxy) -> None:
    async with RawUpstream([SAID]) as closed:
        pass
    async with RawUpstream([SAID]) as b:
        urls = (closed.url, b.url)
        async with proxy(with_key(), upstreams={"openai": UpstreamConfig(base_url=urls)}) as p:
            assert (await p.ask("POST", "/v1/chat/completions", CHAT)).status == 200
            # The way there is remembered: the next request goes to what answered, at once and on the kept connection.
            async with RawUpstream([OUT], port=closed.port) as back:
                assert (await p.ask("POST", "/v1/chat/completions", CHAT)).status == 200
                assert not back.connections
            assert (len(b.requests), b.connections) == (2, 1)


async def test_a_token_renewed_meanwhile_goes_to_the_host_that_asked_for_it(proxy: MakeProxy) -> None:
    daemon = with_key()
    daemon.renew = lambda name: lease(name, "fake-access-2", 2)
    async with RawUpstream([OUT]) as a, RawUpstream([answer(b"{}", "401 Unauthorized"), SAID]) as b:
        async with proxy(daemon, upstreams={"openai": UpstreamConfig(base_url=(a.url, b.url))}) as p:
            assert (await p.ask("POST", "/v1/chat/completions", CHAT)).status == 200
    assert [each.header("authorization") for each in b.requests] == ["Bearer fake-access-1", "Bearer fake-access-2"]
    assert len(a.requests) == 1


async def test_a_limit_told_by_the_first_host_cools_the_account_down(proxy: MakeProxy) -> None:
    daemon = with_key()
    limited = answer(b'{"error":{"message":"slow down"}}', "429 Too Many Requests", "Retry-After: 77")
    async with RawUpstream([limited]) as a, RawUpstream([OUT]) as b:
        async with proxy(daemon, upstreams={"openai": UpstreamConfig(base_url=(a.url, b.url))}) as p:
            told = await p.ask("POST", "/v1/chat/completions", CHAT)
            assert told.status == 429
            assert 70 <= int(told.headers["retry-after"]) <= 78
    assert [report.outcome for report in daemon.reports] == ["limited"]
