"""Another program writes the same file all the time: nothing of either side is lost (promise P4)."""

import asyncio
import sys
from pathlib import Path

import pytest

from broker.model.secret import Secret
from broker.store.base import StorageError
from tests.contract.store_contract import ALICE, record, tokens
from tests.fakes.disk import FileHarness

# Reads the file, adds one field, waits a moment, writes it back: with the grant it read, which may be old by then.
FOREIGN = """
import json, os, random, sys, time
path, how, seed, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
chance = random.Random(seed)
for number in range(count):
    with open(path) as file:
        document = json.load(file)
    document[f"foreign-{number}"] = number
    time.sleep(chance.random() * 0.004)
    text = json.dumps(document)
    if how == "rename":
        with open(path + ".tmp", "w") as file:
            file.write(text)
        os.chmod(path + ".tmp", 0o600)
        os.replace(path + ".tmp", path)
    else:
        with open(path, "w") as file:
            for at in range(0, len(text), 64):
                file.write(text[at:at + 64])
                file.flush()
    time.sleep(chance.random() * 0.004)
print("done")
"""


@pytest.mark.parametrize("how", ["rename", "truncate"])
async def test_a_hundred_writes_of_each_side_at_once(tmp_path: Path, how: str) -> None:
    harness = FileHarness(tmp_path)
    harness.write(record())
    store = await harness.open()
    path = harness.path(ALICE)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FOREIGN, str(path), how, "7", "100", stdout=asyncio.subprocess.PIPE
    )
    done = asyncio.ensure_future(process.communicate())
    number = 1
    while not done.done() or number < 50:
        number += 1
        async with store.lock(ALICE, 10.0) as lock:
            entry = await store.reread(lock)
            assert entry is not None
            assert entry.record.tokens.refresh_token == Secret(f"fake-refresh-{number - 1}")
            while True:
                try:
                    await store.put(lock, tokens(number), entry.generation, harness.clock.now())
                except StorageError as error:
                    assert "without a pause" in error.detail  # noqa: PT017
                else:
                    break
        await asyncio.sleep(0)
    assert (await done)[0] == b"done\n"
    expected = {f"foreign-{n}" for n in range(100)} | {f"fake-refresh-{number}"}
    for _ in range(300):
        stored = harness.plain(path)
        missing = expected - stored.keys() - {stored["refresh_token"]}
        if not missing:
            break
        await asyncio.sleep(0.01)
    assert missing == set()
    assert stored["access_token"] == f"fake-access-{number}"
    entry = store.get(ALICE)
    assert entry is not None
    assert entry.record.tokens.refresh_token == Secret(f"fake-refresh-{number}")
    await store.close()
    assert sorted(file.name for file in harness.auth.iterdir()) == [".ccs-broker", path.name]
