"""An image of 20 MB through translation, in a request and in an answer: the proxy's peak memory, and whether it waits for the last byte.

The other side of the measurement is this process: it sends in pieces over a quarter of a second and notes when the first byte comes out and the last goes in.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field

from benchmarks import bars, machine, traffic
from benchmarks.harness import Better, Contest, Metric, Outcome
from benchmarks.home import BenchError, Home
from benchmarks.rig import start
from benchmarks.suites import Context

_IMAGE_BYTES = 20_000_000  # of base64: what is on the wire
_PIECE = 256 * 1024
_OVER_SECONDS = 0.25
_LIMIT_SECONDS = 60.0
_METRICS = (
    Metric("peak", "bodies"),
    Metric("early", "", Better.HIGHER),
    Metric("wall", "ms"),
    Metric("cpu", "ms"),
)
_NOTES = (
    "peak is the highest resident memory (VmHWM) beyond that before the request, in lengths of the body; the proxy is started anew for each",
    "early 1: the first byte was out before the last was in; of a request none can be, since its model and whether it streams may stand behind the image",
    "the sender takes a quarter of a second",
)


@dataclass(slots=True)
class Upstream:
    """Answers every request with `answer`, in pieces where it is long; notes when a request's body began and when an answer's last byte went out."""

    answer: bytes
    first_in: float = 0.0
    last_out: float = 0.0
    received: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._body(reader, head.lower())
                await paced(writer, self.answer)
                self.last_out = time.perf_counter()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _body(self, reader: asyncio.StreamReader, head: bytes) -> None:
        self.first_in, self.received = 0.0, 0
        chunked = b"transfer-encoding: chunked" in head
        left = -1 if chunked else int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        while left:
            if chunked:
                size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
                await reader.readexactly(size + 2)
                taken, left = size, size
            else:
                taken = len(await reader.read(min(left, _PIECE)))
                left -= taken
                if not taken:
                    raise ConnectionError
            self.first_in = self.first_in or time.perf_counter()
            self.received += taken


async def paced(writer: asyncio.StreamWriter, text: bytes) -> None:
    """Write, in pieces where it is long. The last one is out when this returns."""
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)]
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(_OVER_SECONDS / len(pieces))
        writer.write(piece)
        await writer.drain()


async def run(context: Context) -> list[Outcome]:
    """Measure both ways."""
    image = "A" * _IMAGE_BYTES
    plain, asking = traffic.response(traffic.gemini_answer()), traffic.openai(f"gemini-{traffic.WHOLE}", stream=True)
    upstream = Upstream(plain)
    home = Home()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    try:
        port = await start(home, server.sockets[0].getsockname(), proxy=False)

        async def outcome(name: str, title: str, answer: bytes, asked: bytes) -> Outcome:
            async def measure() -> dict[str, float]:
                return await _fresh(home, port, upstream, answer, asked)

            contest = Contest(name, title, _METRICS, {bars.OURS: measure}, bars=bars.of(name), notes=list(_NOTES))
            return await contest.run(context.rounds(1, 3))

        return [
            await outcome("image_sent", "20 MB image in an OpenAI chat to Gemini", plain, _request(image)),
            await outcome(
                "image_received", "20 MB image in a Gemini stream to an OpenAI client", _answer(image), asking
            ),
        ]
    finally:
        for writer in upstream.writers:
            writer.close()
        server.close()
        await home.close()


async def _fresh(home: Home, port: int, upstream: Upstream, answer: bytes, asked: bytes) -> dict[str, float]:
    """Measure a proxy that has served one small request: what is loaded for the first one is not the image's."""
    await home.start("proxy")
    upstream.answer = traffic.response(traffic.gemini_answer())
    await _exchange(port, traffic.openai(f"gemini-{traffic.WHOLE}"))
    upstream.answer = answer
    measured = await _measured(home.pid("proxy"), port, upstream, asked, max(len(answer), len(asked)))
    await home.stop("proxy")
    return measured


async def _measured(pid: int, port: int, upstream: Upstream, asked: bytes, size: int) -> dict[str, float]:
    machine.forget_peak(pid)
    before, cpu, began = machine.memory_mib(pid), machine.cpu_seconds(pid), time.perf_counter()
    last_sent, first_back, got = await _exchange(port, asked)
    took = time.perf_counter() - began
    in_request = len(asked) > _IMAGE_BYTES
    if (upstream.received if in_request else got) < _IMAGE_BYTES:
        raise BenchError("the image did not come through")
    early = upstream.first_in < last_sent if in_request else first_back < upstream.last_out
    return {
        "peak": (machine.peak_mib(pid) - before) * 2**20 / size,
        "early": float(early),
        "wall": took * 1e3,
        "cpu": (machine.cpu_seconds(pid) - cpu) * 1e3,
    }


async def _exchange(port: int, asked: bytes) -> tuple[float, float, int]:
    """Send a request and read its answer; return when its last byte was sent, when the first one came back, and how much came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_PIECE)
    async with asyncio.timeout(_LIMIT_SECONDS):
        await paced(writer, asked)
        last_sent = time.perf_counter()
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"not a 200: {(head + await reader.read(300))!r}")
        first_back, got, end = 0.0, 0, b""
        while piece := await reader.read(_PIECE):
            first_back = first_back or time.perf_counter()
            got += len(piece)
            end = (end + piece)[-16:]
            if b"\r\n0\r\n\r\n" in end or _complete(head, got):
                break
    writer.close()
    return last_sent, first_back, got


def _complete(head: bytes, got: int) -> bool:
    _, found, rest = head.lower().partition(b"content-length:")
    return bool(found) and got >= int(rest.partition(b"\r\n")[0])


def _request(image: str) -> bytes:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}
    chat = {"model": f"gemini-{traffic.WHOLE}", "messages": [{"role": "user", "content": [part]}]}
    return traffic.post("/v1/chat/completions", json.dumps(chat).encode())


def _answer(image: str) -> bytes:
    """A Gemini stream of a word, as image models say one first, and a line that holds the image, each in one chunk of the framing."""
    word = _event({"content": {"parts": [{"text": "Here"}], "role": "model"}, "index": 0})
    parts = [{"inlineData": {"mimeType": "image/png", "data": image}}]
    drawn = _event({"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0})
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"%s%s%s0\r\n\r\n" % (head, word, drawn)


def _event(candidate: dict[str, object]) -> bytes:
    line = f"data: {json.dumps({'candidates': [candidate], 'modelVersion': 'gemini-bench'})}\r\n\r\n".encode()
    return b"%x\r\n%s\r\n" % (len(line), line)
