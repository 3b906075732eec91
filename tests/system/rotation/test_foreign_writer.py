"""Another program writes the same file at random moments of a rotation: no field and no grant of either side is lost.

Each interleaving is one rotation of ours, with all its steps on a real directory, and one write of a thread that knows nothing of locks: it reads the
file, changes something, and writes it back in the manner it was given, after a pause of its own.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
from broker.store.base import SupersededError
from broker.store.store import FileStore
from tests.contract.store_contract import ALICE, record, tokens
from tests.fakes.disk import FileHarness
from tests.system.rotation.figures import Figure

SEED = int(os.environ.get("ROTATION_SEED", "20250601"))
LONGEST_SECONDS = 0.02  # a rotation takes about that long
SETTLED_WITHIN = 30.0  # some milliseconds; a busy machine has all the time it needs


def in_place(path: Path, text: str, chance: random.Random) -> None:
    with path.open("r+") as file:
        file.write(text)
        file.truncate()


def truncating(path: Path, text: str, chance: random.Random) -> None:
    with path.open("w") as file:
        for at in range(0, len(text), 200):
            file.write(text[at : at + 200])
            file.flush()
            time.sleep(chance.random() * 0.001)


def renaming(path: Path, text: str, chance: random.Random) -> None:
    temporary = path.with_suffix(".foreign")
    temporary.touch(0o600)
    temporary.write_text(text)
    temporary.replace(path)


MANNERS: dict[str, Callable[[Path, str, random.Random], None]] = {
    "in place": in_place,
    "truncating": truncating,
    "renaming": renaming,
}


class Foreign:
    """The other program."""

    def __init__(self, path: Path, chance: random.Random) -> None:
        self.path = path
        self.chance = chance
        self.fields: dict[str, object] = {}
        self.logins = 0
        self.manners: Counter[str] = Counter()

    def write(self, number: int) -> str | None:
        """Add a field or change one; one time in five write a login of its own. Returns that login's refresh token."""
        chance, login = self.chance, None
        time.sleep(chance.random() * LONGEST_SECONDS)
        document = json.loads(self.path.read_bytes())
        name = chance.choice([f"x_field_{number}", "priority"])
        document[name] = self.fields[name] = number
        if chance.random() < 0.2:
            self.logins += 1
            login = f"fake-refresh-login-{self.logins}"
            document |= {"refresh_token": login, "access_token": f"fake-access-login-{self.logins}"}
        time.sleep(chance.random() * LONGEST_SECONDS / 2)
        manner = chance.choice(sorted(MANNERS))
        self.manners[manner if login is None else f"login {manner}"] += 1
        MANNERS[manner](self.path, json.dumps(document), chance)
        return login


async def rotate(store: FileStore, number: int, harness: FileHarness) -> tuple[str, str | None]:
    """One rotation; returns the refresh token it spent and the one it stored, None where a newer grant was there."""
    async with store.lock(ALICE, 10.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        spent = entry.record.tokens.refresh_token
        assert spent is not None
        rotation = await store.begin_rotation(lock, entry, harness.clock.now())
        rotation.record_answer(HttpResponse(200, {}, b"{}"))
        await rotation.sync()
        grant = tokens(number)
        try:
            await store.put(lock, grant, entry.generation, harness.clock.now())
        except SupersededError:
            grant = None  # type: ignore[assignment]
        await store.clear_rotation(lock)
    return spent.reveal(), grant and grant.refresh_token and grant.refresh_token.reveal()


async def interleave(tmp_path: Path, count: int, figure: Figure) -> None:
    harness, began = FileHarness(tmp_path), time.monotonic()
    harness.write(record())
    store = await harness.open()
    foreign = Foreign(harness.path(ALICE), random.Random(SEED))
    newest, lost_grants, lost_fields, superseded = "fake-refresh-1", 0, 0, 0
    for number in range(2, count + 2):
        writing = asyncio.create_task(asyncio.to_thread(foreign.write, number))
        await asyncio.sleep(foreign.chance.random() * LONGEST_SECONDS)
        spent, stored = await rotate(store, number, harness)
        login = await writing
        superseded += stored is None
        # A login is the newest grant whenever it was written, unless the rotation spent that very login.
        newest = stored or newest if login is None or spent == login else login

        def settled(wanted: str = newest) -> bool:
            try:
                document = harness.plain(foreign.path)
            except ValueError:
                return False
            known = store.get(ALICE)
            return (
                document["refresh_token"] == wanted
                and foreign.fields.items() <= document.items()
                and known is not None
                and known.record.tokens.refresh_token == Secret(wanted)
            )

        limit = time.monotonic() + SETTLED_WITHIN
        while not settled() and time.monotonic() < limit:
            await asyncio.sleep(0.002)
        document = harness.plain(foreign.path)
        lost_grants += document["refresh_token"] != newest
        missing = {name: value for name, value in foreign.fields.items() if document.get(name) != value}
        lost_fields += len(missing)
        for name in missing:
            del foreign.fields[name]
        newest = str(document["refresh_token"])
    await store.close()
    ways = ", ".join(f"{n} {name}" for name, n in sorted(foreign.manners.items()))
    figure(
        f"foreign writer: {count} interleavings (seed {SEED}, {time.monotonic() - began:.0f} s; {ways}; {superseded} rotations gave way to a newer "
        f"login): {lost_fields} lost fields, {lost_grants} lost grants"
    )
    assert (lost_fields, lost_grants) == (0, 0)
    assert sorted(file.name for file in harness.auth.iterdir()) == [".ccs-broker", foreign.path.name]


@pytest.mark.timeout(240)
async def test_a_hundred_interleavings_lose_nothing(tmp_path: Path, figure: Figure) -> None:
    await interleave(tmp_path, 100, figure)


@pytest.mark.faults
@pytest.mark.timeout(1800)
async def test_a_thousand_interleavings_lose_nothing(tmp_path: Path, figure: Figure) -> None:
    await interleave(tmp_path, 1000, figure)
