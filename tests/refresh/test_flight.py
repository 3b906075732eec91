import asyncio

import pytest

from broker.model.account import AccountId
from broker.observe.tasks import spawn
from broker.refresh.flight import Flights

ALICE = AccountId("fake", "alice")
BOB = AccountId("fake", "bob")


async def test_callers_of_one_account_share_a_task() -> None:
    flights, gate, runs = Flights(), asyncio.Event(), []

    async def work() -> None:
        runs.append(1)
        await gate.wait()

    first, second, other = flights.join(ALICE, work), flights.join(ALICE, work), flights.join(BOB, work)
    assert first is second
    assert other is not first
    assert len(flights) == 2
    gate.set()
    await first
    assert not flights.running(ALICE)
    await other


async def test_a_cancelled_waiter_leaves_the_work_running() -> None:
    flights, gate = Flights(), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    task = flights.join(ALICE, work)
    waiter = spawn(flights.wait(task, 60), name="waiter")
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert not task.cancelled()
    gate.set()
    assert await flights.wait(task, 60)


async def test_each_waiter_has_its_own_deadline() -> None:
    flights, gate = Flights(), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    task = flights.join(ALICE, work)
    assert not await flights.wait(task, 0)
    assert not await flights.wait(task, -5)
    gate.set()
    assert await flights.wait(task, 60)


async def test_drain_counts_what_is_still_under_way() -> None:
    flights, gate = Flights(), asyncio.Event()

    async def work() -> None:
        await gate.wait()

    assert await flights.drain(0) == 0
    task = flights.join(ALICE, work)
    assert await flights.drain(0) == 1
    gate.set()
    assert await flights.drain(60) == 0
    await task
