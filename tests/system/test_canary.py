"""Promise P1: at debug level, through login, refresh, rejection and proxied calls, no secret is written anywhere but into its file."""

import json
from pathlib import Path

import aiohttp

from broker.cli.demo.stage import Stage, headers
from broker.cli.demo.steps import chat, stream
from broker.ipc.schema import Report
from tests.system.conftest import staged

DEBUG = '[logging]\nlevel = "debug"\nformat = "json"'


async def secrets_of(stage: Stage) -> set[str]:
    """Every value that must not be seen: read from the files that may hold them, and from what the sandbox issued."""
    found = {stage.home.joinpath("client-secret").read_text().strip()}
    for path in stage.auth_dir.glob("*.json"):
        token = json.loads(path.read_text())["token"]
        found |= {token["access_token"], token["refresh_token"]}
    return {value for value in found if value}


def everything_written(stage: Stage) -> dict[str, str]:
    """All text below the demo's home but the files that are there to hold secrets."""
    holders = {stage.home / "client-secret"}
    return {
        str(path.relative_to(stage.home)): path.read_bytes().decode(errors="replace")
        for path in stage.home.rglob("*")
        if path.is_file() and path not in holders and stage.auth_dir not in path.parents
    }


async def test_no_secret_is_written_anywhere() -> None:
    async with staged(config=DEBUG) as stage, stage.client() as client:
        seen = await secrets_of(stage)
        await chat(stage, lambda _: None)
        await stream(stage, lambda _: None)
        lease = await client.lease("gemini")
        await client.report(Report(account=lease.account, generation=lease.generation, outcome="rejected"))
        seen |= await secrets_of(stage)
        await client.refresh("gemini/alice@example.com")
        seen |= await secrets_of(stage)
        await chat(stage, lambda _: None)
        views = [await (await _get(stage, path)).text() for path in ("/health", "/v1/models")]
        argv = [
            Path(f"/proc/{p.pid}/cmdline").read_text() + Path(f"/proc/{p.pid}/environ").read_text()
            for p in stage.processes.values()
        ]
        assert len(seen) >= 7
        written = everything_written(stage)
        assert any("refresh" in text for text in written.values())
        for value in seen:
            for where, text in {**written, "views": "".join(views), "argv and env": "".join(argv)}.items():
                assert value not in text, f"a secret stands in {where}"
        accounts = await client.accounts()
        assert all(value not in repr(accounts) for value in seen)


async def _get(stage: Stage, path: str) -> aiohttp.ClientResponse:
    async with aiohttp.ClientSession() as session, session.get(stage.proxy_url + path, headers=headers()) as answer:
        await answer.read()
        return answer
