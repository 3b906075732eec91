"""Tiers, projects, services and quotas."""

import pytest

from broker.sandbox.companions import FREE_TIER, STANDARD_TIER, Companions
from broker.sandbox.rpc import RpcError
from broker.sandbox.settings import SandboxSettings

ANN, BOB = "ann@example.com", "bob@example.com"
PRO = "gemini-2.5-pro"


def make(**settings: object) -> Companions:
    return Companions(SandboxSettings(**settings))


def refused(code: int, status: str | None = None):
    return pytest.raises(RpcError, check=lambda e: e.code == code and status in {None, e.status})


def test_onboarding_to_the_free_tier():
    state = make()
    assert "currentTier" not in state.load(ANN, None)
    first = state.onboard(ANN, FREE_TIER, None)
    assert first["done"] is False
    assert "currentTier" not in state.load(ANN, None)
    with refused(404):
        state.operation(BOB, first["name"])
    done = state.onboard(ANN, FREE_TIER, None)
    assert done == state.operation(ANN, first["name"])
    assert done["response"]["cloudaicompanionProject"]["id"] == state.managed_project(ANN)
    loaded = state.load(ANN, None)
    assert (loaded["currentTier"], loaded["cloudaicompanionProject"]) == ({"id": FREE_TIER}, state.managed_project(ANN))
    assert state.load(ANN, state.own_project(ANN))["cloudaicompanionProject"] == state.own_project(ANN)
    with refused(403):
        state.load(ANN, state.own_project(BOB))


def test_onboarding_to_the_standard_tier():
    state = make()
    own = state.own_project(ANN)
    state.onboard(ANN, STANDARD_TIER, own)
    assert state.onboard(ANN, STANDARD_TIER, own)["response"]["cloudaicompanionProject"]["id"] == own
    assert state.load(ANN, None)["cloudaicompanionProject"] == own


@pytest.mark.parametrize(
    ("tier", "project", "code", "status"),
    [
        (FREE_TIER, "any", 400, "FAILED_PRECONDITION"),
        (STANDARD_TIER, None, 400, "FAILED_PRECONDITION"),
        (STANDARD_TIER, "somebody-elses", 403, "PERMISSION_DENIED"),
        ("gold", None, 400, "INVALID_ARGUMENT"),
    ],
)
def test_onboarding_refused(tier, project, code, status):
    with refused(code, status):
        make().onboard(ANN, tier, project)


def test_ineligible_users():
    state = make(ineligible_users=(ANN,))
    loaded = state.load(ANN, None)
    assert loaded["allowedTiers"] == []
    assert loaded["ineligibleTiers"][0]["reasonMessage"]
    with refused(403):
        state.onboard(ANN, FREE_TIER, None)
    assert state.load(BOB, None)["allowedTiers"]


def test_who_may_generate():
    state = make(onboarded=True, service_enabled=False)
    state.admit(ANN, state.managed_project(ANN), PRO)
    with refused(400):
        state.admit(ANN, None, PRO)
    with refused(403):
        state.admit(ANN, state.managed_project(BOB), PRO)
    own = state.own_project(ANN)
    with refused(403):
        state.admit(ANN, own, PRO)
    assert state.service(ANN, own)["state"] == "DISABLED"
    assert state.enable(ANN, own)["response"]["service"]["state"] == "ENABLED"
    assert state.service(ANN, own)["state"] == "ENABLED"
    state.admit(ANN, own, PRO)
    for call in (state.service, state.enable):
        with refused(403):
            call(BOB, own)
    with refused(403):
        make().admit(ANN, state.managed_project(ANN), PRO)


def test_projects_list_shows_the_users_own():
    state = make()
    assert [p["projectId"] for p in state.projects(ANN)["projects"]] == [state.own_project(ANN)]
    assert state.own_project(ANN) != state.own_project(BOB)


def test_quota_is_per_user_and_model_and_refusals_are_not_counted():
    state = make(onboarded=True, quota_requests=2)
    for _ in range(2):
        state.count(ANN, PRO)
    for _ in range(2):
        with refused(429):
            state.count(ANN, PRO)
    state.count(BOB, PRO)
    state.count(ANN, "gemini-2.5-flash")
    buckets = {b["modelId"]: b for b in state.quota(ANN, "2026-01-01T00:00:00Z")["buckets"]}
    assert (buckets[PRO]["remainingFraction"], buckets[PRO]["remainingAmount"]) == (0.0, "0")
    assert buckets["gemini-2.5-flash"]["remainingFraction"] == 0.5
    assert make(quota_requests=0).quota(ANN, "t")["buckets"][0]["remainingFraction"] == 0
    free = make().quota(ANN, "t")["buckets"][0]
    assert free["remainingFraction"] == 1
    assert "remainingAmount" not in free
