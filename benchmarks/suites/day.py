"""24 hours of the refresh engine with 1,000 accounts on a clock that jumps from one moment something is due to the next.

`python -m benchmarks.suites.day ACCOUNTS HOURS` is the day itself, in a process of its own, whose memory is read at the end of every hour. Engine, plan,
single-flight and pacing are the program's; store, clock and token endpoint are the tests' (a dictionary, a number, and a function).
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks import bars, machine
from benchmarks.harness import Contest, Metric, Outcome
from benchmarks.suites import Context
from broker.config import RefreshConfig
from broker.model.account import AccountId, Record, Tokens
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.refresh.engine import Engine
from tests.fakes.clock import FakeChance, FakeClock, settle
from tests.fakes.memory_store import MemoryDisk, MemoryStore
from tests.fakes.provider import FakeProvider, FakeRegistry
from tests.refresh.harness import Clients

_HOUR_SECONDS = 3600.0
LIVES_SECONDS = (_HOUR_SECONDS, 8 * _HOUR_SECONDS, 240 * _HOUR_SECONDS)
"""How long tokens live: as Google's, Anthropic's and OpenAI's do, a third of the accounts each."""

LEAD_SECONDS = 300.0
_WARM_HOURS = 4  # what is allocated once is allocated by then
_LIMIT_SECONDS = 600


async def run(context: Context) -> list[Outcome]:
    """Let a day pass with 1,000 accounts (quick: half a day with 50)."""
    accounts, hours = (50, 12) if context.quick else (1000, 24)

    async def engine() -> dict[str, float]:
        command = [sys.executable, "-m", __name__, str(accounts), str(hours)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=True, timeout=_LIMIT_SECONDS
        )
        return {name: float(value) for name, value in json.loads(done.stdout).items()}

    async def plan() -> dict[str, float]:
        return {"refreshes": float(planned(accounts, hours))}

    contest = Contest(
        "day",
        f"{hours} hours with {accounts:,} accounts on a simulated clock",
        (
            Metric("refreshes", ""),
            Metric("missed", ""),
            Metric("grown", "MiB"),
            Metric("cpu", "s"),
        ),
        {"plan": plan, "engine": engine},
        "plan",
        bars.of("day"),
        [
            f"tokens live one hour, eight or ten days, a third each, and are to be renewed {LEAD_SECONDS:g} s before their end; they begin at all ages",
            f"missed: tokens whose end came before their renewal; grown: resident memory from hour {_WARM_HOURS} on; cpu: of it all",
            "the store notes a digest for each generation of an account, as the file store does for the last 64",
        ],
    )
    return [await contest.run(1)]


def life(number: int) -> float:
    """Return how many seconds an account's tokens live."""
    return LIVES_SECONDS[number % len(LIVES_SECONDS)]


def left_at_start(number: int, accounts: int) -> float:
    """Return how many seconds an account's first token has: spread over its life, and enough not to be due at once."""
    return LEAD_SECONDS + (life(number) - LEAD_SECONDS) * (number + 1) / accounts


def planned(accounts: int, hours: int) -> int:
    """Return how many refreshes there have to be: each token is renewed when its lead begins."""
    span, due = hours * _HOUR_SECONDS, 0
    for number in range(accounts):
        first = left_at_start(number, accounts) - LEAD_SECONDS
        due += 1 + int((span - first) // (life(number) - LEAD_SECONDS)) if first <= span else 0
    return due


@dataclass
class Endpoint:
    """A token endpoint for all accounts: rotates, and knows whose token had already ended."""

    clock: FakeClock
    ends: dict[str, float] = field(default_factory=dict)
    posts: int = 0
    missed: int = 0

    def on_behalf(self, _provider: str, _own: Secret | None = None) -> "Endpoint":
        """One way for all."""
        return self

    async def send(
        self, request: HttpRequest, *, connected: Callable[[], Awaitable[None]] | None = None
    ) -> HttpResponse:
        """Answer a refresh."""
        if connected is not None:
            await connected()
        assert request.form is not None
        presented = request.form["refresh_token"]
        assert isinstance(presented, Secret)
        name, _, number = presented.reveal().rpartition("-")
        now = self.clock.wall
        self.posts += 1
        self.missed += self.ends[name] <= now
        lives = life(int(name.rpartition("-")[2]))
        self.ends[name] = now + lives
        body = {
            "access_token": f"fake-access-{self.posts}",
            "refresh_token": f"{name}-{int(number) + 1}",
            "expires_in": lives,
        }
        return HttpResponse(200, {"content-type": "application/json"}, json.dumps(body).encode())


async def _day(accounts: int, hours: int) -> dict[str, float]:
    clock, disk = FakeClock(), MemoryDisk()
    endpoint = Endpoint(clock)
    for number in range(accounts):
        name = f"fake-refresh-{number}"
        left = left_at_start(number, accounts)
        endpoint.ends[name] = clock.wall + left
        tokens = Tokens(Secret(f"fake-access-{number}"), Secret(f"{name}-0"), expires_at=clock.wall + left)
        disk.write(Record(AccountId("fake", f"user{number}@example.com"), tokens))
    store = MemoryStore(disk, clock)
    await store.open()
    registry = FakeRegistry(FakeProvider())
    engine = Engine(store, registry, endpoint, Clients(), clock, FakeChance(0.0), RefreshConfig())
    await engine.start()
    await settle()
    memory: list[float] = []
    for _ in range(hours):
        await clock.run(_HOUR_SECONDS)
        disk.log.clear()  # the fake disk notes what it did
        memory.append(machine.memory_mib(machine.OWN))
    missed = endpoint.missed + sum(end <= clock.wall for end in endpoint.ends.values())
    cpu = machine.cpu_seconds(machine.OWN)
    await engine.stop()
    return {
        "refreshes": endpoint.posts,
        "missed": missed,
        "grown": max(0.0, memory[-1] - memory[min(_WARM_HOURS, hours) - 1]),
        "cpu": cpu,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_day(int(sys.argv[1]), int(sys.argv[2])))))
