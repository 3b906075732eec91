"""One client's connection, the same head again and again: whatever changes meanwhile holds for the next request."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from broker.config import Config, ProxyConfig, UpstreamConfig
from broker.model.secret import Secret
from broker.proxy.choose import Candidate
from broker.proxy.deadlines import Deadlines
from broker.proxy.keyfile import KeyFile, change
from broker.proxy.keys import LocalKey, digest_of
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import UPSTREAMS
from broker.proxy.way import Sending, Straight, Way, sent_at_once
from broker.proxy.wire.client import UpstreamConnection
from broker.proxy.wire.pool import Origin
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer
from tests.proxy.conftest import KEY, MakeProxy, Proxy

TARGET = "/v1beta/models/gemini-2.5-pro:generateContent?alt=json&key=unused"
OK = answer(b'{"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}]}')


class Client:
    """Keeps its connection."""

    def __init__(self, p: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.p, self.reader, self.writer = p, reader, writer

    async def post(self, target: str = TARGET, text: str = "hi", key: str = KEY, **fields: object) -> int:
        body = json.dumps({"contents": [{"parts": [{"text": text}]}], **fields}).encode()
        self.writer.write(self.p.request("POST", target, body, authorization=f"Bearer {key}"))
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await self.reader.readexactly(length)
        return int(head.split()[1])


@pytest.fixture
def daemon() -> FakeDaemon:
    made = FakeDaemon()
    made.put(account("gemini-api/a", lease("gemini-api/a")), account("openai-api/b", lease("openai-api/b")))
    return made


async def until(p: Proxy, account_name: str, generation: int) -> None:
    async with asyncio.timeout(20):
        while not any(
            each.view.account == account_name and each.lease is not None and each.lease.generation == generation
            for each in p.worker.table.accounts()
        ):
            await asyncio.sleep(0.01)


async def test_a_new_token_and_new_settings_count_at_once(proxy: MakeProxy, daemon: FakeDaemon) -> None:
    async with RawUpstream([OK]) as upstream, RawUpstream([OK]) as other, proxy(daemon, upstream.url) as p:
        client = Client(p, *await p.dial())
        for text in ("a", "b", "longer"):
            assert await client.post(text=text) == 200
        first, _, third = upstream.requests
        assert third.header("x-goog-api-key") == "fake-access-1"
        assert third.line == first.line == "POST /v1beta/models/gemini-2.5-pro:generateContent?alt=json HTTP/1.1"
        assert json.loads(third.body)["contents"][0]["parts"][0]["text"] == "longer"
        assert KEY.encode() not in third.head
        daemon.put(account("gemini-api/a", lease("gemini-api/a", "fake-access-2", 2)))
        await until(p, "gemini-api/a", 2)
        assert await client.post() == 200
        assert upstream.requests[-1].header("x-goog-api-key") == "fake-access-2"
        own = {"gemini": UpstreamConfig(base_url=other.url, headers={"X-Own": "yes"})}
        p.worker.apply(Config(proxy=ProxyConfig(api_keys=(Secret(KEY),)), upstreams=own))
        assert await client.post() == 200
        assert (other.requests[-1].header("x-own"), len(upstream.requests)) == ("yes", 4)
        p.worker.apply(Config(proxy=ProxyConfig(api_keys=(Secret("another"),)), upstreams=own))
        assert await client.post() == 401
        assert len(other.requests) == 1


async def test_bodies_that_ask_for_other_models_go_elsewhere(proxy: MakeProxy, daemon: FakeDaemon) -> None:
    async with RawUpstream([OK]) as upstream:
        places = {
            "openai": UpstreamConfig(base_url=f"{upstream.url}/v1"),
            "gemini": UpstreamConfig(base_url=upstream.url),
        }
        async with proxy(daemon, upstreams=places) as p:
            client = Client(p, *await p.dial())
            messages = [{"role": "user", "content": "hi"}]
            for model in ("gpt-5", "gpt-5", "gemini-2.5-pro", "gpt-4o"):
                assert await client.post("/v1/chat/completions", model=model, messages=messages) == 200
            assert [each.line.split()[1] for each in upstream.requests] == [
                "/v1/chat/completions", "/v1/chat/completions",
                "/v1beta/models/gemini-2.5-pro:generateContent", "/v1/chat/completions",
            ]  # fmt: skip
            assert [json.loads(each.body).get("model") for each in upstream.requests] == [
                "gpt-5",
                "gpt-5",
                None,
                "gpt-4o",
            ]
            assert [each.header("authorization") for each in upstream.requests] == [
                "Bearer fake-access-1", "Bearer fake-access-1", None, "Bearer fake-access-1"
            ]  # fmt: skip


async def test_local_keys_are_counted_and_end_while_a_client_stays(
    proxy: MakeProxy, daemon: FakeDaemon, tmp_path: Path
) -> None:
    file = tmp_path / "proxy-keys.json"
    made = LocalKey(name="ci", sha256=digest_of("fake-local-key"), slot=0, created=1, rpm=3)
    change(file, lambda _keys: (made,))
    async with RawUpstream([OK]) as upstream, proxy(daemon, upstream.url, keys=KeyFile(file)) as p:
        client = Client(p, *await p.dial())
        assert [await client.post(key="fake-local-key") for _ in range(4)] == [200, 200, 200, 429]
        change(file, lambda _keys: (msgspec.structs.replace(made, rpm=None, expires=2),))
        p.worker._porter.look()
        assert await client.post(key="fake-local-key") == 401


LEASED = lease("gemini-api/a")


class Nowhere:
    """Where a connection belongs that is never opened."""

    def made(self, connection: UpstreamConnection) -> None:
        raise AssertionError

    released = lost = made


@pytest.mark.parametrize(
    ("first", "at_once"),
    [
        (Candidate(LEASED.account, LEASED.provider, LEASED), True),
        (Candidate(LEASED.account, LEASED.provider, None), False),  # its token was asked for first
        (Candidate(LEASED.account, LEASED.provider, lease("gemini-api/a", generation=2)), False),  # it was refused, and renewed
        (Candidate(LEASED.account, LEASED.provider, LEASED, pause=0.5), False),
        (Candidate("gemini-api/b", LEASED.provider, lease("gemini-api/b")), False),  # it was sent to the next
    ],
)  # fmt: skip
def test_what_was_not_sent_to_the_first_account_at_once_is_nothing_to_go_on_from(
    first: Candidate, at_once: bool
) -> None:
    origin = Origin.of("https://upstream.example")
    straight = Straight(LEASED, "m", UPSTREAMS[Kind.GEMINI], Way(("https://upstream.example",), origin, b"", b""))
    deadlines = Deadlines(ProxyConfig(), 1.0)
    deadlines.sent(2.0)
    connection = UpstreamConnection(Nowhere())
    made = sent_at_once((first,), straight, b"body", deadlines, connection)
    if at_once:
        assert made == Sending((first,), straight, b"body", 1.0, 2.0, connection)
    else:
        assert made is None
