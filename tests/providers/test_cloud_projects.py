import json

import pytest

from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Transient
from broker.oauth.messages import Flow, HttpRequest, HttpResponse
from broker.providers.cloud_projects import enabled, listed
from tests.fakes.canned import run_canned

GOOGLE = "https://cloudcode-pa.googleapis.com"
OWN = "http://127.0.0.1:9/base/"
BEARER = Secret("fake-access")


def ok(**body: object) -> HttpResponse:
    return HttpResponse(200, body=json.dumps(body).encode())


def projects(answer: HttpResponse) -> tuple[str, ...]:
    return run_canned(listed(GOOGLE, BEARER), [answer])[1]


def state(answer: HttpResponse) -> bool | None:
    return run_canned(enabled(GOOGLE, "p", BEARER), [answer])[1]


def test_the_questions_go_to_google_s_own_apis() -> None:
    for flow, url in (
        (listed(GOOGLE, BEARER), "https://cloudresourcemanager.googleapis.com/v1/projects"),
        (
            enabled(GOOGLE + "/", "a:b/c", BEARER),
            "https://serviceusage.googleapis.com/v1/projects/a%3Ab%2Fc/services/cloudaicompanion.googleapis.com",
        ),
    ):
        [asked], _ = run_canned(flow, [ok()])
        assert (asked.method, asked.url, asked.bearer, asked.json) == ("GET", url, BEARER, None)


def test_where_the_api_is_elsewhere_so_are_they() -> None:
    for flow, path in (
        (listed(OWN, BEARER), "/v1/projects"),
        (enabled(OWN, "p", BEARER), "/v1/projects/p/services/cloudaicompanion.googleapis.com"),
    ):
        [asked], _ = run_canned(flow, [ok()])
        assert asked.url == "http://127.0.0.1:9/base" + path


def test_projects_that_can_be_used_are_listed() -> None:
    told = [
        {"projectId": "a", "lifecycleState": "ACTIVE"},
        {"projectId": "gone", "lifecycleState": "DELETE_REQUESTED"},
        {"projectId": "b"},
        {"projectId": "two\nlines"},
        {"projectId": 5},
        {},
        "x",
    ]
    assert projects(ok(projects=told)) == ("a", "b")


@pytest.mark.parametrize(
    "answer",
    [HttpResponse(403), HttpResponse(200, body=b"<"), ok(), ok(projects={"projectId": "a"}), HttpResponse(500)],
)
def test_what_google_does_not_tell_is_no_fault(answer: HttpResponse) -> None:
    assert projects(answer) == ()
    assert state(answer) is None


@pytest.mark.parametrize(
    ("said", "found"), [("ENABLED", True), ("DISABLED", False), ("STATE_UNSPECIFIED", None), (5, None), ([], None)]
)
def test_a_service_is_enabled_or_not_or_it_is_not_known(said: object, found: bool | None) -> None:
    assert state(ok(state=said)) is found


def test_a_network_that_is_away_is_no_fault_either() -> None:
    flow: Flow[tuple[str, ...]] = listed(GOOGLE, BEARER)
    assert isinstance(next(flow), HttpRequest)
    with pytest.raises(StopIteration) as done:
        flow.throw(FlowFailedError(Transient("away")))
    assert done.value.value == ()
