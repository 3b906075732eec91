"""One refresh everywhere: many processes, two daemons on one directory, a holder that dies, many reports at once."""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from broker.ipc.client import BrokerClient
from broker.ipc.schema import Report, encode
from broker.ipc.wire import request_head
from broker.model.errors import BrokerError, ErrorCode
from broker.sandbox.faults import Delay, Hang, Target
from tests.system.rotation.figures import Figure, share
from tests.system.rotation.homes import ROOT, Home, Truth, until

PROCESSES = 8
LONG = 3600.0

# A process that waits for a line on stdin, then asks for many leases at once; it prints how many it got and the tokens' digests.
ASKER = """
import asyncio, json, sys
from pathlib import Path
from broker.ipc.client import BrokerClient

async def main(path, account, count):
    async with BrokerClient(Path(path), timeout=100) as client:
        await client.health()
        print("ready", flush=True)
        sys.stdin.readline()
        got = await asyncio.gather(*(client.lease(account, min_validity=30, max_wait=100) for _ in range(count)))
        print(json.dumps([len(got), sorted({each.access_token.digest().text for each in got})]), flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def crowd(homes: list[Home], waiters: int) -> tuple[int, set[str]]:
    """Ask from eight processes at once, shared out over the daemons; return how many were served, and with which tokens."""
    askers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASKER, str(homes[n % len(homes)].control), str(homes[0].account), str(waiters // PROCESSES),
            env=homes[0].environ, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for n in range(PROCESSES)
    ]  # fmt: skip
    for asker in askers:
        assert asker.stdout is not None
        assert await asker.stdout.readline() == b"ready\n"
    ended = await asyncio.gather(*(asker.communicate(b"go\n") for asker in askers))
    found = [json.loads(out) for out, _ in ended]
    return sum(count for count, _ in found), {token for _, tokens in found for token in tokens}


def spread(seconds: list[float]) -> str:
    p50, p99 = share(seconds, 0.5) * 1000, share(seconds, 0.99) * 1000
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {max(seconds) * 1000:.0f} ms"


async def wait_for_the_end(home: Home, ends: float) -> None:
    await asyncio.sleep(max(0.0, ends - home.truth.clock.now().boot))


@pytest.mark.figures
@pytest.mark.timeout(240)
async def test_ten_thousand_waiters_over_two_daemons_cause_one_post(figure: Figure) -> None:
    config = "[refresh]\nahead = false"
    async with Truth.started() as truth, Home.made(truth, config=config) as first:
        async with Home.made(truth, config=config, auth=first.auth) as second:
            life = 8.0
            first.plant(life)
            ends = truth.clock.now().boot + life + 0.2
            await first.start()
            await second.start()
            async with first.client() as client, second.client() as other:
                problems = (await other.health()).problems
                assert [each for each in problems if "another daemon" in each], problems
                assert not (await client.health()).problems
                assert (await client.lease(first.account, min_validity=0)).access_token
                await wait_for_the_end(first, ends)
                began = time.monotonic()
                served, tokens = await crowd([first, second], 10_000)
                took = time.monotonic() - began
            assert (served, len(tokens), truth.posts) == (10_000, 1, 1)
            figure(
                f"one refresh: {served} waiters over {PROCESSES} processes and 2 daemons on one directory at one expiry: {truth.posts} POST "
                f"({took:.1f} s, processes' start included); the second daemon says in /v1/health: {problems[0].partition(' uses')[0]}"
            )


async def test_two_daemons_with_one_state_directory_are_told_or_refused() -> None:
    async with Truth.started() as truth, Home.made(truth) as home:
        home.plant()
        await home.start()
        # The same runtime directory: refused. Another one, the same state: told.
        refused = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "broker", "serve", env=home.environ, cwd=home.folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, said = await asyncio.wait_for(refused.communicate(), 30)
        assert refused.returncode not in (0, None)
        assert b"listens" in said or b"daemon" in said, said
        first, home.process = home.process, None
        second = await home.spawn(env={"CCS_BROKER_RUNTIME_DIR": str(home.folder / "run2")})
        try:
            async with BrokerClient(home.folder / "run2" / "broker.sock") as client:

                async def answers() -> bool:
                    try:
                        return any("another daemon" in each for each in (await client.health()).problems)
                    except BrokerError:
                        assert second.returncode is None, home.log()
                        return False

                await until(answers, within=30)
        finally:
            assert first is not None
            first.kill()
            await first.wait()


@pytest.mark.figures
@pytest.mark.parametrize("rotated", [False, True])
async def test_the_lock_is_free_within_a_second_of_its_holders_death(figure: Figure, rotated: bool) -> None:
    config = "[refresh]\nahead = false"
    async with Truth.started() as truth, Home.made(truth, config=config) as first:
        async with Home.made(truth, config=config, auth=first.auth) as second:
            first.plant(-1)
            await first.start()
            await second.start()
            async with first.client() as client, second.client() as other:
                truth.sandbox.faults.add(Target.TOKEN, Hang(after_grant=rotated))
                holding = asyncio.ensure_future(client.lease(first.account, max_wait=30))
                await until(lambda: truth.posts == 1)
                waiting = asyncio.ensure_future(other.lease(first.account, max_wait=30))
                await asyncio.sleep(0.3)
                assert not waiting.done()
                assert truth.posts == 1
                assert first.process is not None
                died = time.monotonic()
                first.process.send_signal(signal.SIGKILL)
                await asyncio.gather(waiting, holding, return_exceptions=True)
                took = time.monotonic() - died
            # The token had ended, so the old refresh token is spent once more; where the server had rotated, that is refused.
            assert truth.posts == 2
            assert len(truth.witness.replays) == rotated
            if rotated:
                error = waiting.exception()
                assert isinstance(error, BrokerError)
                assert error.code is ErrorCode.LOGIN_REQUIRED
            else:
                assert truth.accepts(waiting.result().access_token)
                figure(
                    f"SIGKILL of a lock's holder: another daemon has taken the lock, renewed and answered after {took * 1000:.0f} ms"
                )
            assert took < 1.0


REPORTERS = 500
ANSWER_AFTER = 1.5
BAR = 0.050
TRIES = 3  # the machine may be busy with something else for a moment


@dataclass(frozen=True)
class Said:
    """An answer: how many `seconds` after its request, how many of them after its deadline, and what."""

    seconds: float
    late: float
    status: int
    body: dict[str, object]

    @property
    def token(self) -> str:
        assert self.status == 200, self.body
        lease = self.body["lease"]
        assert isinstance(lease, dict)
        return str(lease["access_token"])


class Crowd:
    """Connections that ask all at once (`tests/system/rotation/crowd.py`), in a process of their own."""

    def __init__(self, home: Home, process: asyncio.subprocess.Process) -> None:
        self._home = home
        self._process = process

    @classmethod
    @asynccontextmanager
    async def of(cls, home: Home) -> AsyncIterator["Crowd"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.system.rotation.crowd", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
        )  # fmt: skip
        try:
            yield cls(home, process)
        finally:
            process.kill()
            await process.wait()

    async def report(self, generation: int, waits: list[float]) -> list[Said]:
        """Report a 401 from each connection; return what each was told, and when."""
        requests = [self._request(generation, wait) for wait in waits]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"socket": str(self._home.control), "requests": requests}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the crowd died"
        return [
            Said(seconds, seconds - wait, status, json.loads(body))
            for wait, (seconds, status, body) in zip(waits, json.loads(line), strict=True)
        ]

    def _request(self, generation: int, wait: float) -> str:
        report = Report(
            account=str(self._home.account), generation=generation, outcome="rejected", max_wait=wait, min_validity=60
        )
        return request_head("POST", "/v1/report", body=encode(report)).decode()


def kept(late: list[float]) -> str:
    return f"{spread(late)} ({sum(each <= BAR for each in late)} of {len(late)} within {BAR * 1000:.0f} ms)"


async def reports(figure: Figure) -> list[float]:
    """Report from everywhere at once; return by how many seconds each who gave up was told after its deadline."""
    config = "[socket]\nmax_connections = 1024"
    chance = random.Random(5)
    async with Truth.started() as truth, Home.made(truth, config=config) as home, Crowd.of(home) as crowd:
        home.plant()
        await home.start()
        async with home.client() as client:
            lease = await client.lease(home.account)
        await crowd.report(lease.generation - 1, [20.0] * REPORTERS)  # all are connected, and nothing is due
        assert truth.posts == 0
        truth.sandbox.faults.add(Target.TOKEN, Delay(seconds=ANSWER_AFTER))
        # A third gives up before the answer comes, at deadlines of its own; the rest waits for it.
        waits = [chance.uniform(0.3, 1.2) if n % 3 == 0 else 20.0 for n in range(REPORTERS)]
        said = await crowd.report(lease.generation, waits)
        given_up = [each.late for each, wait in zip(said, waits, strict=True) if wait < ANSWER_AFTER]
        served = [each for each, wait in zip(said, waits, strict=True) if wait > ANSWER_AFTER]
        assert {each.body["code"] for each, wait in zip(said, waits, strict=True) if wait < ANSWER_AFTER} == {
            "deadline_exceeded"
        }
        tokens = {each.token for each in served}
        assert (len(tokens), truth.posts) == (1, 1)
        # Reports about the old generation, once the new one is there, cause none.
        stale = await crowd.report(lease.generation, [20.0] * REPORTERS)
        assert {each.token for each in stale} == tokens
        assert truth.posts == 1
    together = await at_one_moment()
    figure(
        f"401 reports: {REPORTERS} at once over {REPORTERS} connections, and {REPORTERS} more about the old generation: {truth.posts} refresh; "
        f"answered after the deadline asked for by {kept(given_up)}; where all {REPORTERS} have the same deadline by {kept(together)}; "
        f"{REPORTERS} that wait for nothing are answered after {spread([each.seconds for each in stale])}"
    )
    late = [*given_up, *together]
    assert min(late) > -0.005
    return late


async def test_five_hundred_reports_at_once_cause_one_refresh_and_keep_their_deadlines(figure: Figure) -> None:
    assert (
        max(await reports(figure)) < 2.0
    )  # the bar is held below: other programs' use of the processor is not ours to test


@pytest.mark.faults
async def test_five_hundred_reports_are_answered_within_the_bar(figure: Figure) -> None:
    late = [await reports(figure)]
    while max(late[-1]) > BAR and len(late) < TRIES:
        late.append(await reports(figure))
    assert max(late[-1]) <= BAR, [f"{max(each):.3f}" for each in late]


async def at_one_moment() -> list[float]:
    """All give up at the same moment; return by how much they were told late."""
    config = "[socket]\nmax_connections = 1024"
    async with Truth.started() as truth, Home.made(truth, config=config) as home, Crowd.of(home) as crowd:
        home.plant()
        await home.start()
        async with home.client() as client:
            lease = await client.lease(home.account)
        await crowd.report(lease.generation - 1, [20.0] * REPORTERS)
        truth.sandbox.faults.add(Target.TOKEN, Delay(seconds=20.0))
        said = await crowd.report(lease.generation, [1.0] * REPORTERS)
        assert {each.body["code"] for each in said} == {"deadline_exceeded"}
        assert truth.posts == 1
        return [each.late for each in said]
