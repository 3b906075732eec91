import asyncio
import contextlib
import datetime as dt
import gzip
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker.daemon import exchange
from broker.daemon.exchange import _Listener
from broker.daemon.outbound import Outbound
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, NotSentError
from broker.store.base import StorageError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Recorder:
    """A server that reads one whole request and answers with fixed bytes."""

    def __init__(
        self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", *, hang: bool = False
    ) -> None:
        self.answer = answer
        self.hang = hang
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(EOFError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length")
                ),
                0,
            )
            self.requests.append(head + await reader.readexactly(length))
            writer.write(self.answer)
            await writer.drain()
            if self.hang:
                await reader.read()
        writer.close()


@contextlib.asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        await asyncio.sleep(0)


async def test_a_form_goes_out_in_clear_once() -> None:
    server = Recorder(b"HTTP/1.1 400 Bad Request\r\nX-Thing: a\r\nContent-Length: 3\r\n\r\nno!")
    async with listening(server) as url, Outbound(timeout=5) as outbound:
        form = {"grant_type": "refresh_token", "refresh_token": Secret("fake-refresh-1")}
        answer = await outbound.send(
            HttpRequest("POST", f"{url}/token?a=b%2Fc", form=form, basic=("client:1", Secret("fake secret")))
        )
    assert (answer.status, answer.body, answer.headers["x-thing"]) == (400, b"no!", "a")
    (request,) = server.requests
    assert request.startswith(b"POST /token?a=b%2Fc HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\ngrant_type=refresh_token&refresh_token=fake-refresh-1")
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in request
    assert b"Accept-Encoding: identity\r\n" in request
    assert b"Authorization: Basic Y2xpZW50JTNBMTpmYWtlK3NlY3JldA==\r\n" in request  # client%3A1:fake+secret


async def test_a_bearer_and_headers_of_the_flow() -> None:
    server = Recorder()
    async with listening(server) as url, Outbound(timeout=5) as outbound:
        await outbound.send(
            HttpRequest("GET", f"{url}/me", headers={"User-Agent": "vendor/1"}, bearer=Secret("fake-access-1"))
        )
    assert b"Authorization: Bearer fake-access-1\r\n" in server.requests[0]
    assert b"User-Agent: vendor/1\r\n" in server.requests[0]


async def test_a_kind_of_json_of_the_vendors_own_is_called_so() -> None:
    server = Recorder()
    async with listening(server) as url, Outbound(timeout=5) as outbound:
        headers = {"Content-Type": "application/x-amz-json-1.0"}
        await outbound.send(HttpRequest("POST", url, headers=headers, json={"a": 1}))
    assert server.requests[0].count(b"Content-Type: ") == 1
    assert b"Content-Type: application/x-amz-json-1.0\r\n" in server.requests[0]


async def test_every_request_has_its_own_connection_and_no_cookie() -> None:
    server = Recorder(b"HTTP/1.1 200 OK\r\nSet-Cookie: sid=fake; Path=/\r\nContent-Length: 0\r\n\r\n")
    async with listening(server) as url, Outbound(timeout=5) as outbound:
        for _ in range(2):
            await outbound.send(HttpRequest("GET", url))
    assert server.connections == 2
    assert b"cookie" not in server.requests[1].lower()


async def test_a_redirect_is_an_answer_and_nobody_follows_it() -> None:
    target = Recorder()
    async with listening(target) as other, Outbound(timeout=5) as outbound:
        redirect = Recorder(
            f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {other}/\r\nContent-Length: 0\r\n\r\n".encode()
        )
        async with listening(redirect) as url:
            answer = await outbound.send(HttpRequest("POST", url, form={"refresh_token": Secret("fake-refresh-1")}))
    assert answer.status == 307
    assert target.connections == 0


@pytest.mark.parametrize(
    "url", ["http://example.com/token", "http://169.254.169.254/", "ftp://localhost/", "http:///x", "localhost:80"]
)
async def test_only_https_and_loopback(url: str) -> None:
    async with Outbound(timeout=5) as outbound:
        with pytest.raises(NotSentError):
            await outbound.send(HttpRequest("POST", url))


async def test_who_wants_to_know_of_the_connection_is_told_before_the_first_byte() -> None:
    recorder, order = Recorder(), []

    async def connected() -> None:
        await asyncio.sleep(0.05)
        order.append((recorder.connections, len(recorder.requests)))

    async with listening(recorder) as url, Outbound(timeout=5) as outbound:
        assert (await outbound.send(HttpRequest("GET", url), connected=connected)).status == 200
    assert order == [(1, 0)]


async def test_who_is_told_of_the_connection_may_stop_the_request() -> None:
    recorder = Recorder()

    async def connected() -> None:
        raise StorageError("cannot write: ENOSPC")

    async with listening(recorder) as url, Outbound(timeout=5) as outbound:
        with pytest.raises(StorageError):
            await outbound.send(HttpRequest("GET", url), connected=connected)
        await asyncio.sleep(0.05)
    assert recorder.requests == []


class Hearing:
    """What is told of answers. `within`: whether that is in the step in which bytes arrived, of a connection, and no turn of the event loop later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[HttpResponse] = []
        self.within: list[bool] = []
        self._arriving = 0
        arrive = _Listener.data_received

        def arriving(handler: _Listener, data: bytes) -> None:
            self._arriving += 1
            arrive(handler, data)
            self._arriving -= 1

        monkeypatch.setattr(_Listener, "data_received", arriving)

    def __call__(self, answer: HttpResponse) -> None:
        self.told.append(answer)
        self.within.append(self._arriving > 0)


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch) -> Hearing:
    return Hearing(monkeypatch)


def in_pieces(*pieces: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(0.01)  # so that they arrive apart
            writer.write(piece)
        writer.close()

    return serve


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",), b"{}"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{", b"}"), b"{}"),
        ((b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n", b"0\r\n\r\n"), b"{}"),
        ((b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",), b"{}"),
        ((b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",), b"{}"),
        ((b"HTTP/1.1 204 Nothing\r\n\r\n",), b""),
    ],
)
async def test_an_answer_is_told_of_in_the_step_in_which_its_last_byte_arrives(
    hearing: Hearing, pieces: tuple[bytes, ...], body: bytes
) -> None:
    async with listening(in_pieces(*pieces)) as url, Outbound(timeout=5) as outbound:
        answer = await outbound.on_behalf("codex").send(HttpRequest("POST", url), heard=hearing)
    assert answer.body == body
    assert hearing.told == [answer]
    assert hearing.within == [True]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n{}",  # ends with the connection
        b"HTTP/1.1 101 Switching\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000,  # more than is read ahead of who reads
        b"HTTP/1.1 200 OK\r\nContent-Length: 43\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(b"x" * 9000, mtime=0),
    ],
)
async def test_an_answer_that_ends_otherwise_is_told_of_before_it_is_returned(hearing: Hearing, answer: bytes) -> None:
    async with listening(Recorder(answer)) as url, Outbound(timeout=5) as outbound:
        assert hearing.told == [await outbound.send(HttpRequest("POST", url), heard=hearing)]


async def test_an_answer_by_tls_is_told_of_in_the_same_step(hearing: Hearing, tmp_path: Path) -> None:
    context = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with listening(Recorder(), context) as url, Outbound(timeout=5, tls=trusting) as outbound:
        answer = await outbound.send(HttpRequest("POST", url.replace("127.0.0.1", "localhost")), heard=hearing)
    assert (hearing.told, hearing.within) == ([answer], [True])


async def test_an_answer_that_was_told_of_is_the_answer_whatever_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(_answer: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("aiohttp.ClientResponse.wait_for_close", late)
    told: list[HttpResponse] = []
    async with listening(Recorder()) as url, Outbound(timeout=5) as outbound:
        answer = await outbound.send(HttpRequest("POST", url), heard=told.append)
    assert told == [answer]


@pytest.mark.parametrize(
    "name", ["StreamReader.is_eof", "StreamReader.read_nowait", "RawResponseMessage.code", "feed_data"]
)
async def test_what_another_release_of_aiohttp_has_otherwise_costs_no_answer(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each is gone where the listener asks for it, and nowhere else."""
    owner, _, method = name.rpartition(".")
    if owner == "StreamReader":
        there = getattr(aiohttp.StreamReader, method)

        def asked(*values: Any, **named: Any) -> object:
            if sys._getframe(1).f_code.co_filename == exchange.__file__:
                raise AttributeError(method)
            return there(*values, **named)

        monkeypatch.setattr(aiohttp.StreamReader, method, asked)
    elif owner:
        monkeypatch.setattr(exchange, "HTTPStatus", None)
    else:
        monkeypatch.delattr(_Listener, name)
    told: list[HttpResponse] = []
    pieces = (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"{", b"}")
    async with listening(in_pieces(*pieces)) as url, Outbound(timeout=5) as outbound:
        answer = await outbound.send(HttpRequest("POST", url), heard=told.append)
    assert (answer.body, told) == (b"{}", [answer])


async def test_what_is_wrong_with_who_is_told_of_an_answer_leaves_it_with_who_asked() -> None:
    def fail(_answer: HttpResponse) -> None:
        raise RuntimeError("a fault of ours")

    async with listening(Recorder()) as url, Outbound(timeout=5) as outbound:
        assert (await outbound.send(HttpRequest("POST", url), heard=fail)).body == b"{}"


async def test_a_connection_of_which_nobody_told_that_nothing_was_sent_counts_as_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with an aiohttp that sends in another way than the one that is listened to."""
    monkeypatch.setattr(exchange._Request, "send", aiohttp.ClientRequest.send)

    async def never() -> None:
        raise AssertionError

    async with listening(Recorder(b"")) as url, Outbound(timeout=5) as outbound:
        with pytest.raises(AnswerLostError):
            await outbound.send(HttpRequest("POST", url), connected=never)


async def test_nobody_listening_means_nothing_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with Outbound(timeout=5) as outbound:
        with pytest.raises(NotSentError, match="refused"):
            await outbound.send(HttpRequest("POST", f"http://127.0.0.1:{port}/"))


async def test_a_name_that_does_not_resolve_means_nothing_sent() -> None:
    async with Outbound(timeout=5) as outbound:
        with pytest.raises(NotSentError, match="does-not-exist"):
            await outbound.send(HttpRequest("POST", "https://does-not-exist.invalid/"))


async def test_a_server_that_speaks_no_tls_means_nothing_sent() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with listening(plain) as url, Outbound(timeout=5) as outbound:
        with pytest.raises(NotSentError):
            await outbound.send(HttpRequest("POST", url.replace("http:", "https:")))


async def test_a_handshake_that_never_ends_means_nothing_sent() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(silent) as url, Outbound(timeout=0.2) as outbound:
        with pytest.raises(NotSentError, match="timed out"):
            await outbound.send(HttpRequest("POST", url.replace("http:", "https:")))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"SMTP ready\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_500_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n" + b"x" * 1_048_577,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
    ],
)
async def test_after_connecting_an_answer_that_is_not_whole_is_lost(answer: bytes) -> None:
    told: list[HttpResponse] = []
    async with listening(Recorder(answer)) as url, Outbound(timeout=5) as outbound:
        with pytest.raises(AnswerLostError):
            await outbound.send(
                HttpRequest("POST", url, form={"refresh_token": Secret("fake-refresh-1")}), heard=told.append
            )
    assert told == []


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
async def test_after_connecting_silence_is_a_lost_answer(answer: bytes) -> None:
    async with listening(Recorder(answer, hang=True)) as url, Outbound(timeout=0.2) as outbound:
        with pytest.raises(AnswerLostError, match="timed out"):
            await outbound.send(HttpRequest("POST", url))


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Recorder()
    async with listening(spy) as proxy, listening(Recorder()) as url, Outbound(timeout=5) as outbound:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        await outbound.send(HttpRequest("GET", url))
    assert spy.connections == 0


async def test_no_error_tells_what_was_sent() -> None:
    async with listening(Recorder(b"")) as url, Outbound(timeout=5) as outbound:
        with pytest.raises(AnswerLostError) as caught:
            await outbound.send(
                HttpRequest("POST", f"{url}/?code=fake-code-1", form={"refresh_token": Secret("fake-refresh-1")})
            )
    assert "fake" not in str(caught.value)
    assert caught.value.__cause__ is None


def certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "cert.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


async def test_an_untrusted_certificate_means_nothing_sent(tmp_path: Path) -> None:
    server = Recorder()
    async with listening(server, certificate(tmp_path)) as url, Outbound(timeout=5) as outbound:
        with pytest.raises(NotSentError, match="certificate"):
            await outbound.send(HttpRequest("POST", url.replace("127.0.0.1", "localhost")))
    assert server.requests == []


async def test_a_trusted_certificate_is_enough(tmp_path: Path) -> None:
    server = Recorder()
    context = certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with listening(server, context) as url, Outbound(timeout=5, tls=trusting) as outbound:
        answer = await outbound.send(HttpRequest("POST", url.replace("127.0.0.1", "localhost")))
    assert answer.status == 200
