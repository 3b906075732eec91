import asyncio
import contextlib

import pytest

from broker.daemon.work import Work
from broker.model.errors import BrokerError, ErrorCode


async def test_work_goes_on_when_its_caller_goes_away() -> None:
    work, gate, done = Work(), asyncio.Event(), []

    async def change() -> None:
        await gate.wait()
        done.append(1)

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(work.finish(change(), name="change"), 0.01)
    assert await work.drain(0.01) == 1
    gate.set()
    assert await work.drain(5) == 0
    assert done == [1]


async def test_results_and_refusals_come_back_and_a_refusal_is_no_fault_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def gives() -> int:
        return 7

    async def refuses() -> int:
        raise BrokerError(ErrorCode.STORAGE_UNWRITABLE, "full")

    work = Work()
    assert await work.finish(gives(), name="gives") == 7
    with pytest.raises(BrokerError, match="full"):
        await work.finish(refuses(), name="refuses")
    assert caplog.records == []
    assert await work.drain(0) == 0
