"""The push stream end to end: snapshot, changes, coming back, restarts, slow readers. (`publisher`, `hub`, `stream` and `server` together.)"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.ipc.client import BrokerClient
from broker.ipc.schema import Changed, Removed, Snapshot, WatchAccount, WatchEvent
from broker.ipc.wire import request_head
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from tests.daemon.test_reports import report
from tests.fakes.broker import ANN, BOB, Running, running_daemon


class Table:
    """What a proxy holds: the accounts as told so far."""

    def __init__(self, client: BrokerClient, last: str | None = None) -> None:
        self.accounts: dict[str, WatchAccount] = {}
        self.events: list[WatchEvent] = []
        self.last = last
        self._stream: AsyncIterator[tuple[str, WatchEvent]] = client.watch(last)

    async def step(self) -> WatchEvent:
        async with asyncio.timeout(5):
            self.last, event = await anext(self._stream)
        self.events.append(event)
        match event:
            case Snapshot(accounts=accounts):
                self.accounts = {each.view.account: each for each in accounts}
            case Changed(account=each):
                self.accounts[each.view.account] = each
            case Removed(account=name):
                self.accounts.pop(name)
        return event

    async def until(self, account: AccountId, state: str, generation: int = 0) -> WatchAccount:
        while True:
            known = self.accounts.get(str(account))
            if known and known.view.state == state and known.view.generation >= generation:
                return known
            await self.step()

    async def close(self) -> None:
        await self._stream.aclose()  # type: ignore[attr-defined]


async def test_a_snapshot_then_every_change(running: Running) -> None:
    table = Table(running.token_client)
    assert isinstance(await table.step(), Snapshot)
    assert set(table.accounts) == {str(ANN), str(BOB)}
    before = table.accounts[str(ANN)]
    assert before.lease
    await running.client.refresh(ANN)
    after = await table.until(ANN, "active", before.view.generation + 1)
    assert after.lease
    assert running.owns(after.lease.access_token) == "ann@example.com"
    await running.client.pause(ANN)
    assert (await table.until(ANN, "paused")).lease is None
    assert (await table.until(BOB, "active")).view.default is False or await table.step()
    await running.client.resume(ANN)
    assert (await table.until(ANN, "active")).lease
    await running.client.report(report("limited", model="m"))
    while not table.accounts[str(ANN)].view.cooldowns:
        await table.step()
    await running.client.logout(ANN)
    while str(ANN) in table.accounts:
        await table.step()
    assert isinstance(table.events[-1], Removed)
    await table.close()


async def test_the_default_moves_with_the_accounts(running: Running) -> None:
    table = Table(running.token_client)
    await table.step()
    await running.client.pause(ANN)
    while not table.accounts[str(BOB)].view.default:
        await table.step()
    assert not table.accounts[str(ANN)].view.default
    await table.close()


async def test_coming_back_goes_on_where_it_was(running: Running) -> None:
    table = Table(running.token_client)
    await table.step()
    await table.close()
    generation = (await running.client.refresh(BOB)).generation
    again = Table(running.token_client, table.last)
    known = await again.until(BOB, "active", generation)
    assert known.lease
    assert not any(isinstance(each, Snapshot) for each in again.events)
    await again.close()


async def test_a_restart_of_the_daemon_is_one_snapshot(running: Running) -> None:
    table = Table(running.token_client)
    await table.step()
    ended = asyncio.ensure_future(table.step())
    await running.stop()
    with pytest.raises(BrokerError) as caught:
        await ended
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
    await running.start()
    again = Table(running.token_client, table.last)
    assert isinstance(await again.step(), Snapshot)
    assert again.accounts[str(ANN)].view.generation >= table.accounts[str(ANN)].view.generation
    await again.close()


async def test_a_silent_stream_is_kept_alive() -> None:
    async with running_daemon(ANN, keepalive_seconds=0.05) as running:
        reader, writer = await asyncio.open_unix_connection(running.token_path)
        writer.write(request_head("GET", "/v1/watch"))
        async with asyncio.timeout(5):
            for _ in range(4):
                await reader.readuntil(b"3\r\n:\n\n\r\n")
        writer.close()


async def test_a_slow_reader_is_cut_off_and_nobody_else_notices() -> None:
    async with running_daemon(ANN, keepalive_seconds=0.1) as running:
        _, slow = await asyncio.open_unix_connection(running.token_path, limit=1)
        slow.write(request_head("GET", "/v1/watch"))
        table = Table(running.token_client)
        await table.step()
        hub = running.daemon.dispatch.hub
        assert hub.readers == 2
        async with asyncio.timeout(20):
            number = 0
            while hub.readers == 2:
                number += 1
                await running.client.report(report("limited", model=f"m{number}", reason="x" * 200))
                await table.step()
        assert hub.readers == 1
        await running.client.pause(ANN)
        await table.until(ANN, "paused")
        assert "ccs_broker_watch_cut_total 1.0" in running.daemon.dispatch.metrics.render().decode()
        slow.close()
        await table.close()


async def test_readers_that_leave_are_forgotten(running: Running) -> None:
    tables = [Table(running.token_client) for _ in range(5)]
    for table in tables:
        await table.step()
    assert running.daemon.dispatch.hub.readers == 5
    for table in tables:
        await table.close()
    async with asyncio.timeout(5):
        while running.daemon.dispatch.hub.readers:
            await asyncio.sleep(0.01)
    assert "ccs_broker_watch_subscribers 0.0" in running.daemon.dispatch.metrics.render().decode()


async def test_a_reader_of_http_1_0_is_refused(running: Running) -> None:
    from tests.daemon.test_server import problem, say

    answer = await say(running.token_path, b"GET /v1/watch HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert problem(answer).code == "bad_request"
