"""Code Assist's messages are read strictly."""

import pytest

from broker.sandbox import code_assist
from broker.sandbox.companions import Companions
from broker.sandbox.rpc import RpcError
from broker.sandbox.settings import SandboxSettings

CONTENTS = [{"parts": [{"text": "a b"}]}]


def setup(method: str, body: object) -> dict:
    return code_assist.setup(Companions(SandboxSettings()), "ann@example.com", method, body, "2026-01-01T00:00:00Z")


def test_envelopes():
    body = {
        "model": "m",
        "project": "p",
        "user_prompt_id": "u",
        "enabled_credit_types": ["x"],
        "request": {"contents": []},
    }
    assert code_assist.open_envelope(body) == code_assist.Enveloped("m", "p", {"contents": []})
    assert code_assist.open_envelope({"model": "m", "request": {}}).project is None
    for bad in ({"request": {}}, {"model": "m"}, body | {"surplus": 1}, [], "x"):
        with pytest.raises(RpcError, check=lambda e: e.code == 400):
            code_assist.open_envelope(bad)


def test_setup_calls_reach_the_companions():
    assert setup("loadCodeAssist", {"metadata": {"pluginType": "GEMINI"}})["allowedTiers"]
    assert setup("onboardUser", {"tierId": "free-tier", "metadata": {}})["done"] is False
    assert setup("retrieveUserQuota", {"project": "p"})["buckets"][0]["resetTime"] == "2026-01-01T00:00:00Z"
    assert setup("countTokens", {"request": {"model": "models/m", "contents": CONTENTS}}) == {"totalTokens": 2}
    with pytest.raises(RpcError, check=lambda e: e.code == 404):
        setup("selfDestruct", {})


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("loadCodeAssist", {"cloudaicompanionProject": 3}),
        ("onboardUser", {}),
        ("retrieveUserQuota", {"surplus": 1}),
        ("countTokens", {"model": "m", "request": {"contents": CONTENTS}}),
        ("countTokens", {"request": {"contents": []}}),
    ],
)
def test_malformed_setup_calls(method, body):
    with pytest.raises(RpcError, check=lambda e: e.code == 400):
        setup(method, body)
