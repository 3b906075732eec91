import asyncio

from broker.system import SystemChance, SystemClock


def test_clocks_go_forward() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert second.boot >= first.boot
    assert first.wall > 1_700_000_000


async def test_sleep_lets_others_run() -> None:
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)
    await SystemClock().sleep(0)
    await asyncio.wait_for(ran.wait(), 5)


def test_chance_stays_in_its_range_and_does_not_repeat() -> None:
    chance = SystemChance()
    assert all(0 <= chance.unit() < 1 for _ in range(1000))
    tokens = {chance.token(32) for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 and "=" not in token for token in tokens)
