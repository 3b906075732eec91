"""How long a request and its attempts may take."""

import pytest

from broker.config import ProxyConfig
from broker.proxy.deadlines import Deadlines, Overtime
from broker.proxy.wire.client import FailureKind

SETTINGS = ProxyConfig(headers_timeout=10, first_byte_timeout=20, idle_timeout=5, total_timeout=100)


def kind(deadlines: Deadlines, now: float) -> FailureKind | None:
    late = deadlines.late(now)
    return late.kind if late is not None else None


def test_the_head_is_waited_for_from_the_request_on() -> None:
    deadlines = Deadlines(SETTINGS, 1000)
    deadlines.sent(1050)
    assert deadlines.late(1060) is None
    late = deadlines.late(1060.5)
    assert late is not None
    assert late.kind is FailureKind.HEADERS_TIMEOUT
    assert late.text == "the upstream did not begin its answer within 10 s"


def test_the_first_byte_is_waited_for_from_the_request_on_too() -> None:
    deadlines = Deadlines(SETTINGS, 1000)
    deadlines.sent(1000)
    deadlines.head()
    assert deadlines.late(1020) is None
    assert kind(deadlines, 1021) is FailureKind.FIRST_BYTE_TIMEOUT


def test_without_a_shorter_limit_for_heads_the_first_byte_decides() -> None:
    deadlines = Deadlines(ProxyConfig(headers_timeout=50, first_byte_timeout=20), 0)
    assert kind(deadlines, 21) is FailureKind.FIRST_BYTE_TIMEOUT


def test_silence_is_counted_from_the_last_read() -> None:
    deadlines = Deadlines(SETTINGS, 1000)
    deadlines.sent(1000)
    deadlines.head()
    deadlines.data()
    deadlines.read(1030)
    assert deadlines.late(1035) is None
    assert kind(deadlines, 1036) is FailureKind.IDLE_TIMEOUT


def test_a_new_attempt_begins_anew() -> None:
    deadlines = Deadlines(SETTINGS, 1000)
    deadlines.sent(1000)
    deadlines.head()
    deadlines.data()
    deadlines.sent(1040)
    assert deadlines.late(1050) is None
    assert kind(deadlines, 1051) is FailureKind.HEADERS_TIMEOUT


@pytest.mark.parametrize(("now", "told"), [(1100, None), (1100.5, Overtime(100))])
def test_the_whole_is_counted_over_all_attempts(now: float, told: Overtime | None) -> None:
    deadlines = Deadlines(SETTINGS, 1000)
    deadlines.sent(1099)
    deadlines.read(1099)
    assert deadlines.overtime(now) == told


@pytest.mark.parametrize(
    ("given_at", "now", "due"),
    [(100, 114.9, False), (100, 115, True), (110, 120, False), (110, 120.5, True), (1995, 2000, True)],
    ids=["nothing", "a comment", "still nothing", "the first byte", "the whole"],
)
def test_there_is_something_to_do_once_one_of_them_is_over_or_a_comment_is_owed(
    given_at: float, now: float, due: bool
) -> None:
    settings = ProxyConfig(first_byte_timeout=20, idle_timeout=5, total_timeout=1000, keepalive_seconds=15)
    deadlines = Deadlines(settings, 100)
    deadlines.head()
    if now > 1000:
        deadlines.data()
        deadlines.read(1999)
    assert deadlines.due(now, given_at) is due
