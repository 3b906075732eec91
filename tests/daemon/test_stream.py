import asyncio

from broker.daemon.stream import Stream, chunk
from broker.ipc.sse import COMMENT


class Pipe(asyncio.WriteTransport):
    """A transport whose reader takes nothing unless told."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unread = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        self.unread += len(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


def stream_on(pipe: Pipe, backlog: int = 100) -> tuple[Stream, list[int]]:
    cuts: list[int] = []
    return Stream(pipe, cut=lambda: cuts.append(1), backlog=backlog), cuts


def test_a_chunk_is_framed_once() -> None:
    assert chunk(b"0123456789abcdef") == b"10\r\n0123456789abcdef\r\n"
    assert chunk(b"") == b""


def test_a_snapshot_of_any_size_does_not_count_as_backlog() -> None:
    pipe = Pipe()
    stream, cuts = stream_on(pipe)
    stream.begin(b"x" * 10_000)
    assert pipe.written == [b"x" * 10_000 + chunk(COMMENT)]
    stream.take(b"y" * 50)
    assert (cuts, pipe.aborted) == ([], False)


def test_a_reader_too_far_behind_is_cut_off_once() -> None:
    pipe = Pipe()
    stream, cuts = stream_on(pipe)
    for _ in range(10):
        stream.take(b"y" * 30)
    assert (cuts, pipe.aborted) == ([1], True)
    assert len(pipe.written) == 4  # nothing is written to a stream that is cut


async def test_a_silent_stream_is_kept_alive_and_a_reader_that_stalls_is_cut_off() -> None:
    pipe = Pipe()
    stream, cuts = stream_on(pipe, backlog=10_000)
    running = asyncio.create_task(stream.run(0.01))
    while len(pipe.written) < 3:
        await asyncio.sleep(0.005)
        pipe.unread = 0  # it reads
    assert set(pipe.written) == {chunk(COMMENT)}
    await asyncio.wait_for(running, 5)  # it does not read any more
    assert (cuts, pipe.aborted) == ([1], True)


async def test_a_closed_stream_ends_without_a_cut() -> None:
    pipe = Pipe()
    stream, cuts = stream_on(pipe)
    stream.close()
    await asyncio.wait_for(stream.run(60), 1)
    assert (cuts, pipe.aborted) == ([], False)
