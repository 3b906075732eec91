import json

import pytest

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, RateLimited
from broker.oauth.messages import HttpResponse
from broker.providers.base import Quota, QuotaWindow
from broker.providers.codeassist_quota import by_bucket, by_model
from tests.fakes.canned import run_canned

NOW = Now(1_777_626_000.0, 1.0)
BASE = "https://code.example.com/v1internal"
TOKEN = Secret("fake-access")


def ok(body: object) -> HttpResponse:
    return HttpResponse(200, body=json.dumps(body).encode())


def buckets(*found: object) -> Quota:
    return run_canned(by_bucket(BASE, TOKEN, "p", NOW), [ok({"buckets": list(found)})])[1]


def test_a_bucket_is_a_window() -> None:
    told = {
        "modelId": "gemini-3-pro-preview-for-testing", "tokenType": "REQUESTS", "remainingFraction": 0.25, "remainingAmount": "25",
        "resetTime": "2026-05-01T12:00:00Z",
    }  # fmt: skip
    assert buckets(told) == Quota(
        windows=(QuotaWindow("gemini-3-pro-preview-for-testing", 0.75, 1_777_636_800.0, "25 requests left"),)
    )


@pytest.mark.parametrize("left", [None, True, "half", float("inf")])
def test_a_fraction_that_is_none_is_not_known(left: object) -> None:
    [window] = buckets({"modelId": "m", "remainingFraction": None if left == float("inf") else left}).windows
    assert window == QuotaWindow("m")


@pytest.mark.parametrize(("left", "used"), [(1.5, 0.0), (-1, 1.0), (0, 1.0), (1, 0.0)])
def test_a_fraction_stays_a_fraction(left: float, used: float) -> None:
    assert buckets({"modelId": "m", "remainingFraction": left}).windows[0].used == used


def test_an_amount_without_a_kind_and_names_that_cannot_be_shown() -> None:
    [window] = buckets({"modelId": "m\x07\n" + "x" * 100, "remainingAmount": "3"}).windows
    assert window.note == "3 left"
    assert window.name == "m" + "x" * 79


@pytest.mark.parametrize("body", [{}, [], {"buckets": 5}, {"buckets": [7, {"modelId": ""}]}, {"models": {"a": 1}}])
def test_what_cannot_be_read_is_a_note(body: object) -> None:
    for ask in (by_bucket, by_model):
        _, told = run_canned(ask(BASE, TOKEN, None, NOW), [ok(body)])
        assert told.windows == ()
        assert "could be read" in told.notes[0]


def test_models_are_windows() -> None:
    models = {
        "a": {"displayName": "Model A", "quotaInfo": {"remainingFraction": 0.5, "resetTime": "2026-05-01T12:00:00Z"}},
        "b": {"quotaInfo": {"resetTime": "soon"}},
        "c": {"displayName": "no limit"},
        "d": [],
    }
    [asked], told = run_canned(by_model(BASE, TOKEN, None, NOW), [ok({"models": models})])
    assert (asked.url, asked.json, asked.bearer) == (BASE + ":fetchAvailableModels", {}, TOKEN)
    assert told == Quota(windows=(QuotaWindow("Model A", 0.5, 1_777_636_800.0), QuotaWindow("b")))


def test_a_refusal_is_sorted_and_no_token_is_told() -> None:
    for ask in (by_bucket, by_model):
        with pytest.raises(FlowFailedError) as caught:
            run_canned(ask(BASE, TOKEN, "p", NOW), [HttpResponse(429, {"retry-after": "7"})])
        assert isinstance(caught.value.failure, RateLimited)
        assert run_canned(ask(BASE, None, "p", NOW), [])[1].notes
