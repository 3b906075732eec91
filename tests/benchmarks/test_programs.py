"""The upstream and the load generator in C, compiled and put on each other: their words are read rightly, and what they count is so."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import cload, load, machine, peers, prepare, traffic
from benchmarks.load import LoadError
from benchmarks.loaded import Cores, Loaded, Server, Streaming
from benchmarks.suites import Absent, Context

COMPILER = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "CACHE", folder)
        said: list[str] = []
        assert prepare.compiled(said.append) == []
        assert said == []
        for name in prepare.PROGRAMS:
            prepare.binary(name).rename(folder / name)
    return folder


@pytest.fixture
def upstream(programs: Path, tmp_path: Path) -> Iterator[peers.Peer]:
    files = {name: str(tmp_path / name) for name in traffic.answers()}
    for name, text in traffic.answers().items():
        Path(files[name]).write_bytes(text)
    started = peers.upstream(str(programs / "upstream"), traffic.routes(files))
    yield started
    started.stop()


def server(peer: peers.Peer) -> Server:
    return Server(peer.target, peer.pid, cores=Cores.ANY)


async def answered(peer: peers.Peer, asked: bytes) -> bytes:
    assert isinstance(peer.target, tuple)
    reader, writer = await asyncio.open_connection(*peer.target)
    for at in range(0, len(asked), 700):  # in pieces, as a network may deliver it
        writer.write(asked[at : at + 700])
        await writer.drain()
        await asyncio.sleep(0)
    head = await reader.readuntil(b"\r\n\r\n")
    if b"Content-Length" in head:
        found = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]))
    else:
        found = await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    return found


def test_words_are_read() -> None:
    assert cload.parse("end count=3 seconds=0.5 p50=0.1\n") == {"count": 3.0, "seconds": 0.5, "p50": 0.1}
    with pytest.raises(ValueError, match="not the end"):
        cload.parse("begin")


def test_shares_are_of_one_core_and_others_are_what_is_left() -> None:
    first, last = cload.Sample(1.0, 10.0, 20.0, 100.0), cload.Sample(3.0, 11.0, 20.5, 103.0)
    told = cload.Told({"cpu": 0.5}, first, last)
    assert told.server_cpu == 1.0
    assert told.shares() == {"busy": 0.5, "beside": 0.5, "others": 0.5}
    assert cload.Told({"cpu": 9.0}, first, last).shares()["others"] == 0.0


def test_a_peer_that_is_not_there_is_named() -> None:
    with pytest.raises(Absent, match="loader is not there: it is compiled by `make bench`"):
        Context(quick=True, peers={"loader": None}).loader()


def test_without_a_compiler_the_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prepare.compiled(lambda _: None) == list(prepare.PROGRAMS)


@COMPILER
async def test_the_upstream_answers_by_path_and_by_what_the_body_says(upstream: peers.Peer) -> None:
    assert await answered(upstream, traffic.gemini(traffic.WHOLE)) == traffic.gemini_answer().encode()
    whole = traffic.post("/v1/messages", b'{"model":"claude-bench"}')
    assert await answered(upstream, whole) == traffic.claude_answer().encode()
    streamed = await answered(upstream, traffic.post("/v1/messages", b'{"model":"claude-bench-burst"}'))
    assert streamed.count(b"event: content_block_delta") == traffic.BURST_CHUNKS
    assert streamed.startswith(b"%x\r\nevent: message_start" % len(traffic.claude_stream()[0]))


@COMPILER
@pytest.mark.parametrize("size", [traffic.SIZE, 64 * 1024 + 1, traffic.LARGE])
async def test_the_upstream_waits_for_all_of_a_body(upstream: peers.Peer, size: int) -> None:
    asked = traffic.gemini(traffic.WHOLE, size=size)
    assert await answered(upstream, asked) == traffic.gemini_answer().encode()
    assert isinstance(upstream.target, tuple)
    reader, writer = await asyncio.open_connection(*upstream.target)
    writer.write(asked[:-1])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.05)
    writer.write(asked[-1:])
    assert (await reader.read(12)) == b"HTTP/1.1 200"
    writer.close()
    await writer.wait_closed()


@COMPILER
async def test_a_closed_loop_counts_answers(upstream: peers.Peer, programs: Path) -> None:
    asked = traffic.gemini(traffic.WHOLE)
    found = await Loaded(server(upstream), asked, 4, 0.1, str(programs / "loader"))()
    assert found.keys() == {"rate", "p50", "p99", "cpu", "busy", "beside", "others"}
    assert 0 < found["p50"] <= found["p99"]
    in_python = await Loaded(server(upstream), asked, 4, 0.1, None)()
    assert found.keys() <= in_python.keys()


@COMPILER
async def test_chunked_answers_are_framed(upstream: peers.Peer, programs: Path) -> None:
    asked = traffic.gemini(traffic.BURST, stream=True)
    assert (await Loaded(server(upstream), asked, 2, 0.1, str(programs / "loader"))())["rate"] > 0


@COMPILER
async def test_streams_are_timed_chunk_by_chunk_and_probes_by_their_first_byte(
    upstream: peers.Peer, programs: Path
) -> None:
    asked, probe = traffic.gemini(traffic.PACED, stream=True), traffic.gemini(traffic.ONCE, stream=True)
    found = await Streaming(server(upstream), asked, 3, 0.3, 0.01, str(programs / "loader"), probe)()
    assert found["delivered"] > 0
    assert 0 < found["p50"] <= found["p99"] < 60e6
    assert 0 < found["first p50"] <= found["first p99"] < 60e6


@COMPILER
async def test_idle_streams_are_held_until_let_go(upstream: peers.Peer, programs: Path) -> None:
    asked, woken = traffic.gemini(traffic.IDLE, stream=True), machine.wake_ups(upstream.pid)
    async with cload.held(str(programs / "loader"), upstream.target, asked, connections=20, seconds=30):
        held = machine.memory_mib(upstream.pid)
        assert machine.wake_ups(upstream.pid) > woken
    assert held > 0


@COMPILER
async def test_an_answer_that_is_no_200_ends_a_load_with_its_words(programs: Path, tmp_path: Path) -> None:
    refusal = tmp_path / "refusal"
    refusal.write_bytes(b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno")
    started = peers.upstream(str(programs / "upstream"), [["/", "", "whole", str(refusal)]])
    try:
        with pytest.raises(LoadError, match=r"not a 200: HTTP/1\.1 500 Oops"):
            await Loaded(server(started), traffic.gemini(traffic.WHOLE), 1, 0.1, str(programs / "loader"))()
    finally:
        started.stop()


def test_a_peak_is_forgotten_and_seen_again() -> None:
    machine.forget_peak(machine.OWN)
    before = machine.peak_mib(machine.OWN)
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    assert machine.peak_mib(machine.OWN) - before > 50
    assert load.request("GET", "/", host="h") == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
