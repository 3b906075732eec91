import json

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers import kiro_api
from broker.providers.base import Identity
from tests.fakes.canned import run_canned

URL = "https://codewhisperer.{region}.amazonaws.com"
PROFILE = "arn:aws:codewhisperer:eu-central-1:123456789012:profile/FAKE"
NOW = Now(1_777_636_800.0, 1.0)
TOKENS = Tokens(Secret("fake-access"), facts={"region": "us-east-1"})
RECORD = Record(AccountId("kiro", "x"), TOKENS, facts={"profile_arn": PROFILE})


def reply(body: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(body).encode())


def identified(*answers: HttpResponse, tokens: Tokens = TOKENS) -> tuple[list[HttpRequest], Identity]:
    return run_canned(kiro_api.identify(URL, tokens), list(answers))


def operations(asked: list[HttpRequest]) -> list[str]:
    return [each.headers["X-Amz-Target"].rpartition(".")[2] for each in asked]


def test_the_profile_is_looked_for_and_says_where_the_api_is() -> None:
    who = reply({"userInfo": {"email": "user@example.com", "userId": "d-1.u"}})
    asked, identity = identified(reply({"profiles": [{"profileArn": PROFILE}]}), who)
    assert operations(asked) == ["ListProfiles", "GetUsageLimits"]
    assert [each.url for each in asked] == [
        "https://codewhisperer.us-east-1.amazonaws.com",
        "https://codewhisperer.eu-central-1.amazonaws.com",
    ]
    assert asked[1].json == {
        "origin": "AI_EDITOR",
        "resourceType": "AGENTIC_REQUEST",
        "isEmailRequired": True,
        "profileArn": PROFILE,
    }
    assert all(each.headers["Content-Type"] == "application/x-amz-json-1.0" and each.bearer for each in asked)
    assert identity == Identity("user@example.com", "d-1.u", {"region": "us-east-1", "profile_arn": PROFILE})


def test_the_second_place_is_asked_where_the_first_has_none() -> None:
    odd = {"a": 1, "list": [5, {"arn": 7}, {"arn": "arn:aws:codewhisperer:us-east-1:1:customization/x"}]}
    asked, identity = identified(reply(odd), reply({"customizations": [{"arn": PROFILE}]}), reply({}))
    assert operations(asked) == ["ListProfiles", "ListAvailableCustomizations", "GetUsageLimits"]
    assert identity.facts["profile_arn"] == PROFILE


def test_a_builder_id_may_have_no_profile_and_nobody_may_tell_who_it_is() -> None:
    asked, identity = identified(reply({}), HttpResponse(400), HttpResponse(500))
    assert asked[-1].url == "https://codewhisperer.us-east-1.amazonaws.com"
    assert asked[-1].json is not None
    assert "profileArn" not in asked[-1].json
    assert (identity.email, identity.subject, identity.notes) == (
        None,
        None,
        ("Kiro did not tell whose login this is.",),
    )


def test_a_profile_that_came_with_the_grant_is_not_looked_for() -> None:
    tokens = Tokens(Secret("fake"), facts={"profile_arn": PROFILE})
    asked, identity = identified(reply({"userInfo": {"userId": "d-1.u"}}), tokens=tokens)
    assert operations(asked) == ["GetUsageLimits"]
    assert (identity.subject, identity.notes) == ("d-1.u", ())


def test_a_profile_that_is_none_is_not_sent() -> None:
    tokens = Tokens(Secret("fake"), facts={"profile_arn": "arn:aws:codewhisperer:evil.example/:1:profile/x"})
    [asked], _ = identified(reply({}), tokens=tokens)
    assert asked.url == "https://codewhisperer.us-east-1.amazonaws.com"


@pytest.mark.parametrize("body", [{"message": "User account TEMPORARILY_SUSPENDED"}, {"reason": "suspended"}])
def test_a_suspended_account_does_not_get_in(body: object) -> None:
    with pytest.raises(FlowFailedError) as caught:
        identified(reply({}), reply({}), reply(body, 403))
    assert isinstance(caught.value.failure, Permanent)


def test_limits() -> None:
    body = {
        "subscriptionInfo": {"subscriptionTitle": "KIRO PRO"},
        "nextDateReset": 1_780_272_000,
        "usageBreakdownList": [
            {"displayName": "Credits", "currentUsage": 1, "currentUsageWithPrecision": 1.5, "usageLimit": 6},
            {"resourceType": "VIBE", "currentUsage": 9, "usageLimit": 6, "nextDateReset": 1_780_358_400},
            {"usageLimit": 6},
            "no",
        ],
    }
    _, quota = run_canned(kiro_api.quota(URL, RECORD, NOW), [reply(body)])
    assert quota.plan == "KIRO PRO"
    assert [(w.name, w.used, w.resets_at, w.note) for w in quota.windows] == [
        ("Credits", 0.25, 1_780_272_000.0, "1.5 of 6 used"),
        ("VIBE", 1.0, 1_780_358_400.0, "9 of 6 used"),
        ("usage", None, 1_780_272_000.0, None),
    ]
    assert quota.notes == ()


@pytest.mark.parametrize("body", [{}, [], {"usageBreakdownList": {}, "subscriptionInfo": 5}])
def test_limits_that_cannot_be_read_are_a_note(body: object) -> None:
    _, quota = run_canned(kiro_api.quota(URL, RECORD, NOW), [reply(body)])
    assert (quota.plan, quota.windows) == (None, ())
    assert quota.notes


def test_limits_that_are_refused_are_told() -> None:
    with pytest.raises(FlowFailedError):
        run_canned(kiro_api.quota(URL, RECORD, NOW), [HttpResponse(403)])
