import asyncio

from broker.proxy.wire.ticker import Ticker


class Counting:
    def __init__(self) -> None:
        self.times: list[float] = []
        self.enough = asyncio.Event()

    def tick(self, now: float) -> None:
        self.times.append(now)
        if len(self.times) == 3:
            self.enough.set()


async def test_ticks_members_and_moves_its_clock() -> None:
    ticker = Ticker(0.01)
    member = Counting()
    start = ticker.now
    ticker.add(member)
    await member.enough.wait()
    assert member.times == sorted(member.times)
    assert ticker.now >= start + 0.02
    ticker.close()


async def test_rests_without_members() -> None:
    ticker = Ticker(0.01)
    member, other = Counting(), Counting()
    ticker.add(member)
    ticker.add(other)
    ticker.discard(other)
    await member.enough.wait()
    ticker.discard(member)
    seen = len(member.times)
    await asyncio.sleep(0.05)
    assert len(member.times) == seen
    assert not other.times
    ticker.add(member)  # wakes up again
    while len(member.times) == seen:
        await asyncio.sleep(0.01)
    ticker.close()
    ticker.close()
