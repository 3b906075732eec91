from collections.abc import AsyncIterator

import msgspec
import pytest

from broker.config import ProxyConfig, RoutingConfig
from broker.model.errors import BrokerError
from broker.model.network import ProxyServer, Scheme
from broker.model.secret import Secret
from broker.proxy import shop as shop_module
from broker.proxy.leases import LeaseTable
from broker.proxy.meters import Meters
from broker.proxy.shop import Shop
from broker.proxy.upstreams.places import Places
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from broker.proxy.wire.pool import Origin, Pool
from broker.proxy.wire.ticker import Ticker
from broker.system import SystemChance, SystemClock
from tests.fakes.broker_socket import FakeDaemon, lease

LEASE = lease("gemini/a")


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    ticker, clock = Ticker(), SystemClock()
    chance = SystemChance()
    table = LeaseTable(FakeDaemon(), clock, chance)
    pool, meters = Pool(ticker, 1.0), Meters(0, {})
    yield Shop(table, pool, ticker, clock, meters, ProxyConfig(), Places({}, {}), {}, RoutingConfig(), chance)
    ticker.close()


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("https://a.example", Origin("https", "a.example", 443), b""),
        ("http://127.0.0.1:1/under/here", Origin("http", "127.0.0.1", 1), b"/under/here"),
    ],
)
async def test_origins(shop: Shop, url: str, origin: Origin, path: bytes) -> None:
    assert shop.origin(url, LEASE) == (origin, path)
    assert shop.origin(url, LEASE) is shop.origin(url, LEASE)


async def test_an_account_of_its_own_way_has_an_origin_of_its_own(shop: Shop) -> None:
    url = "https://a.example/v1"
    other = msgspec.structs.replace(LEASE, proxy_url=Secret("socks5h://user:pass@out.example:1081"))
    origin, path = shop.origin(url, other)
    assert origin.via == ProxyServer(Scheme.SOCKS5H, "out.example", 1081, Secret("user"), Secret("pass"))
    assert (origin.host, path) == ("a.example", b"/v1")
    assert shop.origin(url, other) is shop.origin(url, other)
    assert shop.origin(url, LEASE)[0] != origin
    with pytest.raises(BrokerError, match="proxy_url in the account's file is neither") as caught:
        shop.origin(url, msgspec.structs.replace(LEASE, proxy_url=Secret("ftp://user:pass@out.example")))
    assert "pass" not in str(caught.value)


async def test_turns_are_counted_by_model(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [shop.turn("a"), shop.turn("a"), shop.turn("b"), shop.turn("a")] == [0, 1, 0, 2]
    monkeypatch.setattr(shop_module, "_MAX_CURSORS", 2)
    assert shop.turn("c") == 0
    assert shop.turn("a") == 0, "forgotten with the others when there were too many"


async def test_hosts_that_could_not_be_reached_come_last_for_a_while(shop: Shop) -> None:
    api, held = UPSTREAMS[PROVIDERS["antigravity"]], lease("antigravity/a")
    daily, usual = shop.homes(api, held, ())
    shop.unreachable(daily)
    assert shop.homes(api, held, ()) == (usual, daily)
    assert shop.homes(api, held, (daily, usual)) == (daily, usual), "a request keeps the order it began with"
    shop.ticker.now += shop_module._DEAD_SECONDS
    assert shop.homes(api, held, ()) == (daily, usual)


async def test_requests_under_way_are_counted_by_account(shop: Shop) -> None:
    shop.table._accounts = dict.fromkeys(("a", "b"))  # type: ignore[arg-type]
    shop.take("a")
    shop.take("a")
    shop.take("b")
    shop.release("b")
    assert dict(shop.picking("m", lambda: None).busy) == {"a": 2}


async def test_nothing_is_looked_for_where_there_is_no_choice(shop: Shop) -> None:
    def asked() -> str:
        raise AssertionError("read a body for nothing")

    assert shop.picking("m", asked).session is None
    shop.table._accounts = dict.fromkeys(("a", "b"))  # type: ignore[arg-type]
    assert shop.picking("m", lambda: "s").session == "s"
    assert [shop.picking("m", lambda: "s").turn for _ in range(2)] == [1, 2]


async def test_a_chain_s_cursor_is_none_of_its_accounts(shop: Shop) -> None:
    """Else each use of a chain would turn it twice, and one of two models would always be the first."""
    shop.table._accounts = dict.fromkeys(("a", "b"))  # type: ignore[arg-type]
    turns = [(shop.turn("best"), shop.picking("best", lambda: None).turn) for _ in range(3)]
    assert turns == [(0, 0), (1, 1), (2, 2)]
