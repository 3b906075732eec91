"""Starting background work.

Owns: `spawn`, the only way a task is created (`asyncio.create_task` is a lint error). The event loop keeps weak references to
tasks only: one that nobody holds can vanish half-way, and with it a refresh whose token is already spent.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)
_running: set[asyncio.Task[object]] = set()


def spawn(work: Coroutine[object, object, T], *, name: str) -> asyncio.Task[T]:
    """Run `work` in a task called `name`, hold it until it ends, and log an exception nobody fetched.

    The caller owns cancelling it.
    """
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


def _ended(task: "asyncio.Task[T]") -> None:
    _running.discard(task)
    if task.cancelled():
        return
    if (error := task.exception()) is not None:
        _log.error("task failed", extra={"task": task.get_name(), "error": type(error).__name__}, exc_info=error)
