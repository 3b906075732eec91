"""Promise P2 across processes: counted at the server."""

import asyncio
import json
import sys

import aiohttp

from broker.cli.demo.stage import Stage
from tests.system.conftest import staged

CLIENTS = 8
LEASES_EACH = 125

# A process that waits for a line on stdin, then asks for many leases at once; it prints the generations it got.
ASKER = """
import asyncio, json, sys
from pathlib import Path
from broker.ipc.client import BrokerClient

async def main(path, count):
    async with BrokerClient(Path(path), timeout=60) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        got = await asyncio.gather(*(client.lease("gemini", min_validity=30, max_wait=30) for _ in range(count)))
        print(json.dumps(sorted({lease.generation for lease in got}) + [len(got)]), flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


async def refresh_posts(stage: Stage) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{stage.sandbox_url}/sandbox/stats") as answer:
        return int((await answer.json())["token"]["refresh_posts"])


async def set_lifetime(stage: Stage, seconds: float) -> None:
    async with aiohttp.ClientSession() as session:
        url = f"{stage.sandbox_url}/sandbox/settings"
        async with session.post(url, json={"access_lifetime": seconds}) as answer:
            assert answer.status == 200


async def ask_from_many_processes(stage: Stage) -> list[list[int]]:
    askers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASKER, str(stage.token_socket), str(LEASES_EACH),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(CLIENTS)
    ]  # fmt: skip
    for asker in askers:
        assert asker.stdout is not None
        assert await asker.stdout.readline() == b"ready\n"
    ended = await asyncio.gather(*(asker.communicate(b"go\n") for asker in askers))
    return [json.loads(out) for out, _ in ended]


async def test_a_thousand_leases_at_expiry_from_eight_processes_cause_one_post() -> None:
    async with staged(lifetime=2.0, proxy=False, ahead=False) as stage, stage.client() as client:
        ends = (await client.accounts())[0].expires_at
        assert ends is not None
        await set_lifetime(stage, 3600)
        before = await refresh_posts(stage)
        await asyncio.sleep(max(0.0, ends - stage.clock.now().wall + 0.1))
        answers = await ask_from_many_processes(stage)
        assert sum(answer[-1] for answer in answers) == CLIENTS * LEASES_EACH
        assert len({generation for answer in answers for generation in answer[:-1]}) == 1
        assert await refresh_posts(stage) - before == 1
