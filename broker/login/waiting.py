"""Waiting with a limit.

Owns: the one wait of this room, on the clock it is given.
"""

import asyncio
from collections.abc import Awaitable

from broker.model.clock import Clock
from broker.observe.tasks import spawn


async def within(clock: Clock, work: Awaitable[object], seconds: float, name: str) -> bool:
    """Wait for `work` at most so long; tell whether it was done. It is cancelled where it was not."""

    async def waited() -> None:
        await work

    task = spawn(waited(), name=name)
    timer = spawn(clock.sleep(seconds), name=f"{name}-timer")
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
        return task.done()
    finally:
        task.cancel()
        timer.cancel()
