import pytest

from broker.daemon.connection import problem_response, raw_problem, too_slow
from broker.ipc.operations import Call, Name
from broker.model.errors import BrokerError, ErrorCode
from tests.daemon.test_server import get, problem, say, split
from tests.fakes.broker import Running


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


def test_raw_and_framed_problems_say_the_same() -> None:
    error = too_slow(0.5)
    status, headers, _ = split(raw_problem(error))
    assert (status, headers["connection"]) == (408, "close")
    assert problem(raw_problem(error)).detail == "the request did not arrive whole within 0.5 s"
    response = problem_response(error)
    assert response.body == raw_problem(error).split(b"\r\n\r\n", 1)[1]


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (7.4, "7")])
def test_retry_after_is_whole_seconds(seconds: float, header: str) -> None:
    response = problem_response(BrokerError(ErrorCode.RATE_LIMITED, "wait", retry_after=seconds))
    assert response.headers["Retry-After"] == header


def test_only_broken_framing_ends_the_connection() -> None:
    error = BrokerError(ErrorCode.BAD_REQUEST, "no")
    assert problem_response(error).keep_alive is None  # aiohttp decides by the request
    assert problem_response(error, close=True).keep_alive is False
