import base64
import json

import pytest

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent, Transient
from broker.oauth.messages import PAUSED, HttpRequest, HttpResponse, Pause
from broker.providers.base import Endpoints, Identity
from broker.providers.codeassist import identify
from tests.fakes.canned import run_canned

NOW = Now(1_750_000_000.0, 5.0)
API = "https://code.example.com"
ENDPOINTS = Endpoints(userinfo_url="https://idp.example.com/me", api_url=API + "/")
TOKENS = Tokens(Secret("fake-access"))


def ok(**body: object) -> HttpResponse:
    return HttpResponse(200, body=json.dumps(body).encode())


ME = ok(email="a@example.com", id="42")
FREE = {"id": "free-tier", "isDefault": True}
STANDARD = {"id": "standard-tier", "userDefinedCloudaicompanionProject": True}
ENABLED = ok(state="ENABLED")
DONE = ok(done=True, response={"cloudaicompanionProject": {"id": "made-by-google"}})


def run(answers: list[HttpResponse], project: str | None = None) -> tuple[list[HttpRequest], Identity]:
    return run_canned(identify(ENDPOINTS, TOKENS, NOW, project), [ME, *answers])


def fails(answers: list[HttpResponse], project: str | None = None) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        run(answers, project)
    return caught.value.failure


def test_an_account_that_is_set_up_needs_one_question() -> None:
    asked, found = run([ok(currentTier={"id": "standard-tier"}, cloudaicompanionProject="p-1")])
    assert [(request.method, request.url) for request in asked] == [
        ("GET", "https://idp.example.com/me"),
        ("POST", API + "/v1internal:loadCodeAssist"),
    ]
    assert all(request.bearer == TOKENS.access_token for request in asked)
    assert asked[1].json == {
        "metadata": {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
    }
    assert found == Identity(
        "a@example.com", "42", {"project_id": "p-1"}, ("Project p-1 was chosen by Google, tier standard-tier.",)
    )


def test_the_project_the_user_named_is_sent_and_used() -> None:
    asked, found = run([ok(currentTier={"id": "standard-tier"}, paidTier={"id": "g1-pro-tier"}), ENABLED], "mine")
    assert asked[1].json is not None
    assert asked[1].json["cloudaicompanionProject"] == "mine"
    assert found.facts == {"project_id": "mine"}
    assert found.notes == ("Project mine was chosen by you, tier g1-pro-tier.",)


def test_what_google_answers_counts_more_than_what_the_user_named() -> None:
    _, found = run([ok(currentTier={"id": "free-tier"}, cloudaicompanionProject={"id": "managed"})], "mine")
    assert found.facts == {"project_id": "managed"}


def test_the_free_tier_is_signed_up_for_without_a_project_even_if_one_was_named() -> None:
    asked, found = run([ok(allowedTiers=[STANDARD, FREE]), DONE], "mine")
    assert asked[2].url == API + "/v1internal:onboardUser"
    assert asked[2].json == {
        "tierId": "free-tier",
        "metadata": {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"},
    }
    assert found.facts == {"project_id": "made-by-google"}


def test_another_tier_takes_the_user_s_project_along() -> None:
    asked, found = run([ok(allowedTiers=[{**STANDARD, "isDefault": True}, 5]), ok(done=True), ENABLED], "mine")
    assert asked[2].json is not None
    assert asked[2].json["cloudaicompanionProject"] == "mine"
    assert found.facts == {"project_id": "mine"}


def test_without_a_default_tier_it_is_the_legacy_one() -> None:
    asked, _ = run([ok(allowedTiers=[STANDARD]), DONE], "mine")
    assert asked[2].json is not None
    assert asked[2].json["tierId"] == "legacy-tier"


def test_a_long_running_setup_is_polled_with_pauses() -> None:
    flow = identify(ENDPOINTS, TOKENS, NOW, None)
    next(flow)
    flow.send(ME)
    assert isinstance(flow.send(ok(allowedTiers=[FREE])), HttpRequest)
    assert flow.send(ok(name="operations/op-1")) == Pause(5.0)
    poll = flow.send(PAUSED)
    assert isinstance(poll, HttpRequest)
    assert (poll.method, poll.url) == ("GET", API + "/v1internal/operations/op-1")
    assert flow.send(ok(name="operations/op-1", done=False)) == Pause(5.0)
    flow.send(PAUSED)
    with pytest.raises(StopIteration) as done:
        flow.send(DONE)
    assert done.value.value.facts == {"project_id": "made-by-google"}


@pytest.mark.parametrize("name", [None, "", "../../evil", "/evil", "a?b"])
def test_an_operation_without_a_usable_name_is_asked_for_again(name: str | None) -> None:
    asked, _ = run([ok(allowedTiers=[FREE]), ok(name=name), DONE])
    assert asked[3].url == API + "/v1internal:onboardUser"


def test_a_setup_that_never_ends_is_given_up() -> None:
    found = fails([ok(allowedTiers=[FREE]), *[ok(name="operations/op-1")] * 25])
    assert isinstance(found, Permanent)
    assert "two minutes" in found.reason


def test_a_setup_that_fails_says_why() -> None:
    assert fails(
        [ok(allowedTiers=[FREE]), ok(done=True, error={"code": 9, "message": "Precondition Failed"})]
    ) == Permanent("onboarding_failed", "Google did not set up the account: Precondition Failed")
    assert "no reason given" in fails([ok(allowedTiers=[FREE]), ok(done=True, error={"code": 9})]).reason


def test_an_account_with_no_open_tier_is_told_why() -> None:
    closed = {
        "reasonCode": "UNSUPPORTED_CLIENT",
        "reasonMessage": "This client is no longer supported for individuals.",
        "tierName": "Gemini Code Assist for individuals",
    }
    found = fails([ok(ineligibleTiers=[closed])])
    assert isinstance(found, Permanent)
    assert found.reason == (
        "Google does not let this account use Code Assist. Gemini Code Assist for individuals is not open to this account: "
        "This client is no longer supported for individuals."
    )


def test_an_account_that_needs_verifying_is_told_where() -> None:
    found = fails(
        [
            ok(
                ineligibleTiers=[
                    {"reasonCode": "VALIDATION_REQUIRED", "validationUrl": "https://accounts.example.com/verify"}
                ]
            )
        ]
    )
    assert "Open https://accounts.example.com/verify to verify the account." in found.reason


def test_a_closed_tier_beside_an_open_one_is_a_note() -> None:
    _, found = run(
        [
            ok(
                currentTier={"id": "standard-tier"},
                cloudaicompanionProject="p",
                ineligibleTiers=[{"tierId": "free-tier"}, 5],
            )
        ]
    )
    assert found.notes[1:] == ("free-tier is not open to this account: no reason given.",)


def test_a_validation_link_that_is_not_https_is_not_shown() -> None:
    assert "javascript" not in fails([ok(ineligibleTiers=[{"validationUrl": "javascript:alert(1)"}])]).reason


@pytest.mark.parametrize(
    "last", [ok(done=True), ok(done=True, response={}), ok(done=True, response={"cloudaicompanionProject": 5})]
)
def test_a_tier_that_needs_a_project_asks_for_one(last: HttpResponse) -> None:
    found = fails([ok(allowedTiers=[{**STANDARD, "isDefault": True}]), last, ok()])
    assert isinstance(found, Misconfigured)
    assert "--project" in found.reason


def test_a_service_perimeter_means_the_standard_tier() -> None:
    hidden = HttpResponse(403, body=b'{"error":{"details":[{"reason":"SECURITY_POLICY_VIOLATED"}]}}')
    _, found = run([hidden, HttpResponse(403)], "mine")
    assert found.facts == {"project_id": "mine"}
    assert isinstance(fails([hidden, HttpResponse(403)]), Misconfigured)


def test_a_service_that_is_not_enabled_in_the_user_s_project_is_told_and_left_so() -> None:
    asked, found = run([ok(currentTier={"id": "standard-tier"}), ok(state="DISABLED")], "mine")
    assert (asked[2].method, asked[2].url) == (
        "GET",
        f"{API}/v1/projects/mine/services/cloudaicompanion.googleapis.com",
    )
    assert found.facts == {"project_id": "mine"}
    assert "gcloud services enable cloudaicompanion.googleapis.com --project mine" in found.notes[1]


@pytest.mark.parametrize(
    ("count", "told"), [(2, " Yours are p-0, p-1."), (12, "p-8, p-9 and 2 more."), (0, "--project PROJECT_ID.")]
)
def test_who_must_name_a_project_is_told_which_there_are(count: int, told: str) -> None:
    projects = [{"projectId": f"p-{number}", "lifecycleState": "ACTIVE"} for number in range(count)]
    failure = fails([ok(currentTier={"id": "standard-tier"}), ok(projects=projects)])
    assert isinstance(failure, Misconfigured)
    assert failure.reason.endswith(told)


def test_a_403_is_final_and_a_500_is_not() -> None:
    assert fails(
        [HttpResponse(403, body=b'{"error":{"status":"PERMISSION_DENIED","message":"no access"}}')]
    ) == Permanent("setup_refused", "the provider answered 403 (PERMISSION_DENIED: no access)")
    assert isinstance(fails([HttpResponse(500)]), Transient)
    assert isinstance(fails([HttpResponse(403), HttpResponse(200)][:1]), Permanent)


LINK = "https://accounts.example.com/verify"
HELP = {"links": [{"description": "Verify"}, "x", {"url": LINK}]}


@pytest.mark.parametrize(
    ("details", "link"),
    [
        ([{"reason": "VALIDATION_REQUIRED", "metadata": {"validation_link": LINK}}], LINK),
        ([HELP, {"reason": "VALIDATION_REQUIRED"}], LINK),
        (["x", {"reason": "VALIDATION_REQUIRED", "metadata": {"validation_link": "http://x.example/"}, **HELP}], LINK),
        ([{"reason": "VALIDATION_REQUIRED", "links": "x"}], None),
        ([{"reason": "SERVICE_DISABLED", **HELP}], None),
        ("x", None),
    ],
)
def test_where_the_account_is_to_be_verified_is_told(details: object, link: str | None) -> None:
    refusal = {"status": "PERMISSION_DENIED", "message": "Verify your account.", "details": details}
    told = fails([HttpResponse(403, body=json.dumps({"error": refusal}).encode())])
    assert isinstance(told, Permanent)
    assert told.reason.endswith(f". Open {link} to verify the account, and log in again") is (link is not None)
    assert "Open" in told.reason or link is None


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"[" * 200_000])
def test_an_answer_that_is_no_object_is_a_failure(body: bytes) -> None:
    with pytest.raises(FlowFailedError):
        run([HttpResponse(200, body=body)])


def test_the_email_comes_from_the_id_token_where_there_is_one() -> None:
    claims = base64.urlsafe_b64encode(b'{"email":"id@example.com","sub":"7"}').decode().rstrip("=")
    tokens = Tokens(Secret("fake-access"), id_token=Secret(f"f.{claims}.f"))
    answer = ok(currentTier={"id": "t"}, cloudaicompanionProject="p")
    asked, found = run_canned(identify(ENDPOINTS, tokens, NOW, None), [answer])
    assert len(asked) == 1
    assert (found.email, found.subject) == ("id@example.com", "7")


def test_userinfo_that_refuses_ends_the_flow() -> None:
    with pytest.raises(FlowFailedError):
        run_canned(identify(ENDPOINTS, TOKENS, NOW, None), [HttpResponse(401)])


def test_without_endpoints_there_is_nothing_to_ask() -> None:
    assert run_canned(identify(Endpoints(), TOKENS, NOW, None), [])[1] == Identity()


def test_without_an_access_token_there_is_nobody_to_ask_about() -> None:
    with pytest.raises(FlowFailedError):
        run_canned(identify(ENDPOINTS, Tokens(None), NOW, None), [])


def test_several_projects_are_each_set_up() -> None:
    loaded = {"currentTier": {"id": "standard-tier"}}
    asked, found = run([ok(**loaded), ENABLED, ok(**loaded), ENABLED, ok(**loaded), ENABLED], "p-1, p-2,p-1")
    loads = [request.json for request in asked[1:] if request.json]
    assert [load["cloudaicompanionProject"] for load in loads] == ["p-1", "p-2", "p-1"]
    assert found.facts == {"project_id": "p-1", "projects": "p-1,p-2"}
    assert len(found.notes) == 2
