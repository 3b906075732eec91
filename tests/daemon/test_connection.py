import asyncio
import itertools
import random
import re
from pathlib import Path

import pytest

from broker.daemon import connection
from broker.ipc.operations import Call, Name
from broker.ipc.wire import request_head
from broker.sandbox.faults import Delay, Target
from tests.daemon.test_server import get, problem, say, split
from tests.fakes.broker import ANN, Running, running_daemon


async def test_a_fault_of_ours_is_told_without_its_words_and_logged(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async def breaks(_call: Call, _body: bytes) -> bytes:
        raise RuntimeError("details nobody outside should read")

    running.daemon.dispatch._handlers[Name.HEALTH] = breaks
    answer = await say(running.token_path, get("/v1/health"))
    made = problem(answer)
    assert (made.status, made.code) == (500, "internal")
    assert b"nobody outside" not in answer
    assert "details nobody outside should read" in caplog.text
    assert (await running.token_client.accounts())[0].state == "active"  # the next request is none the worse


async def exchange(path: Path, *pieces: bytes) -> bytes:
    """Send pieces one after another, each when the daemon has had time to look at the one before; return all that comes back."""
    reader, writer = await asyncio.open_unix_connection(path)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.01)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


BODY = b'{"account":"sandbox/ann@example.com","generation":1,"outcome":"ok"}'
CHUNKED = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (BODY[:7], BODY[7:])) + b"0\r\nX-Trailer: 1\r\n\r\n"
SEVERAL = (
    request_head("GET", "/v1/lease/sandbox")
    + request_head("POST", "/v1/report", body=BODY)
    + b"POST /v1/report HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    + CHUNKED
    + get("/v1/accounts")
)


async def test_where_the_bytes_are_cut_makes_no_difference(running: Running) -> None:
    def shape(answer: bytes) -> bytes:
        return re.sub(rb"X-Request-Id: .*", b"", answer)

    whole = shape(await exchange(running.token_path, SEVERAL))
    assert whole.count(b"HTTP/1.1 200 OK") == 4
    assert shape(await exchange(running.token_path, *(bytes([each]) for each in SEVERAL[:120]), SEVERAL[120:])) == whole
    chance = random.Random(4)
    for _ in range(15):
        cuts = sorted(chance.sample(range(len(SEVERAL)), 6))
        pieces = [SEVERAL[a:b] for a, b in itertools.pairwise([0, *cuts, len(SEVERAL)])]
        assert shape(await exchange(running.token_path, *pieces)) == whole


async def test_an_offer_to_upgrade_is_not_taken(running: Running) -> None:
    offer = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nPRI * HTTP/2.0\r\n\r\n"
    status, headers, body = split(await exchange(running.token_path, offer))
    assert (status, headers["connection"]) == (200, "close")
    assert b'"status":"ok"' in body


async def test_http_1_0_ends_unless_it_asks_to_go_on(running: Running) -> None:
    assert split(await exchange(running.token_path, b"GET /v1/health HTTP/1.0\r\nHost: localhost\r\n\r\n"))[0] == 200
    kept = b"GET /v1/health HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    answer = await exchange(running.token_path, kept, get("/v1/health"))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.count(b"Connection: keep-alive\r\n") == 1


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET /v1/health HTTP/2.0\r\nHost: localhost\r\n\r\n", "bad_request"),
        (get("/v1/health", *(f"X-{n}: 1" for n in range(120))), "too_large"),
        (b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 400_000, "too_large"),
        (b"GET /v1/" + b"x" * 400_000, "too_large"),
        (get("/v1/report", "Origin: x", "Content-Length: 9", "Expect: 100-continue", method="POST"), "forbidden_peer"),
    ],
)
async def test_what_is_refused_by_its_head_is_told_at_once(running: Running, data: bytes, code: str) -> None:
    assert problem(await exchange(running.token_path, data)).code == code


async def test_a_refusal_waits_for_the_answers_before_it(running: Running) -> None:
    answer = await exchange(
        running.token_path, request_head("GET", "/v1/accounts") + b"no HTTP at all\r\n\r\n" + get("/")
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"400"]


async def test_an_idle_connection_is_closed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.1)
    answer = await exchange(running.token_path, request_head("GET", "/v1/health"))
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_request_half_sent_behind_another_has_its_time_when_that_is_answered() -> None:
    async with running_daemon(ANN, lifetime=-10, config="[socket]\nrequest_timeout_seconds = 0.4\n") as running:
        running.sandbox.faults.add(Target.TOKEN, Delay(seconds=1.0))
        answer = await exchange(running.token_path, request_head("GET", "/v1/lease/sandbox") + b"GET /v1/hea")
        assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"408"]


async def test_many_requests_sent_ahead_are_all_answered(running: Running) -> None:
    count = 300
    answer = await exchange(running.token_path, request_head("GET", "/v1/health") * count + get("/v1/health"))
    assert answer.count(b"HTTP/1.1 200") == count + 1
