"""Settings that change while the real programs run: each start-up proves many."""

import asyncio
import json
import os
import re
import signal

import aiohttp

from broker.cli.demo.stage import Stage
from broker.config import INTERNAL_KEY
from tests.fakes.upstream import Peer, RawUpstream, Taken
from tests.system.conftest import amend, staged
from tests.system.test_settings_daemon import eventually

MODEL = "gemini-2.5-flash"
KEY = "fake-key-of-mine"
PIECES = [json.dumps({"response": {"candidates": [{"content": {"parts": [{"text": word}]}}]}}) for word in "abc"]


async def ask(stage: Stage, model: str = MODEL, *, key: str = INTERNAL_KEY, source: str = "127.0.0.1") -> int:
    """Send a chat completion over a connection of its own; return its status."""
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        url, headers = f"{stage.proxy_url}/v1/chat/completions", {"Authorization": f"Bearer {key}"}
        async with session.post(url, json=body, headers=headers) as answer:
            await answer.read()
            return answer.status


async def stream(stage: Stage, begun: asyncio.Event) -> bytes:
    """Read a streamed answer to its end."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        url = f"{stage.proxy_url}/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"
        headers = {"x-goog-api-key": INTERNAL_KEY}
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        async with session.post(url, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            taken = await answer.content.readany()
            begun.set()
            return taken + await answer.content.read()


async def settings(stage: Stage) -> dict[str, object]:
    """Ask a worker, whichever takes the connection, which settings it goes by."""
    async with aiohttp.ClientSession() as session, session.get(f"{stage.proxy_url}/health") as answer:
        told = (await answer.json())["settings"]
        assert isinstance(told, dict)
        return told


async def change(stage: Stage, text: str) -> None:
    """Write the config, and wait until every worker goes by it."""
    before = (await settings(stage))["generation"]
    stage.config_file.write_text(text)

    async def taken() -> bool:
        return before not in [(await settings(stage))["generation"] for _ in range(16)]

    await eventually(taken)


async def logged(stage: Stage, name: str, pattern: str, times: int = 1) -> None:
    """Wait until a program's log has lines like that."""

    async def told() -> bool:
        return len(re.findall(pattern, (stage.home / f"{name}.log").read_text())) >= times

    await eventually(told)


class Gated:
    """An upstream whose streams go on when they are let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, peer: Peer, taken: Taken) -> None:
        if "stream" not in taken.line:
            await peer.gone()
            return
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in PIECES:
            data = f"data: {piece}\n\n".encode()
            await peer.send(b"%x\r\n%b\r\n" % (len(data), data))
            await self.go.wait()
        await peer.send(b"0\r\n\r\n")


async def test_the_proxy_goes_by_new_settings_and_ends_what_it_began_by_the_old() -> None:
    """With two workers; one alone is in tests/cli/test_supervise.py."""
    gated = Gated()
    gated.go.set()
    async with staged(config="[proxy]\nworkers = 2") as stage, RawUpstream([gated]) as upstream:
        assert await ask(stage) == 200
        first = stage.config_file.read_text()
        base = f'[upstreams.codeassist]\nbase_url = "{stage.sandbox_url}"'
        elsewhere = first.replace(base, base.replace(stage.sandbox_url, upstream.url))
        assert elsewhere != first
        await change(stage, elsewhere)
        whole = await stream(stage, asyncio.Event())
        assert upstream.requests

        gated.go.clear()
        begun = asyncio.Event()
        under_way = asyncio.ensure_future(stream(stage, begun))
        await begun.wait()
        keys = f'[proxy]\napi_keys = ["{KEY}"]\ninternal_key = false\ndeny = ["127.0.0.2"]\nheaders_timeout = 1'
        more = f'{keys}\n\n[routing]\naliases = {{ mine = "{MODEL}" }}\n\n[logging]\nlevel = "debug"'
        await change(stage, amend(first, more))
        assert await ask(stage, "mine", key=KEY) == 200
        assert await ask(stage) == 401
        assert await ask(stage, key=KEY, source="127.0.0.2") == 403
        await logged(stage, "proxy", r"debug broker\.proxy\.gateway: request ")

        await change(stage, amend(elsewhere, more.replace("mine = ", "ours = ")))
        assert await ask(stage, "mine", key=KEY) == 404
        # The new timeout, and the new place: nothing is ever answered there.
        assert await ask(stage, "ours", key=KEY) == 504
        assert not under_way.done()
        gated.go.set()
        assert await under_way == whole

        stage.config_file.write_text(first.replace("[proxy]\n", "[proxy]\nworkers = 0\n", 1))
        await logged(stage, "proxy", r"settings not reloaded.*config\.toml:\d+:")
        assert await ask(stage, "ours", key=KEY) == 504
        stage.config_file.write_text(first[:-2])
        await logged(stage, "proxy", r"settings not reloaded", times=2)
        port = re.sub(r"\[proxy\]\n((?:.*\n)*?)port = \d+", r"[proxy]\n\1port = 1", first, count=1)
        await change(stage, port)
        assert await ask(stage) == 200
        assert (await settings(stage))["pending"] == ["proxy.port"]
        await logged(stage, "proxy", "needs a restart: proxy.port")

        os.kill(stage.processes["proxy"].pid, signal.SIGHUP)
        await logged(stage, "proxy", "settings reloaded changed=nothing")
        assert await ask(stage) == 200


async def test_the_daemon_goes_by_new_settings() -> None:
    async with (
        staged(proxy=False, ahead=False, lifetime=6.0) as stage,
        stage.client() as client,
        RawUpstream([b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"]) as upstream,
    ):
        (account,) = await client.accounts()
        first = stage.config_file.read_text()
        token = f'token_url = "{stage.sandbox_url}/token"'
        assert token in first

        async def reloaded(text: str, times: int) -> None:
            stage.config_file.write_text(text)
            await logged(stage, "serve", "settings reloaded", times)

        limits = '[socket]\nmax_wait_seconds = 0.2\n\n[logging]\nlevel = "debug"'
        await reloaded(amend(first.replace(token, f'token_url = "{upstream.url}/token"'), limits), 1)
        code, said = await stage.run("refresh", account.account)
        assert code != 0, said
        assert upstream.requests

        stage.config_file.write_text("[socket]\nmax_wait_seconds = 0\n")
        await logged(stage, "serve", r"settings not reloaded.*config\.toml:2: socket\.max_wait_seconds")

        sealed = '[store]\nmode = "sealed"'
        await reloaded(amend(first, sealed), 2)
        await logged(stage, "serve", "needs a restart: store.mode")
        generation = (await client.account(account.account)).generation
        await reloaded(first.replace("ahead = false", "ahead = true"), 3)

        async def renewed() -> bool:
            return (await client.account(account.account)).generation > generation

        await eventually(renewed)
        code, said = await stage.run("config", "show", "--effective")
        assert code == 0
        assert re.search(r"^refresh\.ahead = true # line \d+$", said, re.MULTILINE), said
        os.kill(stage.processes["daemon"].pid, signal.SIGHUP)
        await logged(stage, "serve", "settings reloaded changed=nothing")
        assert (await client.health()).status
