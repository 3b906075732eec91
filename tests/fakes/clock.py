"""Time and chance that do as they are told."""

import asyncio
import base64
import hashlib
import heapq
import itertools

from broker.model.clock import Now

START_WALL = 1_750_000_000.0
PAUSE_SECONDS = 10.0


class FakeClock:
    """A clock that moves only when told. Sleepers wake when it passes their time, in order."""

    def __init__(self, wall: float = START_WALL, boot: float = 1000.0) -> None:
        self.wall = wall
        self.boot = boot
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._nappers: list[asyncio.Future[None]] = []

    def now(self) -> Now:
        return Now(self.wall, self.boot)

    def wall_seconds(self) -> float:
        return self.wall

    @property
    def sleepers(self) -> int:
        """How many tasks wait on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await self._until(seconds)

    async def nap_until(self, boot: float) -> None:
        if boot <= self.boot:
            await asyncio.sleep(0)
            return
        future = self._until(boot - self.boot)
        self._nappers = [*(each for each in self._nappers if not each.done()), future]
        await future

    def _until(self, seconds: float) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.boot + seconds, next(self._order), future))
        return future

    def advance(self, seconds: float) -> None:
        """Move both clocks and wake whoever is due; what they then do happens when the caller next awaits."""
        self.wall += seconds
        self.boot += seconds
        while self._sleepers and self._sleepers[0][0] <= self.boot:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back, as NTP or a person does; whoever naps wakes."""
        self.wall += seconds
        for future in self._nappers:
            if not future.done():
                future.set_result(None)
        self._nappers = []

    async def run(self, seconds: float) -> None:
        """Let time pass, stopping at each sleeper's moment so that what it starts happens at the right time."""
        end = self.boot + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance(max(0.0, self._sleepers[0][0] - self.boot))
            await settle()
        self.advance(end - self.boot)
        await settle()


class LiveClock(FakeClock):
    """Readings move only when told, but sleeping really sleeps: for tests that wait for the kernel."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def nap_until(self, boot: float) -> None:
        await asyncio.sleep(boot - self.boot)


class HastyClock(LiveClock):
    """A live clock on which the pauses of a flow (polling, trying again) are over at once; deadlines, which are longer, are real."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.005 if seconds <= PAUSE_SECONDS else seconds)


class FakeChance:
    """Chance that repeats: `unit` goes round the given numbers, `token` is a hash of a counter."""

    def __init__(self, *units: float, seed: str = "fake") -> None:
        self._units = itertools.cycle(units or (0.5,))
        self._seed = seed
        self._counter = itertools.count()

    def unit(self) -> float:
        return next(self._units)

    def token(self, bytes_: int) -> str:
        raw = hashlib.shake_256(f"{self._seed}{next(self._counter)}".encode()).digest(bytes_)
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def settle(rounds: int = 20) -> None:
    """Let tasks that are ready run; 20 hand-overs are more than any chain of awaits in the program has."""
    for _ in range(rounds):
        await asyncio.sleep(0)
