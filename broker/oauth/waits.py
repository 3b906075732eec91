"""How long an answer asks us to wait.

Owns: every form a wait comes in: `Retry-After` as seconds and as a date (RFC 9110 section 10.2.3), `retry-after-ms`, the
`ratelimit-reset` family as seconds, epoch, date or duration, Google's RetryInfo and quota details, and durations inside sentences.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime

CAP_SECONDS = 3600.0  # whatever a server says, we look again within the hour

_EPOCH_FROM = 1e9  # a number this large is a point in time (2001 or later), not a wait
_EPOCH_MS_FROM = 1e12
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])", re.ASCII)
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhd]))+", re.ASCII)
_IN_TEXT = re.compile(
    r"\b(?:after|in|within)\s+((?:\d+(?:\.\d+)?\s?(?:ms|[smhd])(?![a-z]))+|\d+(?:\.\d+)?(?=\s*(?:seconds?|secs?|minutes?|mins?|hours?)\b))"
    r"(?:\s*(seconds?|secs?|minutes?|mins?|hours?)\b)?",
    re.ASCII | re.IGNORECASE,
)
_RESET_HEADERS = re.compile(r"(?:x-)?ratelimit-reset(?:-[a-z-]+)?")
_BODY_WAITS = (
    "retryDelay", "quotaResetDelay", "quotaResetTimeStamp",  # google.rpc RetryInfo and ErrorInfo
    "retry_after", "retryAfter", "resets_in_seconds", "resets_at",
)  # fmt: skip


def asked_wait(headers: Mapping[str, str], body: object, text: str, now_wall: float) -> float | None:
    """Return the seconds to wait, at most `CAP_SECONDS`; None where the answer names none, or one that is over.

    `headers` have lower-case names, `body` is the parsed JSON or None, `text` the human sentence. The first of: Retry-After, reset headers
    (the latest of several), details in the body, the sentence. A date is measured against the server's own `Date` where it sent one, so that
    a difference between the clocks does not matter.
    """
    server_now = http_date(headers.get("date", "")) or now_wall
    found = (
        _retry_after(headers, server_now),
        _resets(headers, server_now),
        _in_body(body, server_now),
        _in_text(text),
    )
    return next((capped for wait in found if (capped := _capped(wait)) is not None), None)


def retry_after(headers: Mapping[str, str], now_wall: float) -> float | None:
    """Return what Retry-After alone says, as `asked_wait` does."""
    return _capped(_retry_after(headers, http_date(headers.get("date", "")) or now_wall))


def duration(text: str) -> float | None:
    """Read a Go or protobuf duration (`2h7m23.4s`, `456ms`) as seconds."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in _PART.findall(text))


def http_date(text: str) -> float | None:
    """Read an HTTP date (RFC 9110 section 5.6.7) as seconds since the epoch."""
    if not text:
        return None
    # A module of a start's weight, for what only a provider's answer needs.
    from email.utils import parsedate_to_datetime  # noqa: PLC0415

    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _capped(wait: float | None) -> float | None:
    return min(wait, CAP_SECONDS) if wait is not None and math.isfinite(wait) and wait > 0 else None


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    if (milliseconds := _number(headers.get("retry-after-ms", ""))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after", "").strip()
    seconds = _number(text)
    if seconds is not None:
        return seconds
    date = http_date(text)
    return duration(text) if date is None else date - now


def _resets(headers: Mapping[str, str], now: float) -> float | None:
    waits = [_moment_or_wait(value.strip(), now) for name, value in headers.items() if _RESET_HEADERS.fullmatch(name)]
    return max((wait for wait in waits if wait is not None), default=None)


def _in_body(body: object, now: float) -> float | None:
    for values in _objects(body):
        for name in _BODY_WAITS:
            wait = _moment_or_wait(values.get(name), now)
            if wait is not None:
                return wait
    return None


def _objects(body: object, depth: int = 0) -> Iterator[Mapping[str, object]]:
    if depth > 6:  # deeper than any answer seen; a bound against hostile nesting
        return
    if isinstance(body, Mapping):
        yield body
        for value in body.values():
            yield from _objects(value, depth + 1)
    elif isinstance(body, list):
        for value in body:
            yield from _objects(value, depth + 1)


def _moment_or_wait(value: object, now: float) -> float | None:
    if isinstance(value, str):
        number = _number(value)
        if number is None:
            found = duration(value)
            return found if found is not None else _until(value, now)
        value = number
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if value >= _EPOCH_MS_FROM:
        return value / 1000 - now
    return value - now if value >= _EPOCH_FROM else float(value)


def _until(text: str, now: float) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() - now if moment.tzinfo is not None else None


def _in_text(text: str) -> float | None:
    match = _IN_TEXT.search(text)
    if match is None:
        return None
    amount, word = match.groups()
    if word is not None:
        unit = {"s": 1.0, "m": 60.0, "h": 3600.0}[word[0].lower()]
        return float(amount) * unit if _number(amount) is not None else None
    return duration(re.sub(r"\s", "", amount).lower())


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\s*\d{1,18}(?:\.\d{1,9})?\s*", text, re.ASCII) else None
