import asyncio
import gc
import logging

import pytest

from broker.observe.tasks import spawn


async def test_a_task_has_a_name_and_a_result() -> None:
    async def work() -> int:
        return 7

    task = spawn(work(), name="job")
    assert task.get_name() == "job"
    assert await task == 7


async def test_a_task_nobody_holds_still_ends() -> None:
    done: list[bool] = []
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.append(True)

    spawn(work(), name="job")
    await asyncio.sleep(0)
    gc.collect()
    gate.set()
    await asyncio.sleep(0.01)
    assert done == [True]


async def test_an_error_nobody_fetched_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("broken")

    task = spawn(work(), name="job")
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == ["task failed"]


async def test_a_cancelled_task_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    task = spawn(asyncio.sleep(60), name="job")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert caplog.records == []
