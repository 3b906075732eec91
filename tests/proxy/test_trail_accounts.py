"""Whose turn it is, and who can serve at all, where requests go the way of the last one with their head."""

from typing import Any

import pytest

from broker.config import RoutingConfig
from broker.ipc.schema import Cooldown
from broker.model.naming import Strategy
from broker.proxy.learnt import Found
from broker.proxy.models import Model
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.clock import START_WALL
from tests.fakes.two_ways import Rig, both
from tests.fakes.upstream import Peer, Taken
from tests.proxy.test_job import bad
from tests.proxy.test_trail import NAMES, chat, echo, heard, primed, same


@pytest.mark.parametrize("model", [None, "gpt-5", "gpt-4o"])
async def test_a_cool_down(model: str | None) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        until = START_WALL + 60
        cooling = account("openai-api/a", lease("openai-api/a"), cooldowns=(Cooldown(model, until, "busy"),))
        await heard(p, cooling)
        assert (await chat(p)).status == (200 if model == "gpt-4o" else 429)
        p.clock.advance(61)
        assert (await chat(p)).status == 200
        await heard(p, account("openai-api/a", lease("openai-api/a")))
        await chat(p)
        await chat(p)

    await same(scenario)


@pytest.mark.parametrize("short", [False, True])
async def test_a_token_that_is_about_to_end(short: bool) -> None:
    async def scenario(p: Rig) -> None:
        await heard(p, account("openai-api/a", lease("openai-api/a", expires_at=START_WALL + 100, short=short)))
        await primed(p)
        for seconds in (69, 1, 1, 28):
            p.clock.advance(seconds)
            await chat(p)
        assert p.upstream.requests[-1].header("authorization") == f"Bearer fake-access-{1 if short else 2}"

    await same(scenario)


async def test_an_account_that_comes_goes_or_is_changed() -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        for fields in (
            {"paused": True},
            {"excluded_models": ("gpt-5*",)},
            {"prefix": "own"},
            {"priority": 5},
            {"state": "needs_login", "reason": "gone"},
            {"disabled": True},
            {},
        ):
            await heard(p, account("openai-api/a", lease("openai-api/a"), **fields))
            for _ in range(3):
                await chat(p)
        await heard(p, account("openai-api/b", lease("openai-api/b", "fake-access-b")))
        for _ in range(6):
            await chat(p)
        await heard(p, gone="openai-api/a")
        for _ in range(3):
            await chat(p)
        await heard(p, gone="openai-api/b")
        await chat(p)

    p = await same(scenario)
    assert {each.header("authorization") for each in p.upstream.requests} == {
        "Bearer fake-access-1",
        "Bearer fake-access-b",
    }


MANY = ("openai-api/a", "openai-api/b", "openai-api/c")


def several(number: int, **fields: Any) -> FakeDaemon:
    daemon = FakeDaemon()
    for name in MANY[:number]:
        daemon.put(account(name, lease(name, f"fake-access-{name[-1]}"), **fields))
    return daemon


def turns(p: Rig) -> str:
    """Return whose turn it was, request by request."""
    return "".join((each.header("authorization") or "?")[-1] for each in p.upstream.requests)


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("number", [2, 3])
async def test_several_accounts_take_turns_as_ever(strategy: Strategy, sticky: bool, number: int) -> None:
    """Nobody's turn is lost, or taken twice, where a request must go the long way after all."""
    routing = RoutingConfig(discover_models=False, strategy=strategy, sticky=sticky)

    async def scenario(p: Rig) -> None:
        for each in range(12):
            await chat(p, f"w{each}")
        await heard(p, account(MANY[1], lease(MANY[1], "fake-access-b", 2), priority=-1))
        for each in range(6):
            await chat(p, f"w{each}", model="gpt-4o" if each % 3 == 2 else "gpt-5")
        await heard(p, account(MANY[1], lease(MANY[1], "fake-access-b", 2)))
        p.stage.play(bad(429), bad(429, "", "Retry-After: 30"), bad(500), echo, bad(401), echo)
        for each in range(9):
            await chat(p, f"w{each}")
        p.clock.advance(40)
        for each in range(4):
            await chat(p, f"w{each}")

    p = await both(scenario, lambda: several(number), NAMES, echo, tables={"routing": routing})
    if strategy is Strategy.ROUND_ROBIN and not sticky:
        assert turns(p)[:12] == ("ab" * 6 if number == 2 else "abc" * 4)


async def test_connections_that_are_gone_cost_no_turn() -> None:
    async def closing(peer: Peer, taken: Taken) -> None:
        await echo(peer, taken)
        peer.writer.close()

    routing = RoutingConfig(discover_models=False, sticky=False)

    async def scenario(p: Rig) -> None:
        for each in range(9):
            await chat(p, f"w{each}")
            await p.until(lambda: not p.worker.pool.idle())

    p = await both(scenario, lambda: several(2), NAMES, closing, tables={"routing": routing})
    assert turns(p) == "ababababa"


async def test_a_list_of_models_that_was_learnt() -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        for id_ in ("gpt-5", "gpt-other"):
            found = (Found(Model(id_, id_, (), 0, 0, "unknown")),)
            p.gateway.discovery.learnt.put("openai-api/a", "openai-api", found, 0.0)
            await chat(p)
            assert p.ways == ["long"]
            await chat(p)
            p.ways.clear()

    await same(scenario)
