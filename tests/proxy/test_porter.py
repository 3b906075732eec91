"""Local keys at the door of a whole worker, over real sockets."""

import asyncio
from pathlib import Path

import pytest

from broker.proxy.keyfile import KeyFile, change
from broker.proxy.keys import LocalKey, digest_of
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer
from tests.proxy.conftest import MakeProxy, Proxy

LOCAL = {"authorization": "Bearer fake-local-key"}
GEMINI = {"authorization": "", "x_goog_api_key": "fake-local-key"}
CLAUDE = {"authorization": "", "x_api_key": "fake-local-key", "anthropic_version": "2023-06-01"}
CONTENTS = {"contents": [{"parts": [{"text": "hi"}]}]}
OK = answer(b'{"candidates": [{"content": {"parts": [{"text": "hello"}]}, "finishReason": "STOP"}]}')


def daemon(*names: str) -> FakeDaemon:
    made = FakeDaemon()
    made.put(*(account(name, lease(name)) for name in names))
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "proxy-keys.json"


def keep(file: Path, **fields: object) -> KeyFile:
    made = LocalKey(name="ci", sha256=digest_of("fake-local-key"), slot=0, created=1, **fields)  # type: ignore[arg-type]
    change(file, lambda _keys: (made,))
    return KeyFile(file)


async def until(p: Proxy, status: int) -> None:
    async with asyncio.timeout(20):
        while (await p.ask("GET", "/v1/models", **LOCAL)).status != status:
            await asyncio.sleep(0.02)


async def test_changes_are_followed_without_a_restart(proxy: MakeProxy, file: Path) -> None:
    async with proxy(daemon("gemini-api/a"), keys=KeyFile(file)) as p:
        await until(p, 401)
        keep(file)
        await until(p, 200)
        change(file, lambda _keys: ())
        await until(p, 401)
        assert (await p.ask("GET", "/v1/models")).status == 200  # a key of the config


async def test_requests_of_a_connection_look_at_no_file(proxy: MakeProxy, file: Path) -> None:
    looks: list[int] = []

    class Counted(KeyFile):
        def look(self) -> None:
            looks.append(1)
            super().look()

    keep(file)
    async with proxy(daemon("gemini-api/a"), keys=Counted(file)) as p:
        reader, writer = await p.dial()
        before, loop = len(looks), asyncio.get_running_loop()
        began = loop.time()
        for _ in range(200):
            writer.write(p.request("GET", "/v1/models/gemini-2.5-pro", **LOCAL))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert head.split()[1] == b"200"
            await reader.readexactly(length)
        # Twice a second, however many requests there were.
        assert len(looks) - before <= (loop.time() - began) / 0.5 + 2


async def test_an_expired_key_is_told_so(proxy: MakeProxy, file: Path) -> None:
    async with proxy(daemon("gemini-api/a"), keys=keep(file, expires=1000)) as p:
        told = await p.ask("GET", "/v1/models", **LOCAL)
        assert told.status == 401
        assert "'ci' has expired" in told.json()["error"]["message"]
        assert (await p.ask("GET", "/health", **LOCAL)).status == 200


async def test_models_a_key_does_not_open_are_refused_in_the_client_s_shape(proxy: MakeProxy, file: Path) -> None:
    async with proxy(daemon("gemini-api/a", "claude/a"), keys=keep(file, models=("claude-*", "fast"))) as p:
        chat = {"model": "gemini-2.5-pro(high)", "messages": [{"role": "user", "content": "hi"}]}
        openai = await p.ask("POST", "/v1/chat/completions", chat, **LOCAL)
        assert openai.status == 403
        error = openai.json()["error"]
        assert (error["code"], error["param"]) == ("model_not_allowed", "model")
        assert error["message"] == (
            "the API key 'ci' does not open the model 'gemini-2.5-pro'; it opens: claude-*, fast"
        )
        gemini = await p.ask("POST", "/v1beta/models/gemini-2.5-pro:generateContent", CONTENTS, **GEMINI)
        assert (gemini.status, gemini.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
        message = {"model": "gemini-2.5-pro", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        claude = await p.ask("POST", "/v1/messages", message, **CLAUDE)
        assert (claude.status, claude.json()["error"]["type"]) == (403, "permission_error")
        assert "'gemini-2.5-pro'" in claude.json()["error"]["message"]


async def test_a_glob_with_a_provider_keeps_to_its_accounts(proxy: MakeProxy, file: Path) -> None:
    async with RawUpstream([OK]) as upstream:
        only = keep(file, models=("gemini-api/gemini-*",))
        async with proxy(daemon("gemini/a", "gemini-api/a"), upstream.url, keys=only) as p:
            for _ in range(3):
                served = await p.ask("POST", "/v1beta/models/gemini-2.5-pro:generateContent", CONTENTS, **GEMINI)
                assert served.status == 200
            # Code Assist has other paths.
            assert {each.line.split()[1] for each in upstream.requests} == {
                "/v1beta/models/gemini-2.5-pro:generateContent"
            }
            other = await p.ask("POST", "/v1/models/gemma-3-27b-it:generateContent", CONTENTS, **GEMINI)
            assert other.status == 403


async def test_the_list_has_what_the_key_opens_and_no_more(proxy: MakeProxy, file: Path) -> None:
    async with proxy(
        daemon("gemini-api/a"), keys=keep(file, models=("gemini-2.5-flash*", "gemini-api/*-2.5-pro"))
    ) as p:
        listed = (await p.ask("GET", "/v1/models", **LOCAL)).json()["data"]
        ids = {each["id"] for each in listed}
        assert {"gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"} <= ids
        assert not any("gemma" in each or "preview" in each for each in ids)
        everything = (await p.ask("GET", "/v1/models")).json()["data"]
        assert len(everything) > len(listed)
        assert (await p.ask("GET", "/v1/models/gemini-2.5-flash", **LOCAL)).status == 200
        assert (await p.ask("GET", "/v1/models/gemma-3-27b-it", **LOCAL)).status == 404


async def test_the_list_keeps_to_providers_there_are_accounts_of(proxy: MakeProxy, file: Path) -> None:
    only = keep(file, models=("gemini/*", "claude/*"))
    async with proxy(daemon("gemini-api/a", "claude/a"), keys=only) as p:
        listed = (await p.ask("GET", "/v1/models", **LOCAL)).json()["data"]
        assert listed
        assert all(each["id"].startswith("claude-") for each in listed)


async def test_a_rate_is_kept_and_says_when_to_come_back(proxy: MakeProxy, file: Path) -> None:
    async with proxy(daemon("gemini-api/a"), keys=keep(file, rpm=3)) as p:
        for _ in range(3):
            assert (await p.ask("GET", "/v1/models", **LOCAL)).status == 200
        told = await p.ask("GET", "/v1/models", **LOCAL)
        assert told.status == 429
        assert 1 <= int(told.headers["retry-after"]) <= 20
        assert told.json()["error"]["code"] == "rate_limit_exceeded"
        gemini = await p.ask("POST", "/v1beta/models/gemini-2.5-pro:generateContent", CONTENTS, **GEMINI)
        assert (gemini.status, gemini.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
        # Others' requests are not counted, nor what needs no key.
        assert (await p.ask("GET", "/v1/models")).status == 200
        assert (await p.ask("GET", "/health", **LOCAL)).status == 200
