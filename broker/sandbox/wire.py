"""How the sandbox moves bytes: reading bodies, noting requests, performing faults.

Owns: everything about connections that all its endpoints share. `faults` decides which fault a request gets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import assert_never
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from broker.sandbox.faults import (
    Answer,
    Cut,
    Delay,
    Drop,
    DropAfterGrant,
    ErrorEvent,
    ErrorStatus,
    Fault,
    Hang,
    RateLimit,
    Slow,
    Stall,
)
from broker.sandbox.stats import RequestNote, mask
from broker.sandbox.world import World

MAX_BODY_BYTES = 64 * 1024 * 1024  # prompts with several inline images
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})

Work = Callable[[], web.Response]
ErrorFor = Callable[[ErrorStatus | RateLimit], web.Response]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)


def html_response(text: str, status: int = 200) -> web.Response:
    """Return a page that may load and run nothing."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'", "Cache-Control": "no-store"}
    return web.Response(text=text, status=status, content_type="text/html", headers=headers)


def note(world: World, request: web.Request, body: object, user: str | None) -> None:
    """Put a request into the log, masked."""
    world.stats.note(
        RequestNote(
            at=world.clock.now().wall,
            method=request.method,
            path=request.path,
            query={k: mask(v, k) for k, v in request.query.items()},
            headers={k: mask(v, k.lower()) for k, v in request.headers.items()},
            body=mask(body),
            user=user,
        )
    )


async def read_params(request: web.Request) -> dict[str, str]:
    """Return the parameters of an OAuth request: a form, or a JSON object as some clients send.

    Raises:
        ValueError: neither.
    """
    raw = await request.read()
    if request.content_type == "application/json":
        try:
            return msgspec.json.decode(raw, type=dict[str, str])
        except msgspec.MsgspecError as error:
            raise ValueError(str(error)) from None
    if request.content_type != "application/x-www-form-urlencoded":
        raise ValueError("the body must be a form or JSON")
    pairs = parse_qsl(raw.decode("utf-8", "strict"), keep_blank_values=True)
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a parameter is repeated")  # RFC 6749 section 3.2
    return dict(pairs)


async def under_fault(
    world: World, request: web.Request, fault: Fault | None, work: Work, error_for: ErrorFor
) -> web.StreamResponse:
    """Answer with what `work` returns, the way the fault demands. `work` runs at most once."""
    response: web.StreamResponse
    match fault:
        case None | Slow() | Stall() | ErrorEvent():
            response = work()
        case Answer():
            response = scripted(fault)
        case ErrorStatus() | RateLimit():
            response = error_for(fault)
        case Delay():
            response = await _late(world, fault, work)
        case Drop() | DropAfterGrant():
            if not isinstance(fault, Drop) or fault.after_grant:
                work()
            response = drop(request)
        case Hang():
            if fault.after_grant:
                work()
            response = await hang()
        case Cut():
            response = await cut(request, work(), fault.after_bytes)
        case _:
            assert_never(fault)
    return response


def scripted(fault: Answer) -> web.Response:
    """Return the answer a fault spells out."""
    headers = {"Content-Type": fault.content_type, **fault.headers}
    return web.Response(body=fault.body.encode(), status=fault.status, headers=headers)


def drop(request: web.Request) -> web.Response:
    """Close the connection; the response returned is never sent."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def hang() -> web.Response:
    """Wait until the client leaves or the server stops."""
    await asyncio.Event().wait()
    return web.Response(status=500)


async def cut(request: web.Request, whole: web.Response, after_bytes: int | None) -> web.StreamResponse:
    """Send the head of an answer and the start of its body, then close."""
    assert isinstance(whole.body, bytes)
    keep = len(whole.body) // 2 if after_bytes is None else min(after_bytes, len(whole.body))
    headers = {**whole.headers, "Content-Length": str(len(whole.body))}
    partial = web.StreamResponse(status=whole.status, headers=headers)
    await partial.prepare(request)
    await partial.write(whole.body[:keep])
    close(request)
    return partial


def close(request: web.Request) -> None:
    """Close the connection after what has been written is out."""
    if request.transport is not None:
        request.transport.close()


async def _late(world: World, fault: Delay, work: Work) -> web.Response:
    if not fault.after_grant:
        await world.clock.sleep(fault.seconds)
        return work()
    response = work()
    await world.clock.sleep(fault.seconds)
    return response


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep web pages out: refuse host names other than loopback's, and browsers at the control paths."""
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    if host not in _LOOPBACK:
        return json_response({"error": "forbidden", "error_description": "the Host is not on loopback"}, 403)
    if request.path.startswith("/sandbox/") and ("Origin" in request.headers or "Referer" in request.headers):
        return json_response({"error": "forbidden", "error_description": "not for browsers"}, 403)
    return await handler(request)


def date_signal(world: World) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return the signal that writes the Date header with the configured offset."""

    async def stamp(request: web.Request, response: web.StreamResponse) -> None:
        _ = request
        wall = world.clock.now().wall + world.settings.date_offset
        response.headers["Date"] = formatdate(wall, usegmt=True)

    return stamp
