from collections.abc import AsyncIterator

import pytest

from broker.config import ProxyConfig
from broker.proxy import shop as shop_module
from broker.proxy.leases import LeaseTable
from broker.proxy.meters import Meters
from broker.proxy.shop import Shop
from broker.proxy.upstreams.places import Places
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker
from broker.system import SystemChance, SystemClock
from tests.fakes.broker_socket import FakeDaemon


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    ticker, clock = Ticker(), SystemClock()
    table = LeaseTable(FakeDaemon(), clock, SystemChance())
    yield Shop(table, Pool(ticker, 1.0), ticker, clock, Meters(0, {}), ProxyConfig(), Places({}, {}), {})
    ticker.close()


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://a.example", Origin("https", "a.example", 443), b""),
        ("http://127.0.0.1:1/under/here", Origin("http", "127.0.0.1", 1), b"/under/here"),
    ],
)
async def test_origins(shop: Shop, url: str, origin: Origin, path: bytes) -> None:
    assert shop.origin(url) == (origin, path)
    assert shop.origin(url) is shop.origin(url)


async def test_turns_are_counted_by_model(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [shop.turn("a"), shop.turn("a"), shop.turn("b"), shop.turn("a")] == [0, 1, 0, 2]
    monkeypatch.setattr(shop_module, "_MAX_CURSORS", 2)
    assert shop.turn("c") == 0
    assert shop.turn("a") == 0, "forgotten with the others when there were too many"
