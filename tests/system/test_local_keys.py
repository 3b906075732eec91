"""Local keys through the real programs: made, followed by all workers, limited, revoked, and written down nowhere."""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp

from broker.cli.demo.stage import Stage, mode_of
from tests.system.conftest import staged
from tests.system.test_settings_proxy import ask

SETTINGS = """[proxy]
workers = 2
internal_key = false

[logging]
level = "debug"
format = "json"
"""
NEVER = 403


async def add(stage: Stage, name: str, *limits: str) -> str:
    code, written = await stage.run("key", "add", name, *limits)
    assert code == 0, written
    return written.split()[-1]


async def until(stage: Stage, key: str, status: int) -> None:
    """Ask until no worker answers otherwise."""
    alike = 0
    async with asyncio.timeout(20):
        while alike < 8:
            alike = alike + 1 if (await ask(stage, key=key))[0] == status else 0
            await asyncio.sleep(0.05)


async def known(stage: Stage, key: str) -> aiohttp.ClientResponse:
    """Ask for the list of models as soon as the worker that answers knows the key."""
    headers = {"Authorization": f"Bearer {key}", "Connection": "close"}
    async with aiohttp.ClientSession() as session, asyncio.timeout(20):
        while True:
            async with session.get(f"{stage.proxy_url}/v1/models", headers=headers) as answer:
                await answer.read()
                if answer.status != 401:
                    return answer
            await asyncio.sleep(0.05)


async def test_keys_from_their_making_to_their_end() -> None:
    async with staged(config=SETTINGS) as stage:
        assert (await ask(stage, key="ccsb-fake"))[0] == 401
        free = await add(stage, "free")
        few = await add(stage, "few", "--rpm", "3")
        other = await add(stage, "second", "--model", "claude-*")
        await until(stage, free, 200)

        answers = await asyncio.gather(*(known(stage, few) for _ in range(12)))
        assert Counter(each.status for each in answers) == {200: 3, 429: 9}
        assert all(1 <= int(each.headers["Retry-After"]) <= 20 for each in answers if each.status == 429)

        await until(stage, other, NEVER)
        status, body = await ask(stage, key=other)
        assert status == NEVER
        assert "does not open the model 'gemini-2.5-flash'" in body
        listed = await (await known(stage, other)).json()
        assert all(each["id"].startswith("claude-") for each in listed["data"])

        code, written = await stage.run("key", "revoke", "free")
        assert code == 0, written
        await until(stage, free, 401)
        assert mode_of(stage.home / "proxy-keys.json") == "0600"
        _nowhere(stage, (free, few, other))


def _nowhere(stage: Stage, keys: tuple[str, ...]) -> None:
    files = {path: path.read_bytes() for path in stage.home.rglob("*") if path.is_file()}
    assert b'"status": 429' in files[stage.home / "proxy.log"]
    for process in stage.processes.values():
        for name in ("cmdline", "environ"):
            path = Path(f"/proc/{process.pid}/{name}")
            if path.exists():
                files[path] = path.read_bytes()
    for key in keys:
        assert len(key) == 48
        for path, text in files.items():
            assert key.encode() not in text, f"a key stands in {path}"
