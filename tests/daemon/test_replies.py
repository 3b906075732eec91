import pytest

from broker.daemon.replies import Reply, problem, stream_head, too_slow
from broker.ipc.schema import PROBLEM_JSON
from broker.model.errors import BrokerError, ErrorCode
from tests.daemon.test_server import split


def test_a_reply_is_framed_with_its_length_id_and_what_becomes_of_the_connection() -> None:
    reply = Reply(200, b"{}", "application/json", (("X-More", "1"),))
    status, headers, body = split(reply.encode("close", "a1"))
    assert (status, body) == (200, b"{}")
    assert headers["content-length"] == "2"
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert (headers["x-request-id"], headers["x-more"], headers["connection"]) == ("a1", "1", "close")
    assert "connection" not in split(reply.encode())[1]
    assert split(reply.encode(head_only=True))[1:] == (split(reply.encode())[1], b"")
    assert "{}" not in repr(reply)


def test_a_problem_says_what_is_wrong() -> None:
    status, headers, body = split(problem(too_slow(0.5)).encode("close"))
    assert (status, headers["content-type"]) == (408, PROBLEM_JSON)
    assert b"the request did not arrive whole within 0.5 s" in body


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (7.4, "7")])
def test_retry_after_is_whole_seconds(seconds: float, header: str) -> None:
    reply = problem(BrokerError(ErrorCode.RATE_LIMITED, "wait", retry_after=seconds))
    assert split(reply.encode())[1]["retry-after"] == header


def test_a_stream_has_no_length_and_ends_with_its_connection() -> None:
    status, headers, body = split(stream_head("text/event-stream", "a1"))
    assert (status, body) == (200, b"")
    assert (headers["transfer-encoding"], headers["connection"]) == ("chunked", "close")
    assert "content-length" not in headers
