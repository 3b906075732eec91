"""Work that is done to its end, whoever asked for it and then went away.

Owns: the changes under way. A logout cut off between revoking and removing would leave a dead login on disk.
"""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from broker.model.errors import BrokerError
from broker.observe.tasks import spawn

T = TypeVar("T")


class Work:
    """The changes under way."""

    def __init__(self) -> None:
        """Start with none."""
        self._tasks: set[asyncio.Task[object]] = set()

    async def finish(self, work: Coroutine[object, object, T], *, name: str) -> T:
        """Do `work` to its end; only the waiting for it is cancelled with the caller."""
        task = spawn(_outcome(work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        result = await asyncio.shield(task)
        if isinstance(result, BrokerError):
            raise result
        return result

    async def drain(self, seconds: float) -> int:
        """Wait for what is under way, `seconds` at most; return how much is left."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=seconds)
        return len(self._tasks)


async def _outcome(work: Coroutine[object, object, T]) -> T | BrokerError:
    # A refusal is an answer, not a fault: `spawn` would log it as one.
    try:
        return await work
    except BrokerError as error:
        return error
