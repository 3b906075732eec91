import json

import pytest

from broker.proxy.failures import error_body, error_event, failure, refusal, timed
from broker.proxy.routes import Voice
from broker.translate.codecs import Dialect
from broker.translate.ir import Failure, FailureKind

PLANTED = failure(429, "wait a little", reason="model_cooldown", retry_after=1.2)


def test_kinds_follow_statuses() -> None:
    assert failure(401, "x").kind is FailureKind.AUTHENTICATION
    assert failure(418, "x").kind is FailureKind.BAD_REQUEST
    assert failure(502, "x").kind is FailureKind.SERVER
    assert failure(400, "x", param="model").param == "model"


def test_each_client_is_told_in_its_own_shape() -> None:
    openai = json.loads(error_body(PLANTED, Voice.OPENAI, "r1"))
    assert openai["error"]["message"] == "wait a little"
    assert openai["error"]["type"] == "rate_limit_error"
    gemini = json.loads(error_body(PLANTED, Voice.GEMINI, "r1"))
    assert (gemini["error"]["code"], gemini["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    anthropic = json.loads(error_body(PLANTED, Voice.ANTHROPIC, "r1"))
    assert anthropic == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "wait a little"},
        "request_id": "r1",
    }
    odd = json.loads(error_body(failure(418, "x"), Voice.ANTHROPIC, "r1"))
    assert odd["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("voice", Voice)
def test_headers_of_a_refusal(voice: Voice) -> None:
    headers, body = refusal(PLANTED, voice, "r1")
    assert dict(headers) == {b"content-type": b"application/json", b"x-request-id": b"r1", b"retry-after": b"2"}
    assert b"wait a little" in body
    assert b"retry-after" not in dict(refusal(failure(404, "x"), voice, "r1")[0])


def test_error_events() -> None:
    assert error_event(PLANTED, Voice.OPENAI, "r1").startswith(b'data: {"error":')
    assert error_event(PLANTED, Voice.ANTHROPIC, "r1").startswith(b"event: error\ndata: {")
    assert error_event(PLANTED, Voice.GEMINI, "r1").endswith(b"\n\n")
    head, _, data = error_event(PLANTED, Voice.OPENAI, "r1", Dialect.RESPONSES).partition(b"\ndata: ")
    said = json.loads(data)
    assert (head, said["type"], said["error"]["message"]) == (b"event: error", "error", said["message"])
    assert {"code", "param"} <= said.keys()


@pytest.mark.parametrize(
    ("told", "header", "wait"),
    [
        ({}, None, None),
        ({}, b"soon", None),
        ({}, b"7", 7.0),
        ({}, b"Thu, 01 Jan 1970 00:17:00 GMT", 20.0),
        ({}, b"Thu, 01 Jan 1970 00:16:00 GMT", 0.0),
        ({}, b"Thu, 99 Jan 1970 00:16:00 GMT", None),
        ({"retry_at": 2000.0}, b"\xff", 1000.0),
        ({"retry_after": 3.0, "retry_at": 2000.0}, b"7", 3.0),
        ({"retry_at": 2000.0}, b"7", 7.0),
        ({"retry_at": 2000.0}, None, 1000.0),
        ({"retry_at": 10.0}, None, 0.0),
    ],
)
def test_how_long_to_wait(told: dict[str, float], header: bytes | None, wait: float | None) -> None:
    made = Failure(429, FailureKind.RATE_LIMITED, "m", **told)  # type: ignore[arg-type]
    assert timed(made, header, 1000.0).retry_after == wait
