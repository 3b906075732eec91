"""A worker between a client made of bytes and an upstream that keeps every byte.

What goes in on either side is the test's, what comes out must be HTTP of one reading.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from broker.config import UpstreamConfig
from broker.proxy.wire.exchange import Limits
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.recording_upstream import Answer, Line, RecordingUpstream
from tests.fakes.strict_http import Message, Reading, answers
from tests.fakes.upstream import answer

PATH = b"/v1/chat/completions"
CUT = "it ended in the middle"
CLOSE = b"Connection: close\r\n"
KEY = b"a-test-key"
JSON = "Content-Type: application/json"


def chat(text: str) -> bytes:
    return json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}).encode()


ASKED, HIDDEN = chat("asked"), chat("hidden")


def said(text: str) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"id": "1", "object": "chat.completion", "model": "gpt-4o", "choices": [choice]}).encode()


GOOD = answer(said("fine"), "200 OK", JSON)
GEMINI = b'{"candidates":[{"content":{"role":"model","parts":[{"text":"fine"}]},"finishReason":"STOP"}]}'


async def good(line: Line, taken: Message) -> None:
    await line.send(answer(GEMINI, "200 OK", JSON) if b"/models/" in taken.first[1] else GOOD)


@dataclass
class Rig:
    proxy: Any
    upstream: RecordingUpstream

    def post(self, fields: bytes = b"", body: bytes = ASKED, target: bytes = PATH, host: bytes = b"") -> bytes:
        """Write a request with a key; a plain length is told unless `fields` tell one."""
        host = host or b"Host: 127.0.0.1:%d\r\n" % self.proxy.port
        framed = re.search(rb"^ ?(content-length|transfer-encoding) ?:", fields, re.IGNORECASE | re.MULTILINE)
        length = b"" if framed else b"Content-Length: %d\r\n" % len(body)
        key = b"Authorization: Bearer %b\r\n" % KEY
        return b"POST %b HTTP/1.1\r\n%b%b%b%b\r\n%b" % (target, host, key, fields, length, body)

    async def say(self, *pieces: bytes, methods: tuple[str, ...] = ()) -> Reading:
        """Send, and read until the proxy closes; what it said must be answers of one reading, or cut (`fault`) in the last of them."""
        reader, writer = await self.proxy.dial()
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        return await self.hear(reader, methods)

    @staticmethod
    async def hear(reader: asyncio.StreamReader, methods: tuple[str, ...] = ()) -> Reading:
        data = b""
        with contextlib.suppress(ConnectionError):
            data = await asyncio.wait_for(reader.read(), 10)
        reading = answers(data, methods, closed=True)
        assert reading.exact or reading.fault == CUT, (reading.fault, data[-300:])
        return reading

    @property
    def forwarded(self) -> list[bytes]:
        """The bodies that reached the upstream."""
        return [each.body or b"" for each in self.upstream.requests]


@asynccontextmanager
async def rigged(proxy: Any, reply: Answer = good, *, early: bool = False, **limits: float) -> AsyncIterator[Rig]:
    """`proxy` is the fixture of that name."""
    daemon = FakeDaemon()
    daemon.put(*(account(name, lease(name, "fake-key-1")) for name in ("openai-api/key", "gemini-api/key")))
    async with RecordingUpstream(reply, early) as upstream:
        there = {name: UpstreamConfig(base_url=upstream.url) for name in ("openai", "gemini")}
        kept = Limits(**{"linger_seconds": 0.1, **limits})  # type: ignore[arg-type]
        async with proxy(daemon, upstreams=there, limits=kept) as running:
            yield Rig(running, upstream)


def statuses(reading: Reading) -> list[int]:
    return [each.status for each in reading.messages]
