"""New settings for a running daemon."""

import ast
import json

import msgspec
import pytest

from broker.config import NotifyConfig, ProviderConfig, RefreshConfig, SocketConfig
from broker.ipc.operations import resolve
from broker.model.errors import BrokerError
from broker.settings.changes import RESTART
from tests.architecture.imports import tree
from tests.fakes.broker import Running


def reads(module: str, function: str) -> set[str]:
    """The settings a function reads, as `section.key` or `section`."""
    found = set()
    body = next(node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef) and node.name == function)
    for node in ast.walk(body):
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("config."):
            found.add(ast.unparse(node).removeprefix("config."))
    # The longest only: `config.socket` is part of `config.socket.max_wait_seconds`.
    return {each for each in found if not any(other.startswith(f"{each}.") for other in found)}


def test_whatever_a_daemon_is_built_from_is_taken_over_or_needs_a_restart() -> None:
    taken = reads("broker.daemon.reloading", "prepare")
    built = reads("broker.daemon.assembly", "build") - {"auth_directories"}
    sections = {each.split(".")[0] for each in taken}
    forgotten = {
        each for each in built if each not in RESTART and each not in taken and each.split(".")[0] not in sections
    }
    assert not forgotten, "broker.daemon.reloading takes none of it over; see broker.settings.changes"


async def test_every_part_goes_by_what_it_is_given(running: Running) -> None:
    daemon = running.daemon
    parts = daemon.reloading
    config = msgspec.structs.replace(
        daemon.config,
        store=msgspec.structs.replace(daemon.config.store, rescan_seconds=5),
        refresh=RefreshConfig(request_timeout_seconds=7),
        socket=SocketConfig(max_wait_seconds=3, max_connections=9),
        notify=NotifyConfig(desktop=False),
        providers={**daemon.config.providers, "claude": ProviderConfig(lead_seconds=77, client_id="fake-client")},
    )
    before = parts.providers.get("claude").policy.lead_seconds
    take = parts.prepare(config)
    assert parts.providers.get("claude").policy.lead_seconds == before
    take()
    assert parts.providers.get("claude").policy.lead_seconds == 77
    assert parts.outbound.timeout == 7
    assert parts.files.rescan_seconds == 5
    assert (daemon.dispatch.leases.max_wait, daemon.dispatch.quotas.max_wait, daemon.dispatch.reports.max_wait) == (
        3,
        3,
        3,
    )
    assert daemon.server.config.max_connections == 9
    assert parts.notices.config.desktop is False


async def test_a_table_that_no_provider_can_have_is_refused_before_anything_changes(running: Running) -> None:
    daemon = running.daemon
    config = msgspec.structs.replace(
        daemon.config, providers={"nobody": ProviderConfig()}, socket=SocketConfig(max_wait_seconds=3)
    )
    with pytest.raises(BrokerError, match="nobody"):
        daemon.reloading.prepare(config)
    assert daemon.dispatch.leases.max_wait != 3


async def test_a_provider_that_is_taken_away_stays_while_there_may_be_accounts_of_it(running: Running) -> None:
    daemon = running.daemon
    names = set(daemon.reloading.providers.names)
    assert "sandbox" in names
    daemon.reloading.prepare(msgspec.structs.replace(daemon.config, providers={}))()
    assert set(daemon.reloading.providers.names) == names
    answer = await daemon.dispatch.perform(resolve("GET", "/v1/lease/sandbox", control=False), b"")
    assert answer.status == 200


async def test_the_config_is_shown_without_secrets_and_with_what_is_built_in(running: Running) -> None:
    answer = await running.daemon.dispatch.perform(resolve("GET", "/v1/config", control=True), b"")
    made = {each["key"]: each for each in json.loads(answer.body)["settings"]}
    assert made["providers.codex.token_url"]["origin"] == "built in"
    assert made["store.mode"]["restart"]
    assert made["refresh.ahead"]["restart"] is None
