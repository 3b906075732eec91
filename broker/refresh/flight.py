"""Single-flight: any number of callers, one task an account.

Owns: the tasks under way. It must never cancel one because a caller went away: a refresh that is cut off half-way can cost the user a login.
"""

import asyncio
from collections.abc import Callable, Coroutine

from broker.model.account import AccountId
from broker.observe.tasks import spawn


class Flights:
    """The work under way, one task an account at most."""

    def __init__(self) -> None:
        """Start with none."""
        self._tasks: dict[AccountId, asyncio.Task[None]] = {}

    def join(self, account: AccountId, work: Callable[[], Coroutine[object, object, None]]) -> "asyncio.Task[None]":
        """Return the account's running task; start `work` where there is none."""
        task = self._tasks.get(account)
        if task is None:
            task = spawn(work(), name=f"refresh-{account.provider}")
            self._tasks[account] = task
            task.add_done_callback(lambda _: self._tasks.pop(account, None))
        return task

    def running(self, account: AccountId) -> bool:
        """Tell whether the account has a task that has not ended; one that has may still be in the table for a turn of the event loop."""
        task = self._tasks.get(account)
        return task is not None and not task.done()

    def __len__(self) -> int:
        return len(self._tasks)

    async def drain(self, seconds: float) -> int:
        """Wait for all tasks, at most `seconds`; return how many are still running."""
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=seconds)
        return len(self._tasks)


async def wait_for(task: "asyncio.Task[None]", seconds: float) -> bool:
    """Wait for a shared task without owning it; tell whether it ended in time.

    A cancelled waiter leaves the task running: `asyncio.wait` never cancels what it waits for.
    """
    done, _ = await asyncio.wait([task], timeout=max(seconds, 0.0))
    return bool(done)
