"""docs/proxy.md says what the code does."""

import re
from pathlib import Path

import pytest

from broker.config import ProxyConfig
from broker.proxy import attempts, pages
from broker.proxy.choose import MIN_VALIDITY_SECONDS
from broker.proxy.routes import Unknown, route
from broker.proxy.server import DRAIN_SECONDS
from broker.proxy.upstreams.places import TOLD
from broker.proxy.upstreams.table import PROVIDERS
from broker.proxy.wire.exchange import Limits
from broker.proxy.wire.heads import MAX_TARGET_BYTES

TEXT = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`((?:GET|HEAD|POST) /[^`]*)`", TEXT))))
def test_every_endpoint_named_is_served(line: str) -> None:
    method, _, path = line.partition(" ")
    assert not isinstance(route(method, path, "", lambda _name: None).target, Unknown)


def test_the_page_names_the_same_endpoints() -> None:
    for path in re.findall(r"<code>(?:GET|POST) (/[^<,:]*)", pages.docs("x", "1").decode()):
        assert path.replace("v1beta", "v1") in TEXT


def test_settings_and_their_defaults() -> None:
    table = TEXT.partition("## Limits and timeouts")[2]
    told = dict(re.findall(r"^\| `(\w+)` \| (\w+)", table, re.MULTILINE))
    defaults = ProxyConfig()
    for name, value in told.items():
        assert value == str(getattr(defaults, name)).lower().removesuffix(".0"), name
    elsewhere = {"host", "port", "api_keys", "internal_key", "allowed_hosts", "allow", "deny"}
    assert set(told) == set(ProxyConfig.__struct_fields__) - elsewhere
    for name in elsewhere - {"host", "port"}:
        assert name in TEXT


def test_fixed_values() -> None:
    limits = Limits()
    for value in (
        f"{limits.head_bytes} bytes, {limits.headers} fields; target {MAX_TARGET_BYTES} bytes",
        f"first byte to its last | {limits.head_seconds:g} s",
        f"first byte to its last | {limits.body_seconds:g} s",
        f"is owed some | {limits.stall_seconds:g} s",
        f"on a connection | {limits.idle_seconds:g} s",
        f"stops | {DRAIN_SECONDS:g} s",
        f"at least {MIN_VALIDITY_SECONDS:g} seconds left",
    ):
        assert value in TEXT
    assert (attempts.MAX_SENDS, attempts.MAX_COOLDOWN_SECONDS, attempts.ROUND_SECONDS) == (8, 3600, 0.5)
    assert attempts.FORBIDDEN_COOLDOWN_SECONDS == 300


def test_providers() -> None:
    for provider, kind in PROVIDERS.items():
        assert re.search(rf"^\| `{provider}` \|.*`{kind}`", TEXT, re.MULTILINE)


def test_where_a_file_may_point() -> None:
    table = TEXT.partition("| provider | where its file may point |")[2].partition("\n\n")[0]
    told = {
        name: set(re.findall(r"`([^`]+)`", places))
        for names, places in re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", names)
    }
    assert {name: set(each.domains) for name, each in TOLD.items() if not each.anywhere} == {
        name: places for name, places in told.items() if places
    }
    assert {name for name, places in told.items() if not places} == {"vertex", "kimi", "kiro"}
