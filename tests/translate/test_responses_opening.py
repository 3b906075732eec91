import json

import pytest

from broker.translate.ir import Failure, FailureKind
from broker.translate.responses_opening import Opening, opening


def failed(**error):
    return {"type": "response.failed", "response": {"error": error}}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"type": "response.created", "response": {"id": "r"}}, Opening.WAIT),
        ({"type": "response.in_progress"}, Opening.WAIT),
        ({"type": "response.queued"}, Opening.WAIT),
        ({"type": "response.output_item.added", "item": {"type": "message"}}, Opening.GO),
        ({"type": "response.of.next_year"}, Opening.GO),
        ({"type": "response.completed", "response": {}}, Opening.GO),
        (failed(code="context_length_exceeded", message="too long"), Opening.GO),
        ({"type": "error", "code": "invalid_prompt", "message": "no"}, Opening.GO),
        (failed(code="rate_limit_exceeded", message="slow"), FailureKind.RATE_LIMITED),
        (failed(code="server_is_overloaded", message="busy"), FailureKind.OVERLOADED),
        ({"type": "response.failed"}, FailureKind.SERVER),
        ({"type": "error", "error": {"type": "usage_limit_reached"}}, FailureKind.QUOTA_EXHAUSTED),
    ],
)
def test_what_the_first_events_mean(event, told):
    judged = opening(json.dumps(event).encode())
    assert (judged.kind if isinstance(judged, Failure) else judged) is told


@pytest.mark.parametrize("data", [b"", b"[DONE]", b"{}", b"\xff", b"[" * 50_000])
def test_what_is_no_event_is_not_held_back(data):
    assert opening(data) is Opening.GO
