"""A running sandbox and a client for it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SandboxSettings(onboarded=True)) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session
