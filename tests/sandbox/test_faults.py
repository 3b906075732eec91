"""The queue gives each fault to the requests it is meant for."""

import msgspec
import pytest

from broker.sandbox.faults import (
    Answer,
    Cut,
    Delay,
    Drop,
    DropAfterGrant,
    ErrorEvent,
    ErrorStatus,
    Facts,
    Fault,
    FaultQueue,
    Hang,
    QueuedFault,
    RateLimit,
    Slow,
    Stall,
    Target,
    fault_name,
    forestalls,
)


def test_first_come_first_served_and_counted_down():
    queue = FaultQueue()
    queue.add(Target.TOKEN, Drop(), 2)
    queue.add(Target.TOKEN, Hang())
    taken = [queue.take(Target.TOKEN, Facts()) for _ in range(4)]
    assert taken == [Drop(), Drop(), Hang(), None]
    assert queue.take(Target.GENERATE, Facts()) is None


def test_until_cleared():
    queue = FaultQueue()
    queue.add(Target.GENERATE, ErrorStatus(429), None, user="a")
    assert {queue.take(Target.GENERATE, Facts(user="a")) for _ in range(50)} == {ErrorStatus(429)}
    assert len(queue.waiting()) == 1
    assert queue.clear() == 1
    assert queue.take(Target.GENERATE, Facts(user="a")) is None


@pytest.mark.parametrize(
    ("narrow", "facts", "struck"),
    [
        ({"user": "a"}, Facts(user="a"), True),
        ({"user": "a"}, Facts(user="b"), False),
        ({"user": "a"}, Facts(), False),
        ({"model": "m"}, Facts(model="m", user="x"), True),
        ({"grant_type": "refresh_token"}, Facts(grant_type="authorization_code"), False),
        ({"grant_type": "refresh_token", "user": "a"}, Facts(grant_type="refresh_token", user="a"), True),
    ],
)
def test_narrowing(narrow, facts, struck):
    queue = FaultQueue()
    queue.add(Target.TOKEN, Drop(), **narrow)
    assert (queue.take(Target.TOKEN, facts) is not None) is struck
    assert len(queue.waiting()) == (not struck)


@pytest.mark.parametrize("fault", [Slow(1), Stall(), ErrorEvent()])
def test_stream_faults_wait_for_a_stream(fault):
    queue = FaultQueue()
    queue.add(Target.GENERATE, fault)
    assert queue.take(Target.GENERATE, Facts()) is None
    assert queue.take(Target.GENERATE, Facts(stream=True)) == fault


@pytest.mark.parametrize(
    ("fault", "name", "forestalled"),
    [
        (Answer(), "answer", True),
        (ErrorStatus(), "status", True),
        (RateLimit(), "rate_limit", True),
        (Delay(1), "delay", False),
        (Drop(), "drop", True),
        (Drop(after_grant=True), "drop", False),
        (DropAfterGrant(), "drop_after_grant", False),
        (Hang(), "hang", True),
        (Hang(after_grant=True), "hang", False),
        (Cut(), "cut", False),
        (Slow(1), "slow", False),
        (Stall(), "stall", False),
        (ErrorEvent(), "error_event", False),
    ],
)
def test_names_json_and_whether_work_is_done(fault: Fault, name, forestalled):
    assert fault_name(fault) == name
    assert forestalls(fault) is forestalled
    entry = QueuedFault(Target.TOKEN, fault)
    text = msgspec.json.encode(entry)
    assert msgspec.json.decode(text)["fault"]["kind"] == name
    assert msgspec.json.decode(text, type=QueuedFault) == entry


def test_no_fault_forestalls_nothing():
    assert not forestalls(None)
