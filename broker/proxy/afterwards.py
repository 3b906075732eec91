"""What can wait until the answers of this turn of the event loop are on their way.

Owns: `Afterwards`. One kind of work at a time costs little more than half of what it does in between others, as its code and data stay in the processor's
caches; and no client waits for it. It must never be given what an answer, or another request, depends on.
"""

import asyncio
import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Afterwards:
    """Steps to take before the event loop waits for anything again."""

    __slots__ = ("_loop", "_steps")

    def __init__(self) -> None:
        """Nothing is to be done yet; must be made inside a running loop."""
        self._loop = asyncio.get_running_loop()
        self._steps: list[Callable[[], None]] = []

    def add(self, step: Callable[[], None]) -> None:
        """Take `step` when this turn is over, after those that were added before. One that fails is logged, and keeps no other from being taken."""
        if not self._steps:
            self._loop.call_soon(self._take)
        self._steps.append(step)

    def _take(self) -> None:
        steps, self._steps = self._steps, []
        for step in steps:
            try:
                step()
            except Exception:  # noqa: BLE001 - a step is its giver's
                _log.exception("what was left to do after an answer failed")
