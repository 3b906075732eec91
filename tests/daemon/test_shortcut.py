"""A lease asked for again in the same bytes: it is what the long way answers, at every moment."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from broker.daemon.shortcut import _KEPT, Shortcut
from broker.ipc.operations import resolve
from tests.daemon.test_server import split
from tests.fakes.broker import ANN, BOB, Running, running_daemon


class Kept:
    """A connection that is kept."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.answer()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            assert length is not None
            return split(head + await self.reader.readexactly(int(length[1])))


def ask(target: str, method: str = "GET", more: str = "") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()


To = Callable[[Path], Awaitable[Kept]]

LEASE = ask(f"/v1/lease/{ANN}")


@pytest.fixture
async def to() -> AsyncIterator[To]:
    """Connects."""
    made: list[Kept] = []

    async def connect(path: Path) -> Kept:
        made.append(Kept(*await asyncio.open_unix_connection(path)))
        return made[-1]

    yield connect
    for each in made:
        each.writer.close()


@pytest.fixture
def spawned(running: Running, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that went the long way."""
    seen: list[str] = []
    inner = running.daemon.server._handle

    def handle(door: object, connection: object, request: object) -> object:
        seen.append(request.target)  # type: ignore[attr-defined]
        return inner(door, connection, request)  # type: ignore[arg-type]

    monkeypatch.setattr(running.daemon.server, "_handle", handle)
    return seen


async def test_the_second_time_it_is_the_same_answer_with_an_id_of_its_own(
    running: Running, to: To, spawned: list[str]
) -> None:
    one = await to(running.token_path)
    answers = [await one.ask(LEASE) for _ in range(3)]
    answers.append(await (await to(running.control_path)).ask(LEASE))
    assert len(spawned) == 1
    ids = [headers.pop("x-request-id") for _, headers, _ in answers]
    assert len(set(ids)) == 4
    assert all(each == answers[0] for each in answers)
    counted = running.daemon.dispatch.metrics.render().decode()
    assert 'ccs_broker_leases_total{outcome="served",provider="sandbox"} 4.0' in counted


async def test_a_change_is_in_the_next_answer(running: Running, to: To) -> None:
    one = await to(running.token_path)
    first = json.loads((await one.ask(LEASE))[2])
    assert json.loads((await one.ask(LEASE))[2]) == first
    await running.client.refresh(ANN)
    renewed = json.loads((await one.ask(LEASE))[2])
    assert renewed["generation"] > first["generation"]
    assert renewed["access_token"] != first["access_token"]
    await running.client.pause(ANN)
    status, _, body = await one.ask(LEASE)
    assert (status, json.loads(body)["code"]) == (409, "account_paused")
    await running.client.resume(ANN)
    assert (await one.ask(LEASE))[0] == 200
    await running.client.logout(ANN)
    status, _, body = await one.ask(LEASE)
    assert (status, json.loads(body)["code"]) == (404, "unknown_account")


async def test_a_provider_follows_its_default(running: Running, to: To, spawned: list[str]) -> None:
    one = await to(running.token_path)
    anyone = ask("/v1/lease/sandbox?min_validity=5")
    assert [json.loads((await one.ask(anyone))[2])["account"] for _ in range(2)] == [str(ANN)] * 2
    await running.client.set_default(BOB)
    assert json.loads((await one.ask(anyone))[2])["account"] == str(BOB)
    assert len(spawned) == 2  # the other is setting the default


async def test_a_token_without_the_validity_asked_for_is_renewed(to: To) -> None:
    async with running_daemon(ANN, lifetime=3600) as running:
        one = await to(running.token_path)
        wants = ask(f"/v1/lease/{ANN}?min_validity=600")
        first = json.loads((await one.ask(wants))[2])
        file = running.plant(ANN, lifetime=300)
        while running.daemon.store.get(ANN).generation == first["generation"]:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        told = json.loads((await one.ask(wants))[2])
        assert told["expires_at"] - running.clock.now().wall > 600
        assert json.loads(file.read_bytes())["access_token"] == told["access_token"]


@pytest.mark.parametrize(
    "other",
    [
        ask("/v1/accounts"),
        ask(f"/v1/lease/{ANN}", "HEAD"),
        ask(f"/v1/lease/{ANN}", more="Content-Length: 0\r\n"),
        ask(f"/v1/lease/{ANN}", more="Expect: 100-continue\r\n"),
        ask(f"/v1/lease/{ANN}", more=f"X-Long: {'x' * 2100}\r\n"),
        ask("/v1/lease/nobody"),
        LEASE.replace(b"localhost", b"elsewhere"),
        LEASE + LEASE[:10],
    ],
)
async def test_what_is_not_plainly_a_lease_goes_the_long_way_each_time(
    running: Running, to: To, spawned: list[str], other: bytes
) -> None:
    one = await to(running.token_path)
    for count in (1, 2):
        one.writer.write(other)
        status = (await asyncio.wait_for(one.reader.readline(), 10)).split()[1]
        assert status in (b"200", b"403", b"404")
        while len(spawned) < count:
            await asyncio.sleep(0.001)
        one = await to(running.token_path)


async def test_it_waits_its_turn_behind_others_on_its_connection(running: Running, to: To) -> None:
    one = await to(running.token_path)
    assert (await one.ask(LEASE))[0] == 200
    one.writer.write(ask("/v1/accounts") + LEASE)
    one.writer.write(LEASE)
    bodies = [json.loads((await one.answer())[2]) for _ in range(3)]
    assert [min(each) for each in bodies] == ["accounts", "access_token", "access_token"]
    one.writer.write(LEASE[:20])
    await asyncio.sleep(0.01)
    one.writer.write(LEASE[20:])
    assert (await one.answer())[0] == 200


async def test_the_requests_known_are_bounded(running: Running) -> None:
    shortcut = Shortcut(running.daemon.dispatch.leases)
    call = resolve("GET", f"/v1/lease/{ANN}", control=False)
    for number in range(_KEPT + 5):
        shortcut.learn(b"%d" % number, call)
    assert len(shortcut._known) == _KEPT
    assert shortcut.lease(b"4") is None
    assert shortcut.lease(b"5") is not None
