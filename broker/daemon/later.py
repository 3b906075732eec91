"""Parts that are made when they are first asked for.

Owns: loading what logging in needs (a tenth of a start, for what a person does once a month), in a thread, so that leases go on meanwhile. It must never make
a part twice.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Generic, TypeVar

from broker.providers.native.base import Native

T = TypeVar("T")


class Later(Generic[T]):
    """A part that lives in `module` and is made by `make`, which may then import it at no cost. Used on one event loop."""

    def __init__(self, module: str, make: Callable[[], T]) -> None:
        """Make nothing yet."""
        self._module = module
        self._make = make
        self.made: T | None = None
        """The part, where it has been asked for."""

    async def get(self) -> T:
        """Return the part."""
        if self.made is None:
            await asyncio.to_thread(import_module, self._module)
        if self.made is None:  # another caller may have come first
            self.made = self._make()
        return self.made


class Formats(Mapping[str, Native]):
    """`broker.providers.native.table.FORMATS`, read when a login is shared with another program."""

    def __getitem__(self, tool: str) -> Native:
        return _formats()[tool]

    def __iter__(self) -> Iterator[str]:
        return iter(_formats())

    def __len__(self) -> int:
        return len(_formats())


def _formats() -> Mapping[str, Native]:
    from broker.providers.native.table import FORMATS  # noqa: PLC0415

    return FORMATS
