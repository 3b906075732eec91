"""Framing, pacing and faults of a stream, whatever it says."""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from broker.sandbox.faults import Cut, ErrorEvent, Slow, Stall
from broker.sandbox.settings import SandboxSettings
from broker.sandbox.stream import Stream, send
from broker.sandbox.world import build
from tests.fakes.clock import FakeChance, LiveClock

JOB = web.AppKey("job", list)


@pytest.fixture
def world():
    return build(SandboxSettings(), LiveClock(), FakeChance())


@pytest.fixture
async def streaming(world, aiohttp_client):
    async def handler(request: web.Request) -> web.StreamResponse:
        stream, fault = request.app[JOB]
        return await send(world, request, stream, fault)

    app = web.Application()
    app[JOB] = [None, None]
    app.router.add_get("/", handler)
    return await aiohttp_client(app), app[JOB]  # cancels the handler when its client leaves, as the product does


async def read(client) -> tuple[bytes, bool]:
    got = bytearray()
    async with client.get("/") as answer:
        try:
            async for data in answer.content.iter_any():
                got += data
        except aiohttp.ClientPayloadError:
            return bytes(got), False
    return bytes(got), True


def stream(count: int, *, sse: bool = True, delay: float = 0.0) -> Stream:
    return Stream([{"n": n} for n in range(count)], delay, sse, "m")


@pytest.mark.parametrize(
    ("made", "fault", "body"),
    [
        (stream(2), None, b'data: {"n":0}\r\n\r\ndata: {"n":1}\r\n\r\n'),
        (stream(0), None, b""),
        (stream(2, sse=False), None, b'[{"n":0},\r\n{"n":1}]'),
        (stream(1, sse=False), None, b'[{"n":0}]'),
        (stream(0, sse=False), None, b"[]"),
        (stream(2, delay=0.001), Slow(0.001), b'data: {"n":0}\r\n\r\ndata: {"n":1}\r\n\r\n'),
        (stream(2), ErrorEvent(9), b'data: {"n":0}\r\n\r\ndata: {"n":1}\r\n\r\n'),
    ],
)
async def test_framing(streaming, world, made, fault, body):
    client, job = streaming
    job[:] = [made, fault]
    assert await read(client) == (body, True)
    assert (world.stats.streams_started, world.stats.streams_finished, world.stats.streams_abandoned) == (1, 1, 0)


@pytest.mark.parametrize("sse", [True, False])
async def test_an_error_ends_the_stream_in_good_order(streaming, sse):
    client, job = streaming
    job[:] = [stream(5, sse=sse), ErrorEvent(2, 500)]
    got, complete = await read(client)
    assert complete
    text = got.decode()
    messages = [json.loads(e.removeprefix("data: ")) for e in text.split("\r\n\r\n")[:-1]] if sse else json.loads(text)
    assert messages[:2] == [{"n": 0}, {"n": 1}]
    assert messages[2]["error"]["status"] == "INTERNAL"
    assert len(messages) == 3


@pytest.mark.parametrize(("after", "expected"), [(None, 17), (0, 0), (1, 1), (17, 17), (20, 20), (50, 50)])
async def test_a_cut_is_exact_and_seen(streaming, after, expected):
    client, job = streaming
    job[:] = [stream(3), Cut(after)]
    got, complete = await read(client)
    assert len(got) == expected
    assert not complete


async def test_a_cut_beyond_the_end_changes_nothing(streaming):
    client, job = streaming
    job[:] = [stream(3), Cut(9999)]
    assert (await read(client))[1]


async def test_a_stalled_stream_stays_open_until_the_client_leaves(streaming, world):
    client, job = streaming
    job[:] = [stream(3), Stall(1)]
    async with client.get("/") as answer:
        assert await answer.content.readuntil(b"\r\n\r\n") == b'data: {"n":0}\r\n\r\n'
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await answer.content.readany()
        assert world.stats.streams_abandoned == 0
    async with asyncio.timeout(5):
        while not world.stats.streams_abandoned:
            await asyncio.sleep(0.01)
    assert world.stats.streams_finished == 0
