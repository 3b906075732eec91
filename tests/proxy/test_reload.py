"""One worker whose settings change while it serves."""

import ast
import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from broker.config import Config, LoggingConfig, ProxyConfig, RoutingConfig, UpstreamConfig
from broker.model.secret import Secret
from broker.proxy.listen import bind
from broker.proxy.workers import READY, Order, write_order
from broker.settings.effective import Edition
from tests.architecture.imports import tree
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer
from tests.proxy.conftest import KEY, MakeProxy, parse

MODEL = "/v1/models/gemini-2.5-pro"
OTHER_KEY = "another-test-key"


def with_key() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(account("gemini-api/a", lease("gemini-api/a")))
    return daemon


def changed(upstream: str, aliases: dict[str, str] | None = None, **settings: Any) -> Config:
    proxy = ProxyConfig(**{"api_keys": (Secret(KEY),), **settings})
    return Config(
        proxy=proxy,
        upstreams={"gemini": UpstreamConfig(base_url=upstream)},
        routing=RoutingConfig(aliases=aliases or {}),
    )


@pytest.fixture
async def hello() -> Any:
    async def say(peer: Peer, taken: Taken) -> None:
        await peer.send(answer(b'{"candidates":[]}'))

    async with RawUpstream([say]) as upstream:
        yield upstream


async def test_each_request_goes_by_the_settings_it_found(proxy: MakeProxy, hello: RawUpstream) -> None:
    async with proxy(with_key(), "http://127.0.0.1:1") as p:
        ask = ("POST", f"{MODEL}:generateContent", b"{}")
        assert (await p.ask(*ask)).status in (502, 503)
        p.worker.apply(changed(hello.url))
        assert (await p.ask(*ask)).status == 200
        alias = ("POST", "/v1/models/mine:generateContent", b"{}")
        assert (await p.ask(*alias)).status == 404
        p.worker.apply(changed(hello.url, {"mine": "gemini-2.5-pro"}, api_keys=(Secret(OTHER_KEY),)))
        assert (await p.ask(*alias)).status == 401
        opened = await p.ask(*alias, authorization=f"Bearer {OTHER_KEY}")
        assert opened.status == 200
        p.worker.apply(changed(hello.url, max_body_bytes=1))
        assert (await p.ask(*ask)).status == 413


async def test_a_stream_under_way_stays_whole_and_its_account_is_counted_on(proxy: MakeProxy) -> None:
    go = asyncio.Event()

    async def slow(peer: Peer, taken: Taken) -> None:
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\none\n\n\r\n"
        )
        await go.wait()
        await peer.send(b"5\r\ntwo\n\n\r\n0\r\n\r\n")

    async with RawUpstream([slow]) as upstream, proxy(with_key(), upstream.url) as p:
        reader, writer = await p.dial()
        writer.write(p.request("POST", f"{MODEL}:streamGenerateContent?alt=sse", b"{}", connection="close"))
        start = await reader.readuntil(b"one")
        p.worker.apply(changed("http://127.0.0.1:1", api_keys=(Secret(OTHER_KEY),), total_timeout=0.01))
        go.set()
        assert parse(start + await reader.read()).body == b"one\n\ntwo\n\n"


async def test_no_request_is_dropped_while_settings_change_all_the_time(proxy: MakeProxy, hello: RawUpstream) -> None:
    async with proxy(with_key(), hello.url) as p:
        going = True

        async def change() -> None:
            number = 0
            while going:
                number += 1
                aliases = {f"name-{number}": "gemini-2.5-pro"}
                p.worker.apply(changed(hello.url, aliases, max_connections=1000 + number, keepalive_seconds=1 + number))
                await asyncio.sleep(0)

        changing = asyncio.ensure_future(change())
        asked = [p.ask("POST", f"{MODEL}:generateContent", b"{}") for _ in range(100)]
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
        going = False
        await changing
        assert p.worker.pool.opened > 0


async def test_who_would_not_be_let_in_any_more_is_parted_with(proxy: MakeProxy, hello: RawUpstream) -> None:
    async with proxy(with_key(), hello.url) as p:
        idle, _ = await p.dial()
        while p.worker.connections < 1:
            await asyncio.sleep(0.005)
        p.worker.apply(changed(hello.url, deny=("127.0.0.0/8",)))
        assert await asyncio.wait_for(idle.read(), 5) == b""
        assert (await p.ask("GET", "/health")).status == 403
        p.worker.apply(changed(hello.url))
        assert (await p.ask("GET", "/health")).status == 200


async def test_health_says_which_settings_are_in_force(proxy: MakeProxy, hello: RawUpstream) -> None:
    async with proxy(with_key(), hello.url) as p:
        before = (await p.ask("GET", "/health")).json()["settings"]
        p.worker.apply(changed(hello.url, {"mine": "gemini-2.5-pro"}), Edition("abc", 12.5, ("proxy.port",)))
        after = (await p.ask("GET", "/health")).json()["settings"]
        assert len(before["generation"]) == 12
        assert before["pending"] == []
        assert after == {"generation": "abc", "loaded": 12.5, "pending": ["proxy.port"]}


def test_a_worker_process_takes_orders_that_come_at_once_and_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(tmp_path))
    settings = Config(proxy=ProxyConfig(port=0), logging=LoggingConfig(level="error"))
    with bind("127.0.0.1", 0, shared=True) as kept:
        port = kept.getsockname()[1]

        def order(generation: str) -> bytes:
            return write_order(Order(settings, port, 4, edition=Edition(generation, 1.0)))

        def generation() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as got:
                return str(json.load(got)["settings"]["generation"])

        command = [sys.executable, "-m", "broker.proxy.worker"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(order("one") + order("two"))
            process.stdin.flush()
            assert process.stdout.readline() == READY
            assert generation() == "two"
            process.send_signal(signal.SIGHUP)
            process.stdin.write(order("three"))
            process.stdin.flush()
            end = time.monotonic() + 20
            while generation() != "three":
                assert time.monotonic() < end
            process.stdin.close()
            assert process.wait(10) == 0


def test_whatever_a_worker_is_made_from_is_made_anew() -> None:
    """A part that only `__init__` gives its settings to would go on by the old ones."""

    def used(function: str) -> set[str]:
        methods = [node for node in ast.walk(tree("broker.proxy.server")) if isinstance(node, ast.FunctionDef)]
        (body,) = [node for node in methods if node.name == function and node.args.args[0].arg == "self"]
        found = set()
        for node in ast.walk(body):
            if isinstance(node, ast.Attribute) and ast.unparse(node).split(".")[0] in {"config", "proxy"}:
                found.add(ast.unparse(node))
            if isinstance(node, ast.Call) and {"config", "proxy"} & {ast.unparse(each) for each in node.args}:
                found.add(ast.unparse(node.func))
        return found

    assert len(used("__init__")) > 5
    assert used("__init__") <= used("apply")
