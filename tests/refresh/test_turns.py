"""Siblings of a serial group are renewed one after another, in a process and across processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.model.account import AccountId, Active, Backoff
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers.base import RefreshPolicy
from broker.refresh.pace import PACE_SECONDS
from broker.refresh.turns import Turns
from broker.store.base import LockTimeoutError, StorageError
from tests.fakes.clock import settle
from tests.fakes.token_endpoint import Heard, answer
from tests.refresh.harness import ALICE, World

BOB = AccountId("fake", "bob@example.com")
SERIAL = RefreshPolicy(serial_group="fake")


class Endpoint:
    """Holds each answer until told, and counts who is under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self.order: list[str] = []
        self.go = asyncio.Semaphore(0)

    def on_behalf(self, provider: str, own: object = None) -> "Endpoint":
        return self

    async def send(self, request: HttpRequest, *, connected: object = None, heard: Heard = None) -> HttpResponse:
        assert request.form is not None
        token = request.form["refresh_token"]
        assert isinstance(token, Secret)
        self.order.append(token.reveal())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await self.go.acquire()
        self.under_way -= 1
        said = answer(access_token=f"new-{token.reveal()}", refresh_token=f"next-{token.reveal()}", expires_in=3600)
        if heard is not None:
            heard(said)
        return said


class Groups:
    """Implements `GroupLocks`; `fault` is raised in place of a lock."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.held = 0
        self.fault: BrokerError | None = None

    @contextlib.asynccontextmanager
    async def lock(self, group: str, wait: float) -> AsyncIterator[None]:
        if self.fault is not None:
            raise self.fault
        assert wait > 0
        assert not self.held
        self.taken.append(group)
        self.held += 1
        yield
        self.held -= 1


def siblings(policy: RefreshPolicy, groups: Groups | None = None) -> tuple[World, Endpoint]:
    world, endpoint = World(policy=policy, groups=groups), Endpoint()
    world.server = endpoint  # type: ignore[assignment]
    world.write(-5, account=ALICE, refresh="fake-alice")
    world.write(-5, account=BOB, refresh="fake-bob")
    return world, endpoint


async def test_siblings_are_renewed_one_after_another() -> None:
    groups = Groups()
    world, endpoint = siblings(SERIAL, groups)
    _, engine = await world.boot()
    await world.clock.run(5 * PACE_SECONDS)
    assert len(endpoint.order) == 1
    assert groups.held == 1
    endpoint.go.release()
    await settle()
    assert len(endpoint.order) == 2
    endpoint.go.release()
    await settle()
    assert endpoint.most == 1
    assert sorted(endpoint.order) == ["fake-alice", "fake-bob"]
    assert groups.taken == ["fake", "fake"]
    assert engine.state(ALICE) == engine.state(BOB) == Active()
    await engine.stop()


async def test_without_a_group_nobody_waits_for_another() -> None:
    world, endpoint = siblings(RefreshPolicy())
    _, engine = await world.boot()
    await world.clock.run(5 * PACE_SECONDS)
    assert endpoint.most == 2
    endpoint.go.release()
    endpoint.go.release()
    await settle()
    await engine.stop()


async def test_who_waits_for_a_turn_begins_nothing_once_the_engine_stops() -> None:
    world, endpoint = siblings(SERIAL)
    _, engine = await world.boot()
    await world.clock.run(5 * PACE_SECONDS)
    stopping = asyncio.ensure_future(engine.stop())
    await settle()
    endpoint.go.release()
    await settle()
    await stopping
    assert len(endpoint.order) == 1


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (LockTimeoutError(ALICE, "pid 7"), ErrorCode.REFRESH_FAILED, "another process is renewing a login of fake"),
        (StorageError("cannot open the lock: ENOSPC"), ErrorCode.STORAGE_UNWRITABLE, "ENOSPC"),
    ],
)
async def test_a_turn_that_cannot_be_had_is_a_failure_that_may_pass(
    fault: BrokerError, code: ErrorCode, words: str
) -> None:
    groups = Groups()
    groups.fault = fault
    world, endpoint = siblings(SERIAL, groups)
    _, engine = await world.boot()
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert (state.code, words in state.reason) == (code, True)
    assert not endpoint.order
    await engine.stop()


async def test_a_turn_falls_when_its_holder_fails() -> None:
    turns = Turns(None)
    with pytest.raises(ValueError, match="broke"):
        async with turns.take("a", 1.0):
            raise ValueError("broke")
    async with asyncio.timeout(5), turns.take("a", 1.0), turns.take("b", 1.0), turns.take(None, 1.0):
        pass
