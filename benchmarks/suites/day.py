"""24 hours of the refresh engine with 1,000 accounts on a clock that jumps from one moment something is due to the next.

`python -m benchmarks.suites.day ACCOUNTS HOURS` is the day itself, in a process of its own, whose memory is read at the end of every hour. Engine, plan,
single-flight, pacing and the table of accounts are the program's; disk, clock and token endpoint are the tests' (a dictionary, a number, and a function).
"""

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks import bars, machine
from benchmarks.harness import Contest, Metric, Outcome
from benchmarks.suites import Context
from broker.config import RefreshConfig
from broker.model.account import AccountId, Generation, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.refresh.engine import Engine
from broker.store.base import Entry, Lock
from broker.store.codec import Parsed
from broker.store.image import content_of
from broker.store.reading import Reading
from broker.store.shelf import Shelf
from broker.store.state import Row
from broker.store.table import Place, Source
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
            Metric("slope", "MiB/day"),
            Metric("blocks", ""),
            Metric("cpu", "s"),
        ),
        {"plan": plan, "engine": engine},
        "plan",
        bars.of("day"),
        [
            f"tokens live one hour, eight or ten days, a third each, and are to be renewed {LEAD_SECONDS:g} s before their end; they begin at all ages",
            "missed: tokens whose end came before their renewal; cpu: of it all",
            f"grown: resident memory at the last hour beyond that at hour {_WARM_HOURS}; slope: of the line through all these hours",
            "blocks: allocations more, each account",
            "the file store's table remembers of each account the fingerprints of its last 64 generations and of its last 256 grants: 6 KB in the end",
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
        self,
        request: HttpRequest,
        *,
        connected: Callable[[], Awaitable[None]] | None = None,
        heard: Callable[[HttpResponse], None] | None = None,
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
        answer = HttpResponse(200, {"content-type": "application/json"}, json.dumps(body).encode())
        if heard is not None:
            heard(answer)
        return answer


class Store(MemoryStore):
    """The tests' store, with the file store's table beside it: that is what remembers, for each account, what it had before."""

    def __init__(self, disk: MemoryDisk, clock: FakeClock) -> None:
        super().__init__(disk, clock)
        self._table = Shelf(("/auth",), clock, _forgotten)

    async def open(self) -> None:
        await super().open()
        self._table.accept([_reading(entry) for entry in self.entries().values()])

    async def put(self, lock: Lock, tokens: Tokens, expected: Generation, now: Now) -> Entry:
        """Put a grant away as the file store does."""
        before = self.entries()[lock.account]
        entry = await super().put(lock, tokens, expected, now)
        self._digests[entry.account] = {entry.generation: tokens.refresh_digest()}  # the fake remembers without end
        self._table.note_replaced(entry.account, before.record.tokens, entry.record.tokens)
        self._table.accept([_reading(entry)])
        return entry


_PROVIDER = FakeProvider()


def _reading(entry: Entry) -> Reading:
    place = Place(0, f"{entry.account.label}.json")
    text = json.dumps({"type": "fake", "generation": entry.generation})
    return Reading(Source(place, content_of(text.encode()), entry.record), _PROVIDER, Parsed(text))


def _forgotten(_rows: Iterable[Row]) -> None:
    """The state database is not measured."""


async def _day(accounts: int, hours: int) -> dict[str, float]:
    clock, disk = FakeClock(), MemoryDisk()
    endpoint = Endpoint(clock)
    for number in range(accounts):
        name = f"fake-refresh-{number}"
        left = left_at_start(number, accounts)
        endpoint.ends[name] = clock.wall + left
        tokens = Tokens(Secret(f"fake-access-{number}"), Secret(f"{name}-0"), expires_at=clock.wall + left)
        disk.write(Record(AccountId("fake", f"user{number}@example.com"), tokens))
    store = Store(disk, clock)
    await store.open()
    registry = FakeRegistry(FakeProvider())
    engine = Engine(store, registry, endpoint, Clients(), clock, FakeChance(0.0), RefreshConfig())
    await engine.start()
    await settle()
    memory: list[float] = []
    blocks: list[float] = []
    for _ in range(hours):
        await clock.run(_HOUR_SECONDS)
        disk.log.clear()  # the fake disk notes what it did
        gc.collect()
        memory.append(machine.memory_mib(machine.OWN))
        blocks.append(float(sys.getallocatedblocks()))
    missed = endpoint.missed + sum(end <= clock.wall for end in endpoint.ends.values())
    cpu = machine.cpu_seconds(machine.OWN)
    await engine.stop()
    warm = min(_WARM_HOURS, hours) - 1
    return {
        "refreshes": endpoint.posts,
        "missed": missed,
        "grown": max(0.0, memory[-1] - memory[warm]),
        "slope": 24 * slope(memory[warm:]),
        "blocks": (blocks[-1] - blocks[warm]) / accounts,
        "cpu": cpu,
        **{f"hour {number + 1}": memory[number] for number in range(hours)},
    }


def slope(values: Sequence[float]) -> float:
    """Return how much a series rises from one value to the next, by least squares."""
    middle = (len(values) - 1) / 2
    spread = sum((at - middle) ** 2 for at in range(len(values)))
    return sum((at - middle) * value for at, value in enumerate(values)) / spread if spread else 0.0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_day(int(sys.argv[1]), int(sys.argv[2])))))
