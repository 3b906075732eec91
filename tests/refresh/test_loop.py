"""Whom the loop looks at: whoever changed at once, everybody when something is due or the clocks moved."""

from collections.abc import Iterable

import pytest

from broker.config import RefreshConfig
from broker.model.account import AccountId
from broker.model.clock import Now
from broker.refresh.cells import Cell
from broker.refresh.engine import Engine
from tests.fakes.clock import settle
from tests.refresh.harness import ALICE, World

OTHERS = [AccountId("fake", f"other{number}") for number in range(3)]
ALL = {ALICE, *OTHERS}


@pytest.fixture
def world() -> World:
    made = World()
    for number, account in enumerate((ALICE, *OTHERS)):
        made.write(3600, account=account, refresh=f"fake-refresh-{number}", access=f"fake-access-{number}")
    return made


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[set[AccountId]]:
    """The accounts of each look, in a process started later."""
    looks: list[set[AccountId]] = []
    inner = Engine._sweep

    def sweep(self: Engine, now: Now, cells: Iterable[tuple[AccountId, Cell]]) -> float:
        cells = list(cells)
        looks.append({account for account, _ in cells})
        return inner(self, now, cells)

    monkeypatch.setattr(Engine, "_sweep", sweep)
    return looks


async def test_one_that_changed_is_looked_at_alone_and_renewed_when_it_is_due(
    world: World, looked: list[set[AccountId]]
) -> None:
    store, engine = await world.boot()
    assert looked == [ALL]
    world.write(330, refresh="fake-refresh-9", access="fake-access-9")  # due in half a minute, and nobody else for long
    store.notice()
    await settle()
    assert looked == [ALL, {ALICE}]
    await world.clock.run(29)
    assert world.server.posts == 0
    await world.clock.run(2)
    assert world.server.posts == 1
    await engine.stop()


async def test_changes_of_one_keep_nobody_from_being_looked_at_in_time(
    world: World, looked: list[set[AccountId]]
) -> None:
    store, engine = await world.boot()
    for second in range(70):
        world.write(3600, refresh=f"fake-refresh-1{second}", access=f"fake-access-1{second}")
        store.notice()
        await world.clock.run(1)
    assert looked.count({ALICE}) == 70
    assert looked.count(ALL) == 2
    await engine.stop()


async def test_a_wall_clock_that_was_set_bears_on_all(world: World, looked: list[set[AccountId]]) -> None:
    _, engine = await world.boot()
    world.clock.step_wall(3590)
    await settle()
    assert looked[1] == ALL
    await world.clock.run(5)
    assert world.server.posts == len(ALL)
    await engine.stop()


async def test_settings_bear_on_all(world: World, looked: list[set[AccountId]]) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(10)
    _, engine = await world.boot()
    await world.clock.run(5)
    assert world.server.posts == 0
    looked.clear()
    engine.go_by(RefreshConfig())
    await settle()
    assert looked[0] == ALL
    assert world.server.posts == 1
    await engine.stop()
