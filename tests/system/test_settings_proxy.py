"""Settings of the proxy, each seen to change what real processes do."""

import asyncio
import json
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from broker.cli.demo.stage import Stage, headers
from broker.config import INTERNAL_KEY
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_files import drop
from tests.system.test_settings_daemon import eventually, fault

MODEL = "gemini-2.5-flash"


async def ask(
    stage: Stage,
    prompt: str = "hello",
    *,
    key: str = INTERNAL_KEY,
    streamed: bool = False,
    url: str | None = None,
    **extra: str,
) -> tuple[int, str]:
    """Send a chat completion; return status and body."""
    body = {"model": MODEL, "stream": streamed, "messages": [{"role": "user", "content": prompt}]}
    sent = {"Authorization": f"Bearer {key}", **extra}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        async with session.post(f"{url or stage.proxy_url}/v1/chat/completions", json=body, headers=sent) as answer:
            return answer.status, await answer.text()


@covers("proxy.host", "proxy.port")
async def test_it_listens_where_it_is_told() -> None:
    async with staged(config='[proxy]\nhost = "127.0.0.2"', proxy=False) as stage:
        stage.proxy_url = stage.proxy_url.replace("127.0.0.1", "127.0.0.2")
        await stage.start_proxy()
        assert (await ask(stage))[0] == 200
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask(stage, url=stage.proxy_url.replace("127.0.0.2", "127.0.0.1"))


@covers("proxy.api_keys", "proxy.internal_key")
async def test_keys_open_the_door_and_the_internal_one_can_be_taken_away() -> None:
    async with staged(config='[proxy]\napi_keys = ["fake-key-of-mine"]\ninternal_key = false') as stage:
        assert (await ask(stage, key="fake-key-of-mine"))[0] == 200
        assert (await ask(stage))[0] == 401
        assert (await ask(stage, key="fake-key-of-mind"))[0] == 401


async def test_no_keys_at_all_means_closed() -> None:
    async with staged(config="[proxy]\ninternal_key = false") as stage:
        assert (await ask(stage))[0] == 401
        assert (await ask(stage, key=""))[0] == 401


@covers("proxy.allowed_hosts")
async def test_host_names_are_checked_against_rebinding() -> None:
    async with staged(config='[proxy]\nallowed_hosts = ["box.test"]') as stage:
        assert (await ask(stage, Host="box.test"))[0] == 200
        assert (await ask(stage, Host="evil.test"))[0] in {403, 421}


@covers("proxy.allow", "proxy.deny")
async def test_addresses_are_let_in_and_kept_out_before_anything_is_read() -> None:
    lists = '[proxy]\nallow = ["127.0.0.0/29", "::1"]\ndeny = ["127.0.0.2"]'
    async with staged(config=lists, logged_in=False) as stage:
        for source, status in (("127.0.0.1", 200), ("127.0.0.2", 403), ("127.0.0.7", 200), ("127.0.0.8", 403)):
            connector = aiohttp.TCPConnector(local_addr=(source, 0))
            async with aiohttp.ClientSession(connector=connector) as session:
                # A public path, and a header that claims another address.
                told = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}
                async with session.get(f"{stage.proxy_url}/health", headers=told) as answer:
                    assert answer.status == status, source
                    assert (answer.headers.get("Connection") == "close") is (status == 403)


@covers("proxy.workers")
async def test_several_workers_share_the_port() -> None:
    async with staged(config="[proxy]\nworkers = 2") as stage:
        pid = stage.processes["proxy"].pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        async with asyncio.timeout(20):  # the first worker may answer before the second is there
            while len(children.read_text().split()) < 2:
                await asyncio.sleep(0.05)
        assert len(children.read_text().split()) == 2
        answers = await asyncio.gather(*(ask(stage, f"question {number}") for number in range(20)))
        assert {status for status, _ in answers} == {200}


@covers("proxy.max_body_bytes")
async def test_a_body_over_the_limit_is_refused() -> None:
    async with staged(config="[proxy]\nmax_body_bytes = 2000") as stage:
        assert (await ask(stage, "x" * 100))[0] == 200
        assert (await ask(stage, "x" * 3000))[0] == 413


@covers("proxy.max_connections")
async def test_more_connections_than_allowed_are_refused() -> None:
    async with staged(config="[proxy]\nmax_connections = 3") as stage:
        host, port = stage.proxy_url.removeprefix("http://").split(":")
        # What the start and the login left open must be gone first.
        await asyncio.sleep(0.2)
        held = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises((aiohttp.ClientError, AssertionError)):
            assert (await ask(stage))[0] == 200
        for _, writer in held:
            writer.close()

        async def served() -> bool:
            try:
                return (await ask(stage))[0] == 200
            except aiohttp.ClientError:
                return False

        await eventually(served)


@covers("proxy.connect_timeout", "upstreams.base_url")
async def test_an_upstream_that_does_not_take_the_call_is_given_up() -> None:
    # A listener with a full queue of unaccepted connections: the next one is neither taken nor refused.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        async with staged(config="[proxy]\nconnect_timeout = 1", proxy=False) as stage:
            text = stage.config_file.read_text()
            here = f'[upstreams.codeassist]\nbase_url = "{stage.sandbox_url}"'
            assert here in text
            stage.config_file.write_text(
                text.replace(here, f'[upstreams.codeassist]\nbase_url = "http://127.0.0.1:{port}"')
            )
            await stage.start_proxy()
            began = time.monotonic()
            status, body = await ask(stage)
            assert status in {502, 503, 504}, body
            assert time.monotonic() - began < 10
        for one in waiting:
            one.close()


@covers("proxy.headers_timeout", "proxy.first_byte_timeout", "proxy.total_timeout")
@pytest.mark.parametrize("setting", ["headers_timeout", "first_byte_timeout", "total_timeout"])
async def test_an_upstream_that_never_answers_is_given_up(setting: str) -> None:
    async with staged(config=f"[proxy]\n{setting} = 1") as stage:
        await fault(stage, "generate", "hang")
        await fault(stage, "generate", "hang")
        await fault(stage, "generate", "hang")
        began = time.monotonic()
        status, body = await ask(stage)
        assert status in {502, 503, 504}, body
        assert 0.9 < time.monotonic() - began < 10


@covers("proxy.idle_timeout")
async def test_a_stream_that_falls_silent_ends_with_an_error_event() -> None:
    async with staged(config="[proxy]\nidle_timeout = 1") as stage:
        await fault(stage, "generate", "stall")
        began = time.monotonic()
        status, body = await ask(stage, "hello [[chunks=8]]", streamed=True)
        assert time.monotonic() - began < 10
        assert status == 200
        events = [line for line in body.splitlines() if line.startswith("data: ")]
        assert "error" in json.loads(events[-1].removeprefix("data: "))


@covers("proxy.keepalive_seconds")
async def test_a_waiting_stream_is_kept_alive_by_comments() -> None:
    async with staged(config="[proxy]\nkeepalive_seconds = 0.3") as stage:
        _, body = await ask(stage, "hello [[chunks=3 delay=1]]", streamed=True)
        assert sum(line.startswith(":") for line in body.splitlines()) >= 3
        assert "data: [DONE]" in body


@covers("proxy.safety_off", "upstreams.headers")
@pytest.mark.parametrize("off", [True, False])
async def test_safety_settings_are_the_users_choice(off: bool) -> None:
    own = '[upstreams.codeassist]\nheaders = { User-Agent = "mine/1" }'
    async with staged(config=f"[proxy]\nsafety_off = {str(off).lower()}\n\n{own}") as stage:
        await ask(stage)
        async with aiohttp.ClientSession() as session, session.get(f"{stage.sandbox_url}/sandbox/requests") as answer:
            asked = [each for each in await answer.json() if "generateContent" in each["path"]]
        assert ("safetySettings" in json.dumps(asked[-1]["body"])) is off
        assert {name.lower(): value for name, value in asked[-1]["headers"].items()}["user-agent"] == "mine/1"


async def test_a_key_file_makes_gemini_requests_pass_untouched() -> None:
    """The other upstream of `upstreams.base_url`: bytes of a Gemini client reach the Gemini API as they were sent."""
    async with staged(logged_in=False, proxy=False) as stage, stage.client() as client:
        _plant_key(stage)

        async def there() -> bool:
            return len(await client.accounts()) == 1

        await eventually(there)
        await stage.start_proxy()
        body = b'{ "contents" : [ {"role":"user", "parts":[ {"text":"hello"} ]} ] }'
        url = f"{stage.proxy_url}/v1beta/models/{MODEL}:generateContent"
        async with aiohttp.ClientSession() as session:
            async with session.post(
                url, data=body, headers={**headers(), "Content-Type": "application/json"}
            ) as answer:
                told = await answer.json()
        assert answer.status == 200, told
        assert told["candidates"][0]["content"]["parts"][0]["text"]


def _plant_key(stage: Stage) -> None:
    key = (stage.home / "api-key").read_text().strip()
    drop(
        stage.auth_dir,
        "gemini-api-work.json",
        {"type": "api-key", "provider": "gemini-api", "label": "work", "api_key": key},
    )
