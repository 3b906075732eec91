import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.ipc.sync_client import request
from broker.model.errors import BrokerError, ErrorCode


@contextlib.contextmanager
def serving(path: Path, *pieces: bytes, hang: bool = False, read: bool = True) -> Iterator[list[bytes]]:
    """Answer one connection with `pieces`, each in its own packet."""
    seen: list[bytes] = []
    stop = threading.Event()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            if read:
                seen.append(connection.recv(65536))
            for piece in pieces:
                connection.sendall(piece)
            if hang:
                stop.wait(10)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(10)
        listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


def test_a_request_and_its_answer(path: Path) -> None:
    with serving(path, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b'{"a"', b':"b"}') as seen:
        assert request(path, "GET", "/v1/health") == (200, {"a": "b"})
    assert seen == [b"GET /v1/health HTTP/1.1\r\nHost: ccs-broker\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"]


def test_a_body_is_sent_as_json(path: Path) -> None:
    with serving(path, b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}") as seen:
        assert request(str(path), "POST", "/v1/logins", {"provider": "acme"}) == (201, {})
    assert seen[0].endswith(b'Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"provider": "acme"}')


@pytest.mark.parametrize(
    "pieces",
    [
        (b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nTrailer: x\r\n\r\n',),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3", b'\r\n{"a', b'\r\n4\r\n":1}', b"\r\n0\r\n\r\n"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"a":', b"1}"),
        (b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}',),
    ],
)
def test_every_framing_is_read(path: Path, pieces: tuple[bytes, ...]) -> None:
    with serving(path, *pieces):
        assert request(path, "GET", "/") == (200, {"a": 1})


def test_no_body_is_an_empty_object(path: Path) -> None:
    with serving(path, b"HTTP/1.1 204 No Content\r\n\r\n"):
        assert request(path, "DELETE", "/") == (204, {})


def test_a_problem_is_an_answer_like_any_other(path: Path) -> None:
    with serving(path, b'HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n\r\n{"code":"no_account"}'):
        assert request(path, "GET", "/") == (404, {"code": "no_account"})


def test_an_early_refusal_is_read_though_sending_broke(path: Path) -> None:
    big = {"text": "x" * 4_000_000}
    with serving(path, b'HTTP/1.1 413 Too Large\r\nContent-Length: 20\r\n\r\n{"code":"too_large"}', read=False):
        status, body = request(path, "POST", "/", big)
    assert (status, body) == (413, {"code": "too_large"})


def error_of(path: Path, *pieces: bytes, hang: bool = False, timeout: float = 10.0) -> BrokerError:
    with serving(path, *pieces, hang=hang), pytest.raises(BrokerError) as caught:
        request(path, "GET", "/", timeout=timeout)
    return caught.value


def test_a_missing_daemon_says_what_to_start(path: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        request(path, "GET", "/")
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
    assert "ccs-broker serve" in caught.value.hint


@pytest.mark.parametrize("piece", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
def test_a_hang_up_is_unreachable(path: Path, piece: bytes) -> None:
    assert error_of(path, piece).code is ErrorCode.DAEMON_UNREACHABLE


def test_silence_meets_the_deadline(path: Path) -> None:
    assert error_of(path, b"HTTP/1.1 200 OK\r\n", hang=True, timeout=0.1).code is ErrorCode.DEADLINE_EXCEEDED


def test_the_deadline_covers_everything(path: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        request(path, "GET", "/", timeout=0)
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    "piece",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    ],
)
def test_nonsense_is_a_fault(path: Path, piece: bytes) -> None:
    assert error_of(path, piece).code is ErrorCode.INTERNAL


def test_an_endless_answer_is_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.ipc.sync_client._MAX_BYTES", 100)
    assert error_of(path, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200).code is ErrorCode.TOO_LARGE


def test_it_loads_nothing_heavy() -> None:
    script = (
        "import sys, broker.ipc.sync_client\n"
        "heavy = {'asyncio', 'aiohttp', 'msgspec', 'http.client', 'httptools', 'ssl', 'logging', 'urllib.request'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
