"""Google's errors, read and written."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.gemini_errors import decode_error, encode_error, parse_duration, read_status
from broker.translate.ir import Failure, FailureKind

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "gemini").glob("error_*.json"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path):
    case = json.loads(path.read_text())
    failure = decode_error(case["status"], json.dumps(case["body"]).encode())
    assert msgspec.to_builtins(failure) == pytest.approx({"retry_at": None, **case["failure"]})


def test_the_golden_files_are_there():
    assert len(GOLDEN) >= 9


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"[]",
        b"{}",
        b"5",
        b'{"error":5}',
        b'{"error":{"details":5}}',
        b"\xff",
        b"[" * 100_000,
        b'{"error":{"message":7}}',
    ],
)
def test_a_body_that_says_nothing(body):
    assert decode_error(502, body) == Failure(502, FailureKind.SERVER, "the upstream answered 502 without saying why")


def test_an_error_that_is_only_a_sentence():
    assert decode_error(401, b'{"error":"who?"}') == Failure(401, FailureKind.AUTHENTICATION, "who?")


def test_a_page_long_message_is_cut():
    assert len(decode_error(500, json.dumps({"error": "x" * 9999}).encode()).message) == 2000


@pytest.mark.parametrize(
    ("error", "status"), [({"code": 429}, 429), ({"code": 200}, 502), ({"code": "no"}, 502), ({}, 502)]
)
def test_in_a_stream_the_errors_own_code_counts(error, status):
    assert read_status(error).status == status


@pytest.mark.parametrize("links", [5, [], ["odd"], [{"url": 5}]])
def test_help_that_is_none(links):
    details = [{"@type": "x.google.rpc.Help", "links": links}]
    assert read_status({"code": 403, "details": details}).help_url is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h7m23.4s", 7643.4),
        ("7643.4s", 7643.4),
        ("456ms", 0.456),
        (" 1m ", 60.0),
        ("1.5us", 1.5e-6),
        ("3µs2ns", 3.002e-6),
        ("0s", 0.0),
        ("", None),
        ("5", None),
        ("-1s", None),
        ("s", None),
        ("1h later", None),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_writing_all_of_it():
    failure = Failure(
        429,
        FailureKind.RATE_LIMITED,
        "Wait.",
        reason="model_cooldown",
        param="model",
        retry_after=1.5,
        help_url="https://x.example",
    )
    assert json.loads(encode_error(failure)) == {
        "error": {
            "code": 429,
            "message": "Wait.",
            "status": "RESOURCE_EXHAUSTED",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "model_cooldown"},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"},
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "model", "description": "Wait."}],
                },
                {
                    "@type": "type.googleapis.com/google.rpc.Help",
                    "links": [{"description": "How to mend this", "url": "https://x.example"}],
                },
            ],
        }
    }


@pytest.mark.parametrize(
    ("status", "word"), [(404, "NOT_FOUND"), (422, "INVALID_ARGUMENT"), (529, "UNAVAILABLE"), (599, "INTERNAL")]
)
def test_the_word_for_a_status(status, word):
    assert json.loads(encode_error(Failure(status, FailureKind.SERVER, "m")))["error"] == {
        "code": status,
        "message": "m",
        "status": word,
    }


@given(st.floats(0, 1e7), st.integers(400, 599))
def test_what_is_written_is_read_back(delay, status):
    failure = decode_error(
        status, encode_error(Failure(status, FailureKind.SERVER, "m", reason="R", retry_after=delay))
    )
    assert (failure.status, failure.message, failure.reason) == (status, "m", "R")
    assert failure.retry_after == pytest.approx(delay, abs=1e-3)
