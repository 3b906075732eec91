"""A request that goes the short way is told from none that goes the long one: by its client, its upstream, the daemon or any number."""

import asyncio
import json
from email.utils import formatdate
from functools import partial

import pytest

from broker.proxy.deadlines import Deadlines
from broker.proxy.relays import Translated, Whole
from tests.fakes.clock import START_WALL
from tests.fakes.two_ways import Got, Rig, both, rig
from tests.fakes.upstream import Peer, Script, answer, chunked
from tests.fakes.vendor_words import events_of, whole_of
from tests.proxy.test_faulty_upstreams import (
    ANTHROPIC,
    CLIENTS,
    GEMINI,
    OPENAI,
    ROWS,
    TEXT,
    Client,
    Play,
    Row,
    Vendor,
    daemon_of,
    datas,
    ended_in_character,
    good,
    head_only,
    long_line,
    never,
    refused,
    script,
    silent,
    texts,
)

PRIMED = 2
"""The first request leaves a trail."""

OTHERS = {"chat": ANTHROPIC, "responses": GEMINI, "messages": OPENAI, "gemini": ANTHROPIC}
"""An upstream of another dialect for each client."""


async def ask(p: Rig, client: Client, vendor: Vendor, blanks: int = 0, *, streamed: bool = False) -> Got:
    """Ask what a client asks; with blanks the length is another."""
    target, body = client.request(vendor.model, streamed)
    extra = {"anthropic_version": "2023-06-01"} if client.name == "messages" else {}
    return await p.ask(target, json.dumps(body).encode() + b" " * blanks, **extra)


async def primed(p: Rig, client: Client, vendor: Vendor, *, streamed: bool) -> None:
    """Ask until the short way is gone, as far as there is one."""
    for blanks in range(PRIMED):
        await ask(p, client, vendor, blanks, streamed=streamed)
    if p.short:
        assert p.front.opened[-PRIMED:] == ["ClientCall", "Shortcut"]
        assert p.ways[-1] in ("short", "resumed")  # a sweep of the deadlines may have come between


def plays_of(row: Row) -> list[Script]:
    date = formatdate(START_WALL + 60, usegmt=True)
    told = [refused(429, f"Retry-After: {date}") if "date" in row.name else each for each in row.plays]
    return [script(each) for each in told]


async def compared(row: Row, client: Client, vendor: Vendor, *, streamed: bool) -> str:
    """Play a fault to a primed connection, and two requests after it; return what differs."""

    async def scenario(p: Rig) -> None:
        await primed(p, client, vendor, streamed=streamed)
        p.stage.play(*plays_of(row))
        await ask(p, client, vendor, 3, streamed=streamed)
        p.stage.play(script(good))
        await ask(p, client, vendor, 10, streamed=streamed)
        await ask(p, client, vendor, 10, streamed=streamed)
        if p.short:
            assert p.front.opened[2] == "Shortcut"
            assert p.ways[2] == "resumed" or row.plays == (ended_in_character,)

    waits = any(play in (never, head_only, silent) for play in row.plays)
    quick = {"headers_timeout": 0.3, "first_byte_timeout": 0.3, "idle_timeout": 0.3} if waits else {}
    try:
        await both(scenario, lambda: daemon_of(vendor), (vendor.name,), script(good), **quick)
    except AssertionError as error:
        return f"{client.name} at {vendor.name}, {'streamed' if streamed else 'whole'}: {error}"
    return ""


@pytest.mark.parametrize("row", [row for row in ROWS if row.plays != (long_line,)], ids=lambda row: row.name)
async def test_every_fault_is_told_the_same(row: Row) -> None:
    cases = [
        (client, vendor, streamed)
        for client in CLIENTS
        for vendor in (client.own, OTHERS[client.name])
        for streamed in row.modes
        if vendor in row.vendors
    ]
    told = await asyncio.gather(*(compared(row, *case, streamed=streamed) for *case, streamed in cases))
    assert not any(told), "\n\n".join(each for each in told if each)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
async def test_streams_are_resumed_with_their_first_bytes(client: Client) -> None:
    async def scenario(p: Rig) -> None:
        for blanks in range(3):
            await ask(p, client, client.own, blanks, streamed=True)
        assert p.ways[-1] == ("resumed" if p.short else "long")

    await both(scenario, lambda: daemon_of(client.own), (client.own.name,), script(good))


def typed(kind: str) -> Play:
    """A good stream that is called something else."""

    async def play(peer: Peer, path: str, streamed: bool) -> None:
        told = chunked(*events_of(path, TEXT), headers=(f"Content-Type: {kind}",) if kind else ())
        await peer.send(told if streamed else answer(whole_of(path, TEXT)))

    return play


@pytest.mark.parametrize("kind", ["", "application/json", "application/octet-stream"])
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
async def test_a_stream_that_is_called_something_else_is_told_whole(client: Client, kind: str) -> None:
    for vendor in (client.own, OTHERS[client.name]):

        async def scenario(p: Rig, vendor: Vendor = vendor) -> None:
            for blanks in range(4):
                got = await ask(p, client, vendor, blanks, streamed=True)
                assert seen_words(got.body) == TEXT

        p = await both(scenario, partial(daemon_of, vendor), (vendor.name,), script(typed(kind)))
        assert p.ways[-1] == "short"


def seen_words(body: bytes) -> str:
    """Return what a stream says, of whichever dialect."""
    return "".join(map(texts, datas(body)))


# --- faults of our own ---


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_fault_in_turning_an_answer_is_told_at_once(
    streamed: bool, short: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its account is free again, and the next one is served: nobody waits for the end of all deadlines."""
    client, vendor = CLIENTS[0], GEMINI

    def fail(*_: object) -> bytes:
        raise KeyError("planted")

    async with rig(daemon_of(vendor), (vendor.name,), script(good), short=short) as p:
        await primed(p, client, vendor, streamed=streamed)
        with monkeypatch.context() as planted:
            planted.setattr(Translated if streamed else Whole, "close", fail)
            got = await ask(p, client, vendor, 7, streamed=streamed)
        # What was begun has no end; that is all that can be told then.
        assert (got.end, got.head[9:12]) == (("closed", b"") if streamed else ("whole", b"500"))
        assert not p.gateway.shop.counts.busy
        assert (await ask(p, client, vendor, 8, streamed=streamed)).status == 200
        assert p.gateway.shop.meters.text().count(b'status="500"') == (not streamed)
    assert "planted" in caplog.text


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_fault_while_an_answer_is_waited_for_lets_go_of_all(
    begun: bool, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, vendor = CLIENTS[0], GEMINI
    left = asyncio.Event()

    async def play(peer: Peer, path: str, streamed: bool) -> None:
        if begun:
            await peer.send(chunked(events_of(path, TEXT)[0], headers=("Content-Type: text/event-stream",))[:-5])
        await peer.gone()
        left.set()

    def fail(*_: object) -> None:
        raise KeyError("planted")

    async with rig(daemon_of(vendor), (vendor.name,), script(good), short=short) as p:
        await primed(p, client, vendor, streamed=True)
        p.stage.play(script(play), script(good))
        asked = asyncio.ensure_future(ask(p, client, vendor, 7, streamed=True))
        await p.until(lambda: len(p.upstream.requests) == 3)
        (line,) = p.worker._listener.connections
        await p.until(lambda: line._active is not None and line._active.started is begun)
        with monkeypatch.context() as planted:
            planted.setattr(Deadlines, "overtime", fail)
            line.tick(p.worker._ticker.now)
        got = await asked
        assert (got.status, got.end) == ((200, "cut") if begun else (500, "whole"))
        await asyncio.wait_for(left.wait(), 20)
        assert not p.gateway.shop.counts.busy
        (row,) = p.usage().values()
        assert (row["requests"], row["failed"]) == (3, 1)
        assert (await ask(p, client, vendor, 8, streamed=True)).status == 200
