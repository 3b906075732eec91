import json
from dataclasses import replace

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.refresh.engine import Engine
from tests.fakes.broker import ANN, BOB, Running


async def test_views_are_sorted_and_hold_no_secret(running: Running) -> None:
    listed = running.daemon.dispatch.accounts.list().accounts
    assert [each.account for each in listed] == [str(ANN), str(BOB)]
    assert [each.default for each in listed] == [True, False]
    document = json.loads((running.auth / listed[0].file).read_text())
    assert document["refresh_token"] not in repr(listed)
    assert document["access_token"] not in repr(listed)


async def test_unknown_names_list_what_there_is(running: Running) -> None:
    accounts = running.daemon.dispatch.accounts
    with pytest.raises(BrokerError, match=f"{ANN}, {BOB}") as caught:
        accounts.named("sandbox", "nobody")
    assert caught.value.code is ErrorCode.UNKNOWN_ACCOUNT
    with pytest.raises(BrokerError, match=r"gemini.*sandbox"):
        accounts.named("nobody", None)
    with pytest.raises(BrokerError) as none:
        accounts.named("gemini", None)
    assert none.value.hint == "Run: ccs-broker login gemini"


async def test_states_are_counted_by_provider(running: Running) -> None:
    await running.client.pause(BOB)
    assert running.daemon.dispatch.accounts.states() == {("sandbox", "active"): 1, ("sandbox", "paused"): 1}


async def test_what_the_engine_no_longer_has_is_gone(running: Running) -> None:
    """When a file goes, the engine may know before the store is sure."""
    accounts, daemon = running.daemon.dispatch.accounts, running.daemon
    fresh = Engine(
        daemon.store,
        accounts.registry,
        daemon.outbound,
        daemon.dispatch.changes.clients,
        accounts.clock,
        FakeUnit(),
        running.config.refresh,
    )
    without = replace(accounts, engine=fresh)
    assert without.list().accounts == ()
    assert without.find(ANN) is None
    assert without.watched(ANN, ANN) is None
    assert without.states() == {}


class FakeUnit:
    def unit(self) -> float:
        return 0.5

    def token(self, bytes_: int) -> str:
        return "x" * bytes_
