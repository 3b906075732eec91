import asyncio
import base64
import json
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from broker.cli import image_client
from broker.cli.image_client import Door, Refused, ask, check_door, save
from broker.cli.image_plan import Answer, Picture, Wish
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.system import SystemClock
from tests.fakes.clock import FakeClock

KEY = Secret("fake-proxy-key")
CLOCK = SystemClock()
PNG = b"\x89PNG" + bytes(range(256)) * 40


def chunk(data: bytes) -> bytes:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    document = {"choices": [{"index": 0, "delta": {"images": [{"type": "image_url", "image_url": {"url": url}}]}}]}
    return f"data: {json.dumps(document)}\r\n\r\n".encode()


@asynccontextmanager
async def proxy(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Door]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(request)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield Door(f"http://{host}:{port}", KEY, 10.0)
    finally:
        await runner.cleanup()


def quiet(elapsed: float, received: int) -> None:
    pass


async def streamed(request: web.Request, pieces: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    return response


async def test_the_request_is_what_was_planned_and_carries_the_key() -> None:
    seen: list[tuple[str | None, object]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Authorization"), await request.json()))
        return web.json_response({"choices": [{"message": {"content": "no image"}}]})

    async with proxy(answer) as door:
        got = await ask(door, Wish("a cat", stream=False), CLOCK, quiet)
    assert isinstance(got, Answer)
    assert got.text == "no image"
    ((authorization, body),) = seen
    assert authorization == "Bearer fake-proxy-key"
    assert isinstance(body, dict)
    assert body["messages"] == [{"role": "user", "content": "a cat"}]


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
async def test_a_stream_is_read_whatever_its_pieces(size: int) -> None:
    data = b": hello\r\n\r\n" + chunk(PNG) + chunk(b"two") + b"data: [DONE]\n\n"
    pieces = [data[start : start + size] for start in range(0, min(len(data), 3000) if size == 1 else len(data), size)]
    if size == 1:
        pieces.append(data[3000:])

    async with proxy(lambda request: streamed(request, pieces)) as door:
        got = await ask(door, Wish("a cat"), CLOCK, quiet)
    assert isinstance(got, Answer)
    assert [picture.data for picture in got.pictures] == [PNG, b"two"]


async def test_one_line_of_twenty_megabytes_is_no_trouble() -> None:
    big = bytes(15 << 20)
    async with proxy(lambda request: streamed(request, [chunk(big), b"data: [DONE]\n\n"])) as door:
        got = await ask(door, Wish("a cat"), CLOCK, quiet)
    assert isinstance(got, Answer)
    assert [len(picture.data) for picture in got.pictures] == [len(big)]


async def test_progress_tells_time_and_bytes() -> None:
    told: list[tuple[float, int]] = []
    go_on = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": 12345\n\n")
        await go_on.wait()
        return response

    clock = FakeClock()
    async with proxy(answer) as door:
        asking = asyncio.get_running_loop().create_task(
            ask(door, Wish("a cat"), clock, lambda *what: told.append(what))
        )
        while not told or told[-1][1] == 0:
            await asyncio.sleep(0.01)
            clock.advance(0.5)
        go_on.set()
        await asking
    assert told[0] == (0.0, 0)
    assert told[-1][1] == 9
    assert told[-1][0] > 0


async def test_an_error_answer_is_refused_with_its_reason() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no account can serve this"}}, status=503)

    async with proxy(answer) as door:
        got = await ask(door, Wish("a cat"), CLOCK, quiet)
    assert got == Refused(503, "the proxy answered 503: no account can serve this")


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/elsewhere"})

    async with proxy(answer) as door:
        got = await ask(door, Wish("a cat"), CLOCK, quiet)
    assert isinstance(got, Refused)
    assert got.status == 307


async def test_no_proxy() -> None:
    async with proxy(lambda request: streamed(request, [])) as door:
        pass
    with pytest.raises(BrokerError, match=r"no proxy answers at .*: Connection refused") as caught:
        await ask(door, Wish("a cat"), CLOCK, quiet)
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
    assert "ccs-broker up" in caught.value.hint


async def test_an_answer_that_breaks_off() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices"')
        assert request.transport is not None
        request.transport.close()
        return response

    async with proxy(answer) as door:
        with pytest.raises(BrokerError) as caught:
            await ask(door, Wish("a cat", stream=False), CLOCK, quiet)
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE


async def test_no_answer_in_time() -> None:
    enough = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        await enough.wait()
        return web.Response()

    async with proxy(answer) as door:
        with pytest.raises(BrokerError, match=r"within 0\.2 s") as caught:
            await ask(Door(door.url, door.key, 0.2), Wish("a cat"), CLOCK, quiet)
        enough.set()
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED


async def test_a_stranger_on_the_port() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with proxy(answer) as door:
        with pytest.raises(BrokerError, match="does not speak this API") as caught:
            await ask(door, Wish("a cat"), CLOCK, quiet)
    assert caught.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize(
    ("url", "own_key", "why"),
    [
        ("ftp://127.0.0.1", True, "not a URL"),
        ("nonsense", True, "not a URL"),
        ("http://192.0.2.1:8317", True, "plain http"),
        ("https://proxy.example", False, "needs a key of its own"),
    ],
)
def test_doors_that_are_not_knocked_at(url: str, own_key: bool, why: str) -> None:
    with pytest.raises(BrokerError, match=why):
        check_door(url, own_key=own_key)


@pytest.mark.parametrize(
    ("url", "own_key"),
    [
        ("http://127.0.0.1:8317", False),
        ("http://[::1]:1", False),
        ("http://localhost", True),
        ("https://proxy.example", True),
    ],
)
def test_doors_that_are(url: str, own_key: bool) -> None:
    check_door(url, own_key=own_key)


ANSWER = Answer((Picture("image/png", b"one"), Picture("image/jpeg", b"two")), "Here.")


def test_images_and_metadata_are_saved(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    files, about = save(ANSWER, Wish("a cat"), folder, FakeClock(), 2.0)
    stem = files[0].name.removeprefix("image_").removesuffix("_1.png")
    assert [file.name for file in files] == [f"image_{stem}_1.png", f"image_{stem}_2.jpg"]
    assert [file.read_bytes() for file in files] == [b"one", b"two"]
    assert about.name == f"metadata_{stem}.json"
    assert json.loads(about.read_text())["files"] == [file.name for file in files]
    assert {each.name for each in folder.iterdir()} == {*(file.name for file in files), about.name}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    clock = FakeClock()
    first = save(ANSWER, Wish("a cat"), tmp_path, clock, 2.0)
    second = save(Answer((Picture("image/png", b"three"),)), Wish("a dog"), tmp_path, clock, 2.0)
    assert not {*first[0], first[1]} & {*second[0], second[1]}
    assert first[0][0].read_bytes() == b"one"
    assert second[1].name.endswith("_2.json")


def test_images_follow_the_umask(tmp_path: Path) -> None:
    (file, *_), _ = save(ANSWER, Wish("a cat"), tmp_path, FakeClock(), 2.0)
    probe = tmp_path / "probe"
    probe.touch(0o666)
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(probe.stat().st_mode)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BrokerError, match="file/out") as caught:
        save(ANSWER, Wish("a cat"), tmp_path / "file" / "out", FakeClock(), 2.0)
    assert caught.value.code is ErrorCode.STORAGE_UNWRITABLE


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    long = iter(["x" * 250])  # fits itself, but not with what is added while writing

    with pytest.raises(OSError, match="name too long"):
        image_client._write(tmp_path, long, b"data")
    assert list(tmp_path.iterdir()) == []
