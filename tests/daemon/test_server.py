"""Who gets in, and what a hostile or broken client meets. Raw bytes on real sockets."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from broker.ipc.operations import Call, Name
from broker.ipc.schema import PROBLEM_JSON, Problem, decode
from broker.ipc.wire import request_head
from broker.model.errors import BrokerError, ErrorCode
from broker.sandbox.faults import Delay, Target
from tests.fakes.broker import ANN, Running, running_daemon

SHORT = "[socket]\nrequest_timeout_seconds = 0.3\nmax_body_bytes = 1000\nmax_connections = 4\n"


async def say(path: Path, data: bytes, *, wait: float = 5.0) -> bytes:
    """Send bytes, return all that comes back until the daemon hangs up (or `wait` is over)."""
    reader, writer = await asyncio.open_unix_connection(path)
    answer = b""
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(wait):
                while piece := await reader.read(65536):
                    answer += piece
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return answer


def get(target: str, *headers: str, method: str = "GET", host: str = "localhost") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *rest = head.decode().split("\r\n")
    return (
        int(line.split()[1]),
        {name.lower(): value for name, _, value in (each.partition(": ") for each in rest)},
        body,
    )


def problem(answer: bytes) -> Problem:
    status, headers, body = split(answer)
    assert headers["content-type"].startswith(PROBLEM_JSON)
    made = decode(body, Problem)
    assert made.status == status
    return made


async def test_an_answer_has_an_id_and_is_not_kept(running: Running) -> None:
    status, headers, body = split(await say(running.token_path, get("/v1/health")))
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["server"].startswith("ccs-broker/")
    assert headers["x-request-id"]
    assert b'"status":"ok"' in body


@pytest.mark.parametrize("target", ["/v1/accounts", "/v1/lease/sandbox", "/v1/watch"])
async def test_head_is_get_without_a_body(running: Running, target: str) -> None:
    status, headers, body = split(await say(running.token_path, get(target, method="HEAD")))
    assert (status, body) == (200, b"")
    assert headers["content-type"] == ("text/event-stream" if target == "/v1/watch" else "application/json")


@pytest.mark.parametrize(
    ("target", "method", "code"),
    [
        ("/", "GET", "not_found"),
        ("/v1/accounts/", "GET", "not_found"),
        ("/metrics", "GET", "not_found"),
        ("/v1/accounts/sandbox/x/pause", "POST", "not_found"),
        ("/v1/accounts", "DELETE", "method_not_allowed"),
        ("/v1/accounts", "BREW", "bad_request"),
        ("/v1/lease/sandbox?min_validity=soon", "GET", "bad_request"),
        ("/v1/lease/nobody", "GET", "unknown_provider"),
        ("/v1/lease/gemini", "GET", "no_account"),
        ("/v1/lease/sandbox/x%00y", "GET", "bad_request"),
        ("/v1/accounts/sandbox/nobody", "GET", "unknown_account"),
    ],
)
async def test_every_error_is_a_problem_document(running: Running, target: str, method: str, code: str) -> None:
    answer = await say(running.token_path, get(target, method=method))
    made = problem(answer)
    assert made.code == code
    assert made.hint
    if code == "method_not_allowed":
        assert split(answer)[1]["allow"] == "GET, HEAD"


async def test_unknown_names_list_what_there_is(running: Running) -> None:
    listed = problem(await say(running.token_path, get("/v1/lease/nobody"))).detail
    assert "gemini" in listed
    assert "sandbox" in listed
    assert str(ANN) in problem(await say(running.token_path, get("/v1/lease/sandbox/nobody"))).detail


@pytest.mark.parametrize("header", ["Origin: http://localhost", "Origin: null", "Referer: http://x/"])
async def test_a_browser_is_refused(running: Running, header: str) -> None:
    made = problem(await say(running.token_path, get("/v1/lease/sandbox", header)))
    assert (made.code, made.status) == ("forbidden_peer", 403)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:8317", "localhost.evil.example", ""])
async def test_a_foreign_host_is_refused(running: Running, host: str) -> None:
    assert problem(await say(running.token_path, get("/v1/lease/sandbox", host=host))).code == "forbidden_peer"


async def test_a_request_without_a_host_or_with_two_is_not_valid(running: Running) -> None:
    assert (
        problem(await say(running.token_path, b"GET /v1/health HTTP/1.1\r\nConnection: close\r\n\r\n")).code
        == "bad_request"
    )
    assert problem(await say(running.token_path, get("/v1/health", "Host: localhost"))).code == "bad_request"


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"EHLO localhost\r\n",
        b"GET /v1/health\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nBad Header\r\n\r\n",
        b"POST /v1/report HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/report HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_told_so_and_hung_up_on(running: Running, data: bytes) -> None:
    assert problem(await say(running.token_path, data)).code == "bad_request"


async def test_a_head_too_long_is_refused(running: Running) -> None:
    assert problem(await say(running.token_path, get("/v1/health?" + "x" * 20_000))).code == "too_large"
    assert problem(await say(running.token_path, get("/v1/health", "X: " + "x" * 20_000))).code == "too_large"


async def test_a_body_that_is_no_json_names_the_fault(running: Running) -> None:
    data = request_head(
        "POST",
        "/v1/report",
        body=b'{"account":"sandbox/x","generation":"1","outcome":"ok"}',
        extra=(("Connection", "close"),),
    )
    made = problem(await say(running.token_path, data))
    assert made.code == "bad_request"
    assert "generation" in made.detail


async def test_limits_of_size_time_and_number() -> None:
    async with running_daemon(ANN, config=SHORT) as running:
        path = running.token_path
        big = get("/v1/report", "Content-Length: 1001", method="POST")
        assert problem(await say(path, big)).code == "too_large"
        chunked = get("/v1/report", "Transfer-Encoding: chunked", method="POST") + b"3e9\r\n" + b"x" * 1001 + b"\r\n"
        assert problem(await say(path, chunked)).code == "too_large"
        bad = get("/v1/report", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n"
        assert problem(await say(path, bad)).code == "bad_request"
        # A head that drips in, a body that never comes, and nothing at all
        for slow in (b"GET /v1/hea", get("/v1/report", "Content-Length: 5", method="POST") + b"{", b""):
            started = time.perf_counter()
            answer = await say(path, slow)
            assert problem(answer).code == "too_slow"
            assert time.perf_counter() - started < 2


async def test_a_request_that_drips_behind_another_meets_the_deadline_too() -> None:
    async with running_daemon(ANN, config=SHORT) as running:
        first = request_head("GET", "/v1/health")
        reader, writer = await asyncio.open_unix_connection(running.token_path)
        writer.write(first)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.5)  # idle for longer than a request may take: fine
        writer.write(first[:20])
        async with asyncio.timeout(5):
            rest = await reader.read()
        assert b"HTTP/1.1 408" in rest
        writer.close()


async def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    data = request_head("GET", "/v1/health") + request_head("GET", "/nowhere") + get("/v1/accounts")
    answer = await say(running.token_path, data)
    order = [answer.index(each) for each in (b'"uptime"', b'"code":"not_found"', b'"accounts":[')]
    assert order == sorted(order)
    assert answer.count(b"HTTP/1.1 ") == 3


async def test_expect_100_continue_is_answered(running: Running) -> None:
    reader, writer = await asyncio.open_unix_connection(running.token_path)
    body = b'{"account":"sandbox/ann@example.com","generation":1,"outcome":"ok"}'
    writer.write(get("/v1/report", f"Content-Length: {len(body)}", "Expect: 100-continue", method="POST"))
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_one_connection_too_many_is_told_so() -> None:
    async with running_daemon(ANN, config=SHORT.replace("0.3", "5")) as running:
        held = [await asyncio.open_unix_connection(running.token_path) for _ in range(2)]
        held += [await asyncio.open_unix_connection(running.control_path) for _ in range(2)]
        await asyncio.sleep(0.05)
        answer = await say(running.token_path, b"")
        assert problem(answer).code == "too_many"
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.05)
        assert (await running.token_client.health()).status == "ok"


async def test_one_stalled_client_delays_nobody(running: Running) -> None:
    stalled = [await asyncio.open_unix_connection(running.token_path) for _ in range(20)]
    for _, writer in stalled:
        writer.write(b"GET /v1/accounts HTTP/1.1\r\nHost: loc")
    client = running.token_client
    started = time.perf_counter()
    for _ in range(20):
        await client.health()
    assert time.perf_counter() - started < 2
    for _, writer in stalled:
        writer.close()


CALLER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(5)
    client.connect(sys.argv[1])
    try:
        client.sendall(b"GET /v1/lease/sandbox HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
        print("got", client.recv(65536))
    except (ConnectionError, OSError) as error:
        print("refused", type(error).__name__)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
async def test_another_user_is_hung_up_on_before_a_byte_is_read() -> None:
    async with running_daemon(ANN) as running:
        # The folder and the modes keep others out already; open both, so that only the uid is left to stop them.
        for path in (running.folder, running.folder / "run", running.token_path):
            path.chmod(0o777)
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", CALLER, str(running.token_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(("refused", "got b''")), done.stdout
        metrics = running.daemon.dispatch.metrics.render().decode()
        assert 'ccs_broker_socket_refused_total{code="forbidden_peer",socket="token"} 1.0' in metrics


async def test_a_client_that_does_not_read_its_answer_is_hung_up_on() -> None:
    """An answer larger than the socket's buffers, to a client that reads nothing."""
    async with running_daemon(ANN, config="[socket]\nrequest_timeout_seconds = 0.3\n") as running:
        reader, writer = await asyncio.open_unix_connection(running.control_path, limit=1)
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(60):  # each answer is about 20 kB
            writer.write(request_head("GET", "/v1/openapi.json"))
        async with asyncio.timeout(10):
            while running.daemon.server._doors[1].open:
                await asyncio.sleep(0.05)
        writer.close()
        assert reader is not None


async def test_a_lease_waited_for_is_given_up_with_its_client() -> None:
    async with running_daemon(ANN, lifetime=-10) as running:
        running.sandbox.faults.add(Target.TOKEN, Delay(seconds=0.5))
        reader, writer = await asyncio.open_unix_connection(running.token_path)
        writer.write(request_head("GET", "/v1/lease/sandbox"))
        await asyncio.sleep(0.1)
        writer.close()
        lease = await running.token_client.lease("sandbox")  # the refresh it started goes on, and serves the next
        assert running.owns(lease.access_token) == "ann@example.com"
        assert running.sandbox.stats.refresh_posts == 1
        assert reader is not None


async def test_while_stopping_waiting_clients_are_answered_and_new_ones_refused() -> None:
    async with running_daemon(ANN, lifetime=-10) as running:
        running.sandbox.faults.add(Target.TOKEN, Delay(seconds=0.3))
        client = running.token_client
        waiting = asyncio.ensure_future(client.lease("sandbox"))
        await asyncio.sleep(0.1)
        await running.stop()
        assert (await waiting).access_token
        with pytest.raises(BrokerError) as caught:
            await client.lease("sandbox")
        assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
        assert not running.token_path.exists()


async def test_a_request_has_waited_while_others_had_their_turn(running: Running) -> None:
    """However long a turn of the event loop takes, a client's deadline counts from when its request was here."""
    waited: list[float] = []

    async def slow(call: Call, _body: bytes) -> bytes:
        waited.append(call.waited)
        time.sleep(0.2)
        return b"{}"

    running.daemon.dispatch._handlers[Name.HEALTH] = slow
    pairs = [await asyncio.open_unix_connection(running.token_path) for _ in range(3)]
    await asyncio.sleep(0.1)
    for _, writer in pairs:
        writer.write(request_head("GET", "/v1/health"))
    for reader, writer in pairs:
        async with asyncio.timeout(10):
            await reader.readuntil(b"{}")
        writer.close()
    assert waited[0] < waited[1] < waited[2]
    assert waited[2] >= 0.35
