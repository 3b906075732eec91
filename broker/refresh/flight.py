"""Single-flight: any number of callers, one task an account.

Owns: the tasks under way, and waiting for the first of two things. It must never cancel a refresh because a caller went away: one that is cut off
half-way can cost the user a login.
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
        self._waiters: dict[asyncio.Task[None], set[asyncio.Future[bool]]] = {}

    def join(self, account: AccountId, work: Callable[[], Coroutine[object, object, None]]) -> "asyncio.Task[None]":
        """Return the account's running task; start `work` where there is none."""
        task = self._tasks.get(account)
        if task is None:
            task = spawn(work(), name=f"refresh-{account.provider}")
            self._tasks[account] = task
            self._waiters[task] = set()
            task.add_done_callback(lambda ended: self._ended(account, ended))
        return task

    async def wait(self, task: "asyncio.Task[None]", seconds: float) -> bool:
        """Wait for a task `join` returned without owning it; tell whether it ended in time. A cancelled waiter leaves it running.

        Thousands may wait for one task, so that a waiter costs a future and a timer and no more: `asyncio.wait` looks through all of a task's
        waiters whenever one goes.
        """
        waiters = self._waiters.get(task)
        if waiters is None:
            return True
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        timer = loop.call_later(max(seconds, 0.0), _release, waiter, False)
        waiters.add(waiter)
        try:
            return await waiter
        finally:
            timer.cancel()
            waiters.discard(waiter)

    def _ended(self, account: AccountId, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(account, None)
        for waiter in self._waiters.pop(task):
            _release(waiter, True)

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


async def either(wait: Coroutine[object, object, None], event: asyncio.Event) -> bool:
    """Run `wait` to its end, or until `event` is set; tell whether it came to its end."""
    sleeping = spawn(wait, name="refresh-sleep")
    woken = spawn(_wait_event(event), name="refresh-wake")
    try:
        await asyncio.wait([sleeping, woken], return_when=asyncio.FIRST_COMPLETED)
        return sleeping.done()
    finally:
        sleeping.cancel()
        woken.cancel()


async def _wait_event(event: asyncio.Event) -> None:
    await event.wait()


def _release(waiter: "asyncio.Future[bool]", ended: bool) -> None:
    if not waiter.done():
        waiter.set_result(ended)
