"""Killing daemons in the middle of rotations, and what is left of the login afterwards.

A life: start, check what the last kill left, rotate, die. What became of the login is read from the disk and from what the server knows, not from
what the daemon says; the daemon's word comes second, after the restart.
"""

import asyncio
import contextlib
import json
import os
import random
import select
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from broker.ipc.schema import Report
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Digest, Secret
from broker.store import rotation
from tests.system.rotation.homes import FIELDS, ROOT, Home, until
from tests.system.rotation.launcher import HEARD, POINTS

SERVER = "post:rotated"
"""The one point that is not in the daemon: the server has rotated and not answered yet."""

RANDOM = "random"
PLAIN_SHARE = 0.5  # of the kills at random times; the others leave a trace of how far they came
ALL = (*POINTS, SERVER)
BOUNDARY = ALL.index("answer:arrived")
RECOVERY = ("lock:before", "lock:after", "reread:after", *POINTS[POINTS.index("file:write1") :])


class Left(StrEnum):
    """What a kill left of a login."""

    SAFE = "safe"  # the newest grant is in the file, and no record says that it may have been spent
    IN_DOUBT = "in doubt"  # the newest grant is in the file; a record says that it may have been spent
    RECORDED = "recorded"  # the newest grant is in the journal only
    LOST = "lost"  # the newest grant never reached a write


class Came(StrEnum):
    """How far an answer came that never reached a write."""

    ARRIVED = "had arrived in the process"
    AWAY = "had not arrived"
    UNKNOWN = "may have arrived (the plain program leaves no trace)"


def may_leave(point: str) -> set[Left]:
    """Return what a kill at a point leaves: exactly one thing, while one at a random time may leave any."""
    if point == RANDOM:
        return set(Left)
    if point in {"answer:arrived", SERVER}:
        return {Left.LOST}
    if point in {"answer:written", "answer:synced", "file:write1", "file:fsync1"}:
        return {Left.RECORDED}
    presented = POINTS.index("mark:fsync1") <= POINTS.index(point) < BOUNDARY
    return {Left.IN_DOUBT if presented else Left.SAFE}


@dataclass
class Tally:
    """What was seen over all kills."""

    kills: Counter[str] = field(default_factory=Counter)
    left: Counter[Left] = field(default_factory=Counter)
    lost: Counter[Came] = field(default_factory=Counter)
    lost_on_purpose: int = 0
    recorded: int = 0
    forgotten: int = 0
    at_start: int = 0
    spent_once: Counter[Came] = field(default_factory=Counter)
    torn: int = 0
    replays: int = 0
    windows: list[float] = field(default_factory=list)  # microseconds

    @property
    def total(self) -> int:
        return self.kills.total()


class Foundry:
    """The launcher process, which forks daemons."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()
        self._forked: list[Victim] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls) -> AsyncIterator["Foundry"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.system.rotation.launcher", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        foundry = cls(process)
        try:
            yield foundry
        finally:
            for victim in foundry._forked:  # a test that failed leaves some
                victim.kill()
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def launch(self, home: Home, point: str | None, *, plain: bool = False) -> "Victim":
        """Start a daemon that dies at `point`; a plain one is the program as users start it."""
        if plain:
            return Victim((await home.spawn()).pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {
            "point": point, "armed": str(home.folder / "armed"), "fault": str(home.folder / "fault"), "trace": str(home.folder / "trace"),
            "env": home.environ, "log": str(home.folder / "daemon.log"), "cwd": str(home.folder),
        }  # fmt: skip
        async with self._turn:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            victim = Victim(int(await self._process.stdout.readline()))
        self._forked = [each for each in self._forked if each.alive] + [victim]
        return victim


class Victim:
    """A daemon that is nobody's child here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        with contextlib.suppress(ProcessLookupError):
            self._fd = os.pidfd_open(pid)

    @property
    def alive(self) -> bool:
        return self._fd >= 0 and not select.select([self._fd], [], [], 0)[0]

    async def answers(self, home: Home) -> bool:
        """Wait until it answers; false where it died first."""
        return await home.answering(lambda: self.alive)

    def kill(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    async def gone(self) -> None:
        await until(lambda: not self.alive, within=30, step=0.002)
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass
class Worker:
    """One home in which a daemon is killed again and again."""

    home: Home
    foundry: Foundry
    tally: Tally
    chance: random.Random
    last: Left = Left.SAFE
    came: Came = Came.AWAY  # how far the answer came that the last kill lost
    before: Digest | None = None  # what the file held before the last rotation
    generation: int = 0
    served: Secret | None = None

    @property
    def armed(self) -> Path:
        return self.home.folder / "armed"

    @property
    def trace(self) -> Path:
        return self.home.folder / "trace"

    async def life(self, point: str) -> None:
        """One kill at `point`; where the last one left work for the next start, often one more in the midst of that."""
        if self.last is not Left.SAFE and self.chance.random() < 0.5:
            await self.strike_at_start(self.chance.choice(RECOVERY))
        self.armed.unlink(missing_ok=True)
        plain = point == RANDOM and self.chance.random() < PLAIN_SHARE
        victim = await self.foundry.launch(self.home, point if point in POINTS else None, plain=plain)
        assert await victim.answers(self.home), f"the daemon died by itself\n{self.home.log()}"
        await self.check()
        self.trace.write_bytes(b"")
        await self.rotate(point, victim)
        self.came = Came.UNKNOWN if plain else Came.ARRIVED if HEARD in self.trace.read_text().split() else Came.AWAY
        self.autopsy(point, at_start=False)

    async def strike_at_start(self, point: str) -> None:
        """Let a daemon die while it mends what the last kill left; one that does not come to `point` is killed when it answers."""
        self.armed.touch()
        victim = await self.foundry.launch(self.home, point)
        if await victim.answers(self.home):
            victim.kill()
        await victim.gone()
        self.tally.at_start += 1
        self.autopsy(point, at_start=True)

    async def rotate(self, point: str, victim: Victim) -> None:
        """Cause a rotation and let the daemon die in it."""
        self.before = self.home.refresh_digest()
        if point == SERVER:
            self.home.truth.witness.at_rotation[self.home.user] = victim.kill
        elif point in POINTS:
            self.armed.touch()
        async with self.home.client() as client:
            asking = asyncio.ensure_future(client.refresh(self.home.account))
            if point == RANDOM:
                await asyncio.sleep(self.chance.uniform(0, 0.1))
                victim.kill()
            done, _ = await asyncio.wait([asking], timeout=30)
            assert done, f"{point}: neither an answer nor a death\n{self.home.log()}"
            answered = asking.exception() is None
        await victim.gone()
        assert not answered or point in {RANDOM, "clear:after"}, point

    # --- what is left ---

    def autopsy(self, point: str, *, at_start: bool) -> None:
        """Read the disk after a death."""
        self.tally.kills[point] += 1
        left = self.left()
        if not at_start:
            self.tally.left[left] += 1
            assert left in may_leave(point), f"{point} left {left}; trace {self.steps()}"
            if left is Left.LOST:
                self.tally.lost[self.came] += 1
                self.tally.lost_on_purpose += point == "answer:arrived"
                assert self.came is not Came.AWAY or point in {SERVER, RANDOM}
            if left is Left.RECORDED:
                self.tally.recorded += 1
        else:
            # A kill during recovery may finish what was begun, and never make it worse.
            worse = {
                Left.SAFE: {Left.SAFE}, Left.RECORDED: {Left.RECORDED, Left.SAFE},
                Left.IN_DOUBT: {Left.IN_DOUBT, Left.SAFE}, Left.LOST: {Left.LOST},
            }  # fmt: skip
            assert left in worse[self.last], f"{self.last} became {left} by a kill during recovery at {point}"
        self.last = left

    def left(self) -> Left:
        """Compare the disk with what the server knows."""
        try:
            held, document = self.home.refresh_digest(), self.home.document()
        except (ValueError, KeyError, OSError):
            self.tally.torn += 1
            raise
        assert {name: document.get(name) for name in FIELDS} == FIELDS
        newest = self.home.truth.witness.current[self.home.user]
        intent, answer = self.pending()
        if held == newest:
            return Left.IN_DOUBT if intent is not None and intent.digest == held and intent.presented else Left.SAFE
        if answer is not None and Secret(json.loads(answer.body)["refresh_token"]).digest() == newest:
            return Left.RECORDED
        assert answer is None
        return Left.LOST

    def pending(self) -> tuple[rotation.Intent | None, rotation.Answer | None]:
        try:
            return rotation.decode(self.home.journal.read_bytes())
        except FileNotFoundError:
            return None, None

    def steps(self) -> str:
        return self.trace.read_text()[-600:] if self.trace.exists() else ""

    # --- what the next daemon makes of it ---

    async def check(self) -> None:
        """Hold the restarted daemon to what is possible."""
        witness = self.home.truth.witness
        replays = len(witness.replays)
        async with self.home.client() as client:
            view = await client.account(self.home.account)
            lease = await client.lease(self.home.account, min_validity=60, max_wait=20)
            assert self.home.truth.accepts(lease.access_token), f"{self.last}: a dead token was served"
            assert lease.generation >= self.generation
            assert lease.access_token == self.served or lease.generation > self.generation, (
                "a new token, an old generation"
            )
            if self.last in {Left.SAFE, Left.RECORDED}:
                assert view.state == "active", f"{self.last}: {view.state} {view.reason}\n{self.home.log()}"
                self.tally.forgotten += witness.current[self.home.user] != self.home.refresh_digest()
                assert not self.home.journal.exists()
            else:
                assert view.state == "ambiguous", f"{self.last}: {view.state} {view.reason}\n{self.home.log()}"
                lease = await self.settle(lease.generation) or lease
            self.generation, self.served = lease.generation, lease.access_token
        assert not list(self.home.auth.glob(".ccs-broker-*.tmp")), "a temporary file was left behind"
        mine = [digest for user, digest in witness.replays[replays:] if user == self.home.user]
        # The one replay there may be: a token whose successor never reached a write, once, when its access token is of no more use.
        self.tally.replays += sum(digest != self.before or self.last is not Left.LOST for digest in mine)
        self.last = Left.SAFE

    async def settle(self, generation: int) -> object:
        """Bring an ambiguous account to its end: its access token is rejected, or (where the grant is lost) a login comes."""
        async with self.home.client() as client:
            if self.last is Left.LOST and self.chance.random() < 0.5:
                self.home.plant()
            else:
                lost = self.last is Left.LOST
                report = Report(
                    account=str(self.home.account),
                    generation=generation,
                    outcome="rejected",
                    max_wait=20,
                    min_validity=60,
                )
                if lost:
                    with pytest.raises(BrokerError) as told:
                        await client.report(report)
                    assert told.value.code is ErrorCode.LOGIN_REQUIRED
                    assert (await client.account(self.home.account)).state == "needs_login"
                    self.tally.spent_once[self.came] += 1
                    self.home.plant()
                else:
                    answer = await client.report(report)
                    assert answer.lease is not None
                    assert self.home.truth.accepts(answer.lease.access_token)
            newest = self.home.truth.witness.current[self.home.user]

            async def taken() -> bool:
                view = await client.account(self.home.account)
                return view.state == "active" and self.home.refresh_digest() == newest and view.generation > generation

            await until(taken)
            return await client.lease(self.home.account, min_validity=60, max_wait=20)
