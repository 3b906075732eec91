"""Errors in Google's shape."""

import pytest

from broker.sandbox import rpc


def test_bodies():
    assert rpc.RpcError(404, "gone").body() == {"error": {"code": 404, "message": "gone", "status": "NOT_FOUND"}}
    assert rpc.RpcError(418, "x").status == "UNKNOWN"
    assert rpc.RpcError(400, "x", status="FAILED_PRECONDITION").body()["error"]["status"] == "FAILED_PRECONDITION"
    assert rpc.invalid("x").code == 400


@pytest.mark.parametrize(("reason", "quota"), [("QUOTA_EXHAUSTED", "PerDay"), ("RATE_LIMIT_EXCEEDED", "PerMinute")])
def test_rate_limits(reason, quota):
    details = rpc.rate_limited(1.5, reason, None).body()["error"]["details"]
    assert details[0]["reason"] == reason
    assert details[1]["retryDelay"] == "1.5s"
    assert quota in details[2]["violations"][0]["quotaId"]


@pytest.mark.parametrize(
    ("status", "name"), [(401, "UNAUTHENTICATED"), (429, "RESOURCE_EXHAUSTED"), (500, "INTERNAL"), (503, "UNAVAILABLE")]
)
def test_told_to_fail(status, name):
    assert rpc.told_to_fail(status, "m").status == name
