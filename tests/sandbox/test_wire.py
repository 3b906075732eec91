"""What all endpoints share: reading parameters, keeping strangers out, the Date header, performing faults."""

from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from aiohttp import web

from broker.sandbox import wire
from broker.sandbox.faults import (
    Answer,
    Cut,
    Delay,
    Drop,
    DropAfterGrant,
    ErrorEvent,
    ErrorStatus,
    RateLimit,
    Slow,
    Stall,
)
from broker.sandbox.settings import SandboxSettings
from broker.sandbox.world import build
from tests.fakes.clock import START_WALL, FakeChance, LiveClock

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def world():
    return build(SandboxSettings(date_offset=-90), LiveClock(), FakeChance())


@pytest.fixture
async def echo(aiohttp_client):
    async def handler(request: web.Request) -> web.Response:
        try:
            return wire.json_response(await wire.read_params(request))
        except ValueError as error:
            return wire.json_response({"refused": str(error)}, 400)

    app = web.Application(middlewares=[wire.guard])
    app.router.add_post("/{path:.*}", handler)
    return await aiohttp_client(app)


@pytest.mark.parametrize(
    ("body", "kind", "params"),
    [
        (b"a=1&b=x+y%26&c=", FORM, {"a": "1", "b": "x y&", "c": ""}),
        (b"", FORM, {}),
        (b"a=1&a=2", FORM, None),
        (b"a=\xff", FORM, None),
        (b'{"a": "1"}', "application/json", {"a": "1"}),
        (b'{"a": 1}', "application/json", None),
        (b"[", "application/json", None),
        (b"a=1", "text/plain", None),
    ],
)
async def test_parameters_come_as_form_or_json(echo, body, kind, params):
    async with echo.post("/token", data=body, headers={"Content-Type": kind}) as answer:
        assert answer.status == (400 if params is None else 200)
        if params is not None:
            assert await answer.json() == params


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/token", {"Host": "evil.example"}, 403),
        ("/token", {"Host": "evil.example:8080"}, 403),
        ("/token", {"Host": "localhost"}, 200),
        ("/token", {"Host": "[::1]:3"}, 200),
        ("/token", {"Host": "[::1]"}, 200),
        ("/token", {"Origin": "http://x"}, 200),
        ("/sandbox/faults", {"Origin": "http://x"}, 403),
        ("/sandbox/faults", {"Referer": "http://x"}, 403),
        ("/sandbox/faults", {}, 200),
    ],
)
async def test_who_is_let_in(echo, path, headers, status):
    async with echo.post(path, data=b"", headers={"Content-Type": FORM, **headers}) as answer:
        assert answer.status == status


@pytest.fixture
async def faulty(world, aiohttp_client):
    """A server whose one endpoint strikes with the fault it is given, and a list that says how often the work was done."""
    done: list[int] = []

    def work() -> web.Response:
        done.append(1)
        return wire.json_response({"done": len(done)})

    def fail(told: ErrorStatus | RateLimit) -> web.Response:
        return wire.json_response({"told": True}, told.status if isinstance(told, ErrorStatus) else 429)

    async def handler(request: web.Request) -> web.StreamResponse:
        return await wire.under_fault(world, request, request.app[FAULT][0], work, fail)

    app = web.Application()
    app[FAULT] = [None]
    app.on_response_prepare.append(wire.date_signal(world))
    app.router.add_get("/", handler)
    return await aiohttp_client(app), app[FAULT], done


FAULT = web.AppKey("fault", list)


@pytest.mark.parametrize(
    ("fault", "status", "times_done"),
    [
        (None, 200, 1),
        (Answer(418, "x", "text/plain", {"X-Odd": "1"}), 418, 0),
        (ErrorStatus(502), 502, 0),
        (RateLimit(), 429, 0),
        (Delay(0), 200, 1),
        (Delay(0, after_grant=False), 200, 1),
        (Slow(9), 200, 1),
        (Stall(), 200, 1),
        (ErrorEvent(), 200, 1),
        (Drop(), None, 0),
        (Drop(after_grant=True), None, 1),
        (DropAfterGrant(), None, 1),
    ],
)
async def test_faults_are_performed(faulty, fault, status, times_done):
    client, strikes, done = faulty
    strikes[0] = fault
    if status is None:
        with pytest.raises(aiohttp.ClientError):
            await client.get("/")
    else:
        async with client.get("/") as answer:
            assert answer.status == status
            assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == START_WALL - 90
            assert answer.headers.get("X-Odd") == ("1" if status == 418 else None)
    assert len(done) == times_done


@pytest.mark.parametrize(("after", "expected"), [(None, 5), (3, 3), (0, 0), (999, 10)])
async def test_a_body_is_cut(faulty, after, expected):
    client, strikes, _ = faulty
    strikes[0] = Cut(after)
    async with client.get("/") as answer:
        assert answer.headers["Content-Length"] == str(len(b'{"done":1}'))
        got = b""
        try:
            async for data in answer.content.iter_any():
                got += data
        except aiohttp.ClientPayloadError:
            assert expected < 10
    assert got == b'{"done":1}'[:expected]


def test_pages_may_load_nothing():
    response = wire.html_response("<p>", 400)
    assert (response.status, response.content_type) == (400, "text/html")
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
