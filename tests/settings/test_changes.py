"""What a new config changes, and that no setting is forgotten."""

import typing
from collections.abc import Iterator

import msgspec
import pytest

from broker.config import Config, LoggingConfig, ProviderConfig, ProxyConfig, RoutingConfig, StoreConfig
from broker.model.naming import Combo
from broker.model.secret import Secret
from broker.settings.changes import RESTART, Program, changed, held, leaves, named, settled
from broker.settings.reading import parse
from broker.settings.shape import is_table

# Every setting that takes effect at once. A new one fails the test below until it is here, or in RESTART with a reason:
# here only once the program that acts on it does so for a changed config (see tests/system/test_reload.py).
LIVE = [
    "store.provider_credentials",
    "store.rescan_seconds",
    "refresh.ahead",
    "refresh.request_timeout_seconds",
    "socket.max_connections",
    "socket.max_body_bytes",
    "socket.request_timeout_seconds",
    "socket.max_wait_seconds",
    "notify.command",
    "notify.desktop",
    "proxy.api_keys",
    "proxy.internal_key",
    "proxy.allowed_hosts",
    "proxy.allow",
    "proxy.deny",
    "proxy.max_body_bytes",
    "proxy.max_connections",
    "proxy.connect_timeout",
    "proxy.headers_timeout",
    "proxy.first_byte_timeout",
    "proxy.idle_timeout",
    "proxy.total_timeout",
    "proxy.keepalive_seconds",
    "proxy.safety_off",
    "providers.NAME.*",
    "upstreams.NAME.*",
    "network.*",
    "routing.*",
    "combos.NAME.*",
    "models.NAME.*",
    "logging.*",
    "payload.*",
    "policies.NAME.*",
    "usage.*",
    "request_log.*",
]


def names(kind: type[msgspec.Struct] = Config, before: str = "") -> Iterator[str]:
    for field in msgspec.structs.fields(kind):
        inner = typing.get_args(field.type)[1] if typing.get_origin(field.type) is dict else field.type
        here = f"{before}{field.name}{'.NAME' if inner is not field.type else ''}"
        if is_table(inner):
            yield from names(inner, f"{here}.")
        else:
            yield f"{before}{field.name}"


def declared(name: str) -> list[str]:
    live = [each for each in LIVE if name == each or (each.endswith(".*") and name.startswith(each[:-1]))]
    return live + [each for each in RESTART if name == each or name.startswith(f"{each}.")]


@pytest.mark.parametrize("name", sorted(names()))
def test_every_setting_is_live_or_needs_a_restart_for_a_reason(name: str) -> None:
    assert len(declared(name)) == 1, f"say in one of the two lists whether {name} is taken over while the program runs"


def test_the_lists_name_settings_that_exist() -> None:
    known = set(names())
    assert set(RESTART) <= known
    assert all(any(name == each or name.startswith(each[:-1]) for name in known) for each in LIVE)
    assert all(each.why for each in RESTART.values())


def test_leaves_go_through_tables_and_named_tables() -> None:
    config = Config(providers={"a": ProviderConfig(lead_seconds=3)}, routing=RoutingConfig(aliases={"x": "y"}))
    found = {key: (value, default) for key, value, default in leaves(config)}
    assert found["proxy", "port"] == (8317, 8317)
    assert found["providers", "a", "lead_seconds"] == (3, None)
    assert found["routing", "aliases"] == ({"x": "y"}, {})
    assert ("providers",) not in found
    models = {key: default for key, _, default in leaves(Config(combos={"c": Combo(("m",))}))}
    assert models["combos", "c", "models"] is msgspec.NODEFAULT


def test_what_differs_is_told_also_where_it_came_or_went() -> None:
    old = Config(providers={"a": ProviderConfig(title="x")}, logging=LoggingConfig(level="debug"))
    new = Config(providers={"b": ProviderConfig()}, proxy=ProxyConfig(api_keys=(Secret("fake-key-1"),)))
    told = changed(old, new)
    assert ("proxy", "api_keys") in told
    assert ("logging", "level") in told
    assert ("providers", "a", "title") in told
    assert changed(old, old) == ()
    assert (
        changed(new, Config(providers={"b": ProviderConfig()}, proxy=ProxyConfig(api_keys=(Secret("fake-key-1"),))))
        == ()
    )


def test_what_needs_a_restart_stays_and_the_rest_is_taken_over() -> None:
    running = Config(proxy=ProxyConfig(port=1, safety_off=False), store=StoreConfig(mode="plain"))
    wanted = Config(proxy=ProxyConfig(port=2, safety_off=True), store=StoreConfig(mode="sealed"))
    config, pending = settled(running, wanted)
    assert config == Config(proxy=ProxyConfig(port=1, safety_off=True))
    assert pending == (("store", "mode"), ("proxy", "port"))
    assert settled(running, running) == (running, ())
    assert named(pending) == "store.mode, proxy.port"


def test_the_reason_for_a_restart() -> None:
    told = held(("proxy", "port"))
    assert told is not None
    assert told.program is Program.PROXY
    assert held(("proxy", "safety_off")) is None
    assert held(("store", "directories", "0")) is not None


def test_a_text_without_a_change_changes_nothing() -> None:
    assert changed(parse(b"[proxy]\nport = 8317"), Config()) == ()
