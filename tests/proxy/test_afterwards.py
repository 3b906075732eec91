"""Steps that wait for the end of a turn."""

import asyncio
import logging

import pytest

from broker.proxy.afterwards import Afterwards


async def test_steps_are_taken_in_order_when_the_turn_is_over() -> None:
    taken: list[int] = []
    afterwards = Afterwards()
    afterwards.add(lambda: taken.append(1))
    afterwards.add(lambda: taken.append(2))
    assert not taken
    await asyncio.sleep(0)
    assert taken == [1, 2]
    afterwards.add(lambda: taken.append(3))
    await asyncio.sleep(0)
    assert taken == [1, 2, 3]


async def test_a_step_may_add_another() -> None:
    taken: list[str] = []
    afterwards = Afterwards()
    afterwards.add(lambda: afterwards.add(lambda: taken.append("later")))
    await asyncio.sleep(0)
    assert not taken
    await asyncio.sleep(0)
    assert taken == ["later"]


async def test_a_step_that_fails_keeps_no_other_from_being_taken(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    taken: list[int] = []
    afterwards = Afterwards()
    afterwards.add(fail)
    afterwards.add(lambda: taken.append(1))
    with caplog.at_level(logging.ERROR):
        await asyncio.sleep(0)
    assert taken == [1]
    assert [record.exc_info is not None for record in caplog.records] == [True]
