"""Sending a streamed answer, paced and faulty as told.

Owns: the two framings of streamGenerateContent (server-sent events, and one JSON array) and what faults do to them. `answers` says
what is sent.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from aiohttp import web

from broker.sandbox import wire
from broker.sandbox.faults import Cut, ErrorEvent, Fault, Slow, Stall
from broker.sandbox.rpc import told_to_fail
from broker.sandbox.world import World


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer ready to be sent: its messages, seconds before each, and the framing."""

    messages: Iterable[object]
    delay: float
    sse: bool
    model: str


async def send(world: World, request: web.Request, stream: Stream, fault: Fault | None) -> web.StreamResponse:
    """Send a stream to its end, or as far as the fault lets it; count how it went."""
    headers = {"Content-Type": "text/event-stream" if stream.sse else "application/json"}
    response = web.StreamResponse(headers=headers)
    world.stats.streams_started += 1
    finished = False
    try:
        await response.prepare(request)
        await _send_all(world, request, response, stream, fault)
        finished = True
    finally:
        # Not finished: the client left, so that writing failed or the handler was cancelled.
        world.stats.streams_finished += finished
        world.stats.streams_abandoned += not finished
    return response


async def _send_all(
    world: World, request: web.Request, response: web.StreamResponse, stream: Stream, fault: Fault | None
) -> None:
    delay = fault.seconds if isinstance(fault, Slow) else stream.delay
    budget = fault.after_bytes if isinstance(fault, Cut) else None
    for number, frame in enumerate(_frames(stream, fault)):
        if isinstance(fault, Stall) and number >= fault.after_chunks:
            await wire.hang()
        if delay:
            await world.clock.sleep(delay)
        if not isinstance(fault, Cut):
            await response.write(frame)
            continue
        budget = len(frame) if budget is None else budget  # null: after the first chunk
        if budget:
            await response.write(frame[:budget])
        budget -= min(budget, len(frame))
        if not budget:
            wire.close(request)
            return
    await response.write_eof()


def _frames(stream: Stream, fault: Fault | None) -> Iterator[bytes]:
    number = 0
    for number, message in enumerate(_messages(stream, fault), 1):
        data = msgspec.json.encode(message)
        if stream.sse:
            yield b"data: " + data + b"\r\n\r\n"
        else:
            yield (b"[" if number == 1 else b",\r\n") + data
    if not stream.sse:
        yield b"]" if number else b"[]"


def _messages(stream: Stream, fault: Fault | None) -> Iterator[object]:
    for number, message in enumerate(stream.messages):
        if isinstance(fault, ErrorEvent) and number >= fault.after_chunks:
            yield told_to_fail(fault.status, stream.model).body()
            return
        yield message
