"""Many leases at the moment a token has ended: how many POSTs reach the token endpoint. A figure, not a ratio."""

import asyncio
import time
from urllib.parse import quote

import aiohttp

from benchmarks import load
from benchmarks.harness import Bar, Contest, Metric, Outcome
from benchmarks.home import BenchError
from benchmarks.suites import Absent, Context
from broker.cli.demo.stage import Stage
from broker.cli.demo.steps import login
from broker.system import SystemClock

_SHORT_SECONDS, _LONG_SECONDS = 1.5, 3600.0
_CONNECTIONS = 100
_LEASES = 1000


async def run(context: Context) -> list[Outcome]:
    """Count at the sandbox, which answers a spent refresh token by ending the login."""
    if context.quick:
        raise Absent("not measured by a quick run")
    stage = Stage.build(SystemClock())
    try:
        await stage.start_sandbox(_LONG_SECONDS)
        await stage.start_daemon()
        await login(stage, lambda _: None)

        async def burst() -> dict[str, float]:
            return await _burst(stage, _LEASES)

        contest = Contest(
            "one_post",
            f"{_LEASES:,} leases over {_CONNECTIONS} connections at once, the token having ended",
            (Metric("POSTs", ""), Metric("leases", ""), Metric("wall", "ms")),
            {"daemon": burst},
            bars=(Bar("daemon", "POSTs", plus=1.0),),
        )
        return [await contest.run(3)]
    finally:
        await stage.close()


async def _burst(stage: Stage, leases: int) -> dict[str, float]:
    await _set_lifetime(stage, _SHORT_SECONDS)
    async with stage.client() as client:
        view = await client.refresh((await client.accounts())[0].account)
    if view.expires_at is None:
        raise BenchError("the sandbox's token has no end")
    await _set_lifetime(stage, _LONG_SECONDS)  # so that the burst's own token does not end within the burst
    await asyncio.sleep(max(0.0, view.expires_at + 0.1 - stage.clock.now().wall))
    path = f"/v1/lease/{quote(view.account)}?min_validity=1&max_wait=20"
    asked = load.request("GET", path, host="localhost")
    before = await _posts(stage)
    began = time.perf_counter()
    each = leases // _CONNECTIONS
    served = await asyncio.gather(*(_ask(stage, asked, each) for _ in range(_CONNECTIONS)))
    took = time.perf_counter() - began
    return {"POSTs": await _posts(stage) - before, "leases": sum(served), "wall": took * 1e3}


async def _ask(stage: Stage, asked: bytes, times: int) -> int:
    """Ask on one connection, several times without waiting in between; return how many leases came."""
    reader, writer = await asyncio.open_unix_connection(str(stage.token_socket))
    served = 0
    for _ in range(times):
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"no lease: {body[:300]!r}")
        served += 1
    writer.close()
    return served


async def _set_lifetime(stage: Stage, seconds: float) -> None:
    url = f"{stage.sandbox_url}/sandbox/settings"
    async with aiohttp.ClientSession() as session, session.post(url, json={"access_lifetime": seconds}) as answer:
        answer.raise_for_status()


async def _posts(stage: Stage) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{stage.sandbox_url}/sandbox/stats") as answer:
        return int((await answer.json())["token"]["refresh_posts"])
