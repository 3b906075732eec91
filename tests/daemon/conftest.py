from collections.abc import AsyncIterator

import pytest

from tests.fakes.broker import ANN, BOB, Running, running_daemon


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A daemon with two accounts."""
    async with running_daemon(ANN, BOB) as made:
        yield made
