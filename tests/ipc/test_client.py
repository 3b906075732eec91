import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from broker.ipc.client import BrokerClient
from broker.ipc.schema import (
    PROBLEM_JSON,
    AccountList,
    AccountQuota,
    AccountView,
    Changed,
    Lease,
    LoginStart,
    LoginView,
    LogoutAnswer,
    Removed,
    Report,
    ReportAnswer,
    Snapshot,
    WatchAccount,
    encode,
    problem_of,
)
from broker.ipc.sse import COMMENT, frame
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from tests.fakes.raw_server import CLOSE, HANG, answer, chunked, raw_server

VIEW = AccountView(
    account="acme/ann@example.com", provider="acme", label="ann@example.com", state="active", generation=3
)
LEASE = Lease(
    account="acme/ann@example.com", provider="acme", generation=3, access_token=Secret("fake-access-1"), expires_at=9.5
)
QUOTA = AccountQuota(account="acme/ann@example.com", read_at=1.0, plan="pro")
LOGIN = LoginView(id="L1", provider="acme", state="waiting", flow="code", url="https://idp.example/authorize")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


async def test_a_lease_is_typed_and_its_token_hidden(path: Path) -> None:
    async with raw_server(path, [answer(encode(LEASE))]) as server, BrokerClient(path) as client:
        lease = await client.lease("acme/ann@example.com", min_validity=300, max_wait=2)
    assert lease == LEASE
    assert "fake-access" not in repr(lease)
    assert server.requests[0].startswith(
        b"GET /v1/lease/acme/ann%40example.com?min_validity=300&max_wait=2 HTTP/1.1\r\nHost: ccs-broker\r\n"
    )


Call = Callable[[BrokerClient], Awaitable[object]]
ANN = AccountId("acme", "ann@example.com")
REPORT = Report(account=str(ANN), generation=3, outcome="rejected")


@pytest.mark.parametrize(
    ("call", "line", "reply"),
    [
        (lambda c: c.lease("acme"), "GET /v1/lease/acme?min_validity=60.0&max_wait=10.0", LEASE),
        (lambda c: c.account(ANN), "GET /v1/accounts/acme/ann%40example.com", VIEW),
        (lambda c: c.refresh(ANN, max_wait=1), "POST /v1/accounts/acme/ann%40example.com/refresh?max_wait=1", VIEW),
        (lambda c: c.pause(ANN), "POST /v1/accounts/acme/ann%40example.com/pause", VIEW),
        (lambda c: c.resume(ANN), "POST /v1/accounts/acme/ann%40example.com/resume", VIEW),
        (lambda c: c.clear_cooldown("acme/a b"), "POST /v1/accounts/acme/a%20b/clear-cooldown", VIEW),
        (
            lambda c: c.logout(ANN),
            "DELETE /v1/accounts/acme/ann%40example.com",
            LogoutAnswer(account=str(ANN), revoked=True),
        ),
        (
            lambda c: c.logout(ANN, keep_remote=True),
            "DELETE /v1/accounts/acme/ann%40example.com?keep_remote=true",
            LogoutAnswer(account=str(ANN), revoked=False),
        ),
        (lambda c: c.set_default(ANN), "POST /v1/accounts/acme/ann%40example.com/default", VIEW),
        (lambda c: c.rename(ANN, "work"), "POST /v1/accounts/acme/ann%40example.com/rename", VIEW),
        (lambda c: c.quota(ANN, max_wait=2), "GET /v1/accounts/acme/ann%40example.com/quota?max_wait=2", QUOTA),
        (lambda c: c.report(REPORT), "POST /v1/report", ReportAnswer(lease=LEASE)),
        (lambda c: c.start_login(LoginStart(provider="acme")), "POST /v1/logins", LOGIN),
        (lambda c: c.login("L/1", wait=5), "GET /v1/logins/L%2F1?wait=5", LOGIN),
        (lambda c: c.finish_login("L1", Secret("fake-code")), "POST /v1/logins/L1/callback", LOGIN),
        (lambda c: c.cancel_login("L1"), "DELETE /v1/logins/L1", LOGIN),
    ],
)
async def test_each_call_asks_for_its_operation(path: Path, call: Call, line: str, reply: object) -> None:
    async with raw_server(path, [answer(encode(reply))]) as server, BrokerClient(path) as client:
        assert await call(client) == reply
    assert server.requests[0].decode().startswith(f"{line} HTTP/1.1\r\n")


async def test_bodies_go_out_in_clear_json(path: Path) -> None:
    async with (
        raw_server(path, [answer(encode(LOGIN)), answer(encode(ReportAnswer()))]) as server,
        BrokerClient(path) as client,
    ):
        await client.finish_login("L1", Secret("fake-code"))
        await client.report(REPORT)
    assert server.requests[0].endswith(b'\r\n\r\n{"text":"fake-code"}')
    assert b'"outcome":"rejected"' in server.requests[1]


async def test_one_connection_carries_many_requests(path: Path) -> None:
    replies = [answer(encode(AccountList((VIEW,))))] * 5
    async with raw_server(path, replies) as server, BrokerClient(path) as client:
        for _ in range(5):
            assert await client.accounts() == (VIEW,)
    assert server.connections == 1


async def test_a_connection_the_daemon_ends_is_not_reused(path: Path) -> None:
    last = answer(encode(LEASE), extra="Connection: close\r\n")
    async with raw_server(path, [last], [last]) as server, BrokerClient(path) as client:
        assert await client.lease("acme") == await client.lease("acme") == LEASE
    assert server.connections == 2


async def test_an_idle_connection_closed_by_the_daemon_costs_nothing(path: Path) -> None:
    """The server reads the second request on the old connection, then hangs up: once more on a new one."""
    async with (
        raw_server(path, [answer(encode(LEASE)), CLOSE], [answer(encode(LEASE))]) as server,
        BrokerClient(path) as client,
    ):
        assert await client.lease("acme") == await client.lease("acme") == LEASE
    assert server.connections == 2


async def test_an_account_without_a_label_is_refused_before_it_is_sent(path: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        await BrokerClient(path).pause("acme")
    assert caught.value.code is ErrorCode.BAD_REQUEST


async def test_a_missing_socket_says_what_to_start(path: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        await BrokerClient(path).accounts()
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
    assert "ccs-broker serve" in caught.value.hint
    assert str(path) in caught.value.detail


@pytest.mark.parametrize("script", [[CLOSE], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]])
async def test_a_daemon_that_hangs_up_is_unreachable(path: Path, script: list[bytes]) -> None:
    async with raw_server(path, script), BrokerClient(path) as client:
        with pytest.raises(BrokerError) as caught:
            await client.accounts()
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE


async def test_a_silent_daemon_meets_the_deadline(path: Path) -> None:
    async with raw_server(path, [HANG]), BrokerClient(path, timeout=0.05) as client:
        with pytest.raises(BrokerError) as caught:
            await client.accounts()
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED


async def test_what_is_not_http_is_a_fault(path: Path) -> None:
    async with raw_server(path, [b"SSH-2.0-OpenSSH_9.2\r\n\r\n"]), BrokerClient(path) as client:
        with pytest.raises(BrokerError) as caught:
            await client.accounts()
    assert caught.value.code is ErrorCode.INTERNAL


async def test_a_problem_document_is_raised_whole(path: Path) -> None:
    error = BrokerError(ErrorCode.RATE_LIMITED, "wait", account="acme/x", retry_after=7.0)
    reply = answer(encode(problem_of(error)), status="429 Too Many Requests", kind=PROBLEM_JSON)
    async with raw_server(path, [reply]), BrokerClient(path) as client:
        with pytest.raises(BrokerError) as caught:
            await client.lease("acme")
    raised = caught.value
    assert (raised.code, raised.detail, raised.account, raised.retry_after, raised.retryable) == (
        ErrorCode.RATE_LIMITED,
        "wait",
        "acme/x",
        7.0,
        True,
    )


async def test_a_refusal_that_is_no_problem_document_is_a_fault(path: Path) -> None:
    async with (
        raw_server(path, [answer(b"<html>", status="502 Bad Gateway", kind="text/html")]),
        BrokerClient(path) as client,
    ):
        with pytest.raises(BrokerError, match="502"):
            await client.lease("acme")


async def test_cancelling_a_call_does_not_poison_the_next(path: Path) -> None:
    async with raw_server(path, [HANG], [answer(encode(LEASE))]) as server, BrokerClient(path) as client:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(client.lease("acme"), 0.05)
        assert await client.lease("acme") == LEASE
    assert server.connections == 2


async def test_many_tasks_share_a_bounded_number_of_connections(path: Path) -> None:
    replies = [answer(encode(AccountList((VIEW,))))] * 100
    async with raw_server(path, *[replies] * 60) as server, BrokerClient(path) as client:
        assert await asyncio.gather(*(client.accounts() for _ in range(100))) == [(VIEW,)] * 100
    assert (server.peak, server.connections) == (32, 32)


EVENTS = (
    Snapshot((WatchAccount(VIEW, LEASE),), "1.0"),
    Changed(WatchAccount(VIEW)),
    Removed("acme/ann@example.com"),
)


async def test_the_push_stream_yields_ids_and_events(path: Path) -> None:
    frames = [frame(f"i-{n}", "x", encode(event)) for n, event in enumerate(EVENTS)]
    async with raw_server(path, [chunked(COMMENT, *frames)]) as server, BrokerClient(path) as client:
        seen = []
        with pytest.raises(BrokerError) as caught:
            async for item in client.watch("i-9"):
                seen.append(item)  # noqa: PERF401 - a comprehension would lose them to the exception
    assert seen == [(f"i-{n}", event) for n, event in enumerate(EVENTS)]
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
    assert b"\r\nLast-Event-ID: i-9\r\n" in server.requests[0]


async def test_a_first_watch_sends_no_event_id(path: Path) -> None:
    async with raw_server(path, [chunked()]) as server, BrokerClient(path) as client:
        with pytest.raises(BrokerError):
            await anext(client.watch())
    assert b"Last-Event-ID" not in server.requests[0]


async def test_a_refused_watch_raises_the_problem(path: Path) -> None:
    reply = answer(
        encode(problem_of(BrokerError(ErrorCode.TOO_MANY, "full"))), status="503 Service Unavailable", kind=PROBLEM_JSON
    )
    async with raw_server(path, [reply]), BrokerClient(path) as client:
        with pytest.raises(BrokerError) as caught:
            await anext(client.watch())
    assert caught.value.code is ErrorCode.TOO_MANY


@pytest.mark.parametrize("script", [[CLOSE], [HANG], [chunked(frame("i-1", "x", encode(EVENTS[0])), end=False)]])
async def test_a_broken_watch_is_unreachable(path: Path, script: list[bytes]) -> None:
    async with raw_server(path, script), BrokerClient(path, timeout=0.1) as client:
        with pytest.raises(BrokerError) as caught:
            async for _ in client.watch():
                pass
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE


async def test_watching_without_a_daemon_is_unreachable(path: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        await anext(BrokerClient(path).watch())
    assert caught.value.code is ErrorCode.DAEMON_UNREACHABLE
