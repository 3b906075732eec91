import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.oauth.waits import CAP_SECONDS, asked_wait, duration, http_date, retry_after

NOW = 1_750_000_000.0  # Sun, 15 Jun 2025 15:06:40 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:40 GMT"}, 60.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:40 GMT", "date": "Sun, 15 Jun 2025 15:07:10 GMT"}, 30.0),
        ({"retry-after": "Sun, 15 Jun 2025 15:07:40 GMT", "date": "nonsense"}, 60.0),
        ({"retry-after": "20s"}, 20.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "999999"}, CAP_SECONDS),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "Sun, 15 Jun 2025 15:00:00 GMT"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "Thu, 99 Jun 2025 15:00:00 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
    assert asked_wait(headers, None, "", NOW) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset": "30"}, 30.0),
        ({"ratelimit-reset": "30"}, 30.0),
        ({"x-ratelimit-reset": "1750000090"}, 90.0),
        ({"x-ratelimit-reset": "1750000090000"}, 90.0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-reset": "2025-06-15T15:07:40Z"}, 60.0),
        ({"x-ratelimit-reset": "2025-06-15T15:07:40"}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-remaining": "7"}, None),
        ({"retry-after": "5", "x-ratelimit-reset": "30"}, 5.0),
    ],
)
def test_reset_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert asked_wait(headers, None, "", NOW) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "7.4s"}]}}, 7.4),
        ([{"error": {"details": [{"metadata": {"quotaResetDelay": "2m3.5s"}}]}}], 123.5),
        ({"error": {"details": [{"metadata": {"quotaResetTimeStamp": "2025-06-15T15:06:50Z"}}]}}, 10.0),
        ({"retry_after": 12}, 12.0),
        ({"retryAfter": "12"}, 12.0),
        ({"error": {"resets_in_seconds": 40}}, 40.0),
        ({"error": {"resets_at": 1_750_000_040}}, 40.0),
        ({"retry_after": True}, None),
        ({"retry_after": [3]}, None),
        ({"a": {"b": {"c": {"d": {"e": {"f": {"g": {"retry_after": 5}}}}}}}}, None),
        ("retry_after", None),
    ],
)
def test_details_in_the_body(body: object, seconds: float | None) -> None:
    assert asked_wait({}, body, "", NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Your quota will reset after 2h7m23s.", CAP_SECONDS),
        ("Your quota will reset after 7m23s.", 443.0),
        ("Please retry in 12.3s", 12.3),
        ("Please retry in 456ms", 0.456),
        ("Try again in 20 seconds.", 20.0),
        ("try again in 1.5 minutes", 90.0),
        ("Come back in 1 hour", CAP_SECONDS),
        ("retry after 5s", 5.0),
        ("within 3 m or so", 180.0),
        ("after 3 attempts", None),
        ("in 5 days", None),
        ("no wait named", None),
    ],
)
def test_waits_in_sentences(text: str, seconds: float | None) -> None:
    assert asked_wait({}, None, text, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h7m23.4s", 7643.4),
        ("456ms", 0.456),
        ("1d", 86_400.0),
        ("", None),
        ("5", None),
        ("1h junk", None),
        ("s", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


def test_http_dates() -> None:
    assert http_date("Sun, 15 Jun 2025 15:06:40 GMT") == NOW
    assert http_date("") is None
    assert http_date("yesterday") is None


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "date", "x-ratelimit-reset", "retry-after-ms"]), st.text(max_size=30)
    ),
    st.text(max_size=60),
)
def test_no_header_makes_it_crash_or_wait_too_long(headers: dict[str, str], text: str) -> None:
    wait = asked_wait(headers, None, text, NOW)
    assert wait is None or 0 < wait <= CAP_SECONDS
