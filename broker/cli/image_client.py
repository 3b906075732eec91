"""Sending an image request to the proxy, and putting the images away.

Owns: one HTTP request, the progress shown meanwhile, and files that are written whole or not at all and never over another. `broker.cli.image_plan` decides
what is asked and what the answer means.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from broker.cli import image_plan
from broker.cli.image_plan import Answer, Reading, Wish
from broker.model.clock import Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.observe.tasks import spawn
from broker.settings.checks import is_loopback

Tell = Callable[[float, int], None]
"""Is told, twice a second: elapsed seconds, bytes received."""

_TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Door:
    """Where the proxy is and what opens it. `timeout` is seconds for the whole answer."""

    url: str
    key: Secret
    timeout: float


@dataclass(frozen=True, slots=True)
class Refused:
    """The proxy answered with an HTTP error."""

    status: int
    detail: str


def check_door(url: str, *, own_key: bool) -> None:
    """Refuse to send a key where it could be read, or where it opens nothing.

    Raises:
        BrokerError: `bad_request`.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"not a URL: {url}", hint="Write it as http://127.0.0.1:8317.")
    if is_loopback(parts.hostname):
        return
    if parts.scheme == "http":
        raise BrokerError(ErrorCode.BAD_REQUEST, "plain http is used for loopback hosts only", hint="Use https.")
    if not own_key:
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            "a proxy on another host needs a key of its own",
            hint="Give one with --api-key-file, or in CCS_BROKER_API_KEY.",
        )


async def ask(door: Door, wish: Wish, clock: Clock, tell: Tell) -> Answer | Refused:
    """Send the request and read its answer.

    Raises:
        BrokerError: `daemon_unreachable` where no proxy answers or its answer breaks off, `deadline_exceeded`, `internal` where it makes no sense.
    """
    counter = _Counter(clock, tell)
    ticking = spawn(counter.tick(), name="image: progress")
    timeout = aiohttp.ClientTimeout(total=door.timeout)
    headers = {"Authorization": f"Bearer {door.key.reveal()}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.post(
                f"{door.url}/v1/chat/completions", json=image_plan.body(wish), headers=headers, allow_redirects=False
            ) as response,
        ):
            return await _read(response, counter)
    except TimeoutError:
        raise BrokerError(
            ErrorCode.DEADLINE_EXCEEDED,
            f"no whole answer within {door.timeout:g} s",
            hint="Try again, or with a longer --timeout.",
        ) from None
    except (aiohttp.ClientError, OSError) as error:
        raise BrokerError(
            ErrorCode.DAEMON_UNREACHABLE,
            f"no proxy answers at {door.url}: {_reason(error)}",
            hint="Start it: ccs-broker up",
        ) from None
    except ValueError:
        raise BrokerError(ErrorCode.INTERNAL, f"what answers at {door.url} does not speak this API") from None
    finally:
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking


def save(answer: Answer, wish: Wish, folder: Path, clock: Clock, seconds: float) -> tuple[tuple[Path, ...], Path]:
    """Write every image and the metadata into `folder`, and return their paths.

    Raises:
        BrokerError: `storage_unwritable`, naming the folder.
    """
    now = datetime.fromtimestamp(clock.now().wall, UTC).astimezone()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = tuple(
            _write(folder, image_plan.picture_names(now, number, picture.mime), picture.data)
            for number, picture in enumerate(answer.pictures, 1)
        )
        names = tuple(file.name for file in files)
        text = json.dumps(image_plan.metadata(wish, answer, names, now, seconds), indent=2, ensure_ascii=False)
        return files, _write(folder, image_plan.metadata_names(now), text.encode() + b"\n")
    except OSError as error:
        raise BrokerError(
            ErrorCode.STORAGE_UNWRITABLE, f"{folder}: {error.strerror}", hint="Choose another folder with --out."
        ) from error


async def _read(response: aiohttp.ClientResponse, counter: "_Counter") -> Answer | Refused:
    reading, buffer = Reading(), bytearray()
    streamed = response.status == 200 and response.content_type == "text/event-stream"
    async for piece in response.content.iter_any():
        counter.received += len(piece)
        # A search for line breaks starts where the last one ended: a 4K image is one line of 20 MB.
        searched = len(buffer)
        buffer += piece
        if streamed and b"\n" in piece:
            _events(buffer, searched, reading)
    if response.status != 200:
        return Refused(response.status, image_plan.refusal(bytes(buffer), response.status))
    if not streamed:
        reading.whole(bytes(buffer))
    return reading.answer


def _events(buffer: bytearray, searched: int, reading: Reading) -> None:
    """Take the whole lines off the front of `buffer`. Our proxy writes one `data:` line an event, as OpenAI does."""
    start = 0
    while (end := buffer.find(b"\n", max(start, searched))) >= 0:
        line = bytes(buffer[start:end]).rstrip(b"\r")
        start = end + 1
        if line.startswith(b"data:"):
            reading.event(line[5:])
    del buffer[:start]


class _Counter:
    def __init__(self, clock: Clock, tell: Tell) -> None:
        self.received = 0
        self._clock = clock
        self._tell = tell

    async def tick(self) -> None:
        started = self._clock.now().boot
        while True:
            self._tell(self._clock.now().boot - started, self.received)
            await self._clock.sleep(_TICK_SECONDS)


def _write(folder: Path, names: Iterator[str], data: bytes) -> Path:
    """Write `data` under the first free name: reserve it, write beside it, and put it in place in one step."""
    for name in names:
        target = folder / name
        try:
            reserved = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        os.close(reserved)
        beside = folder / f".{name}.{os.getpid()}.part"
        try:
            beside.write_bytes(data)
            beside.replace(target)
        except BaseException:
            target.unlink(missing_ok=True)
            with suppress(OSError):  # it may never have been made
                beside.unlink()
            raise
        return target
    raise AssertionError("there is no end of names")


def _reason(error: Exception) -> str:
    # asyncio's own text for a refused connection is not for people; the number says what happened.
    number = getattr(getattr(error, "os_error", error), "errno", None)
    return os.strerror(number) if number else str(error) or type(error).__name__
