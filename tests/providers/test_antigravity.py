import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import Failure, FlowFailedError, Permanent, Transient
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers.antigravity import CLIENT_ID, DEFAULTS, Antigravity
from broker.providers.base import Client, Endpoints, Identity, LoginFlow, SecretSource, SourceKind
from broker.providers.google import KEY_PREFIX, READING
from broker.providers.naming import new_record
from tests.fakes.canned import run_canned

AGY = Antigravity(DEFAULTS, READING)
T = 1_777_626_000.0  # 2026-05-01T09:00:00Z
NOW = Now(T, 1.0)
TOKENS = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=T + 3599, last_refresh=T)
CLIENT = Client(CLIENT_ID, Secret("fake-key"))
KEY = KEY_PREFIX + "k" * 28
ME = HttpResponse(200, body=b'{"email":"a@example.com","id":"42"}')
PROD, DAILY = "https://cloudcode-pa.googleapis.com", "https://daily-cloudcode-pa.googleapis.com"


def ok(**body: object) -> HttpResponse:
    return HttpResponse(200, body=json.dumps(body).encode())


def identified(answers: list[HttpResponse], project: str | None = None) -> tuple[list[HttpRequest], Identity]:
    return run_canned(AGY.identify(TOKENS, NOW, project), [ME, *answers])


def fails(answers: list[HttpResponse]) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        identified(answers)
    return caught.value.failure


def test_what_it_is() -> None:
    assert (AGY.name, AGY.client_id, AGY.flows) == ("antigravity", CLIENT_ID, (LoginFlow.CODE,))
    assert (AGY.redirect.host, AGY.redirect.port, AGY.redirect.path) == ("localhost", 51121, "/oauth-callback")
    assert AGY.needs_secret
    assert AGY.google
    assert AGY.policy.forgives_repeat
    assert AGY.headers == {"User-Agent": "antigravity/hub/2.9.1 darwin/arm64"}
    assert len(AGY.scopes) == 5
    assert AGY.claims({"type": "antigravity"})
    assert not AGY.claims({"type": "gemini"})


# --- the file ---


def test_the_end_of_a_token_is_told_twice() -> None:
    told = {
        "type": "antigravity",
        "access_token": "fake-a",
        "refresh_token": "fake-r",
        "timestamp": T * 1000,
        "expires_in": 3599,
    }
    record = AGY.read(told, "x.json")
    assert (record.tokens.expires_at, record.tokens.last_refresh) == (T + 3599, T)
    both = AGY.read({**told, "expired": "2026-05-01T09:30:00Z"}, "x.json")
    assert both.tokens.expires_at == T + 1800


@pytest.mark.parametrize(
    "half", [{"timestamp": T * 1000}, {"expires_in": 3599}, {"timestamp": "soon", "expires_in": 5}]
)
def test_half_of_it_is_not_enough(half: dict[str, object]) -> None:
    record = AGY.read({"access_token": "fake-a", "refresh_token": "fake-r", **half}, "x.json")
    assert record.tokens.expires_at == 0  # not known: renewed at once, which teaches it


def test_a_renewal_moves_all_three_together() -> None:
    before = {
        "access_token": "a",
        "refresh_token": "r",
        "expired": "2026-05-01T01:00:00+02:00",
        "expires_in": 10,
        "timestamp": 1_000_000_000_000,
    }
    after = AGY.write(before, TOKENS, Now(T + 100, 2.0))
    assert list(after) == list(before)
    assert (after["expired"], after["expires_in"], after["timestamp"]) == (
        "2026-05-01T11:59:59+02:00",
        3599,
        int(T * 1000),
    )
    assert AGY.write(after, TOKENS, Now(T + 200, 3.0)) == after


def test_the_time_of_writing_counts_where_the_grant_does_not_know_its_own() -> None:
    after = AGY.write({"access_token": "a", "timestamp": None}, replace(TOKENS, last_refresh=None), NOW)
    assert after["timestamp"] == int(T * 1000)


@pytest.mark.parametrize("name", ["antigravity-user@example.com.json", "antigravity-user_example_com.json"])
def test_both_names_hold_the_same_account(name: str) -> None:
    document = {"type": "antigravity", "access_token": "fake-a", "email": "user@example.com"}
    assert AGY.read(document, name).account == AccountId("antigravity", "user@example.com")


def test_a_new_file_is_cliproxyapi_s() -> None:
    identity = Identity("user@example.com", facts={"project_id": "p-1"})
    name, document = AGY.create(new_record("antigravity", TOKENS, identity, None), CLIENT, NOW)
    assert name == "antigravity-user@example.com.json"
    assert document == {
        "access_token": "fake-access",
        "disabled": False,
        "email": "user@example.com",
        "expired": "2026-05-01T09:59:59Z",
        "expires_in": 3599,
        "project_id": "p-1",
        "refresh_token": "fake-refresh",
        "timestamp": int(T * 1000),
        "type": "antigravity",
    }
    assert list(document) == sorted(document)


def test_a_new_file_of_nobody() -> None:
    endless = replace(TOKENS, expires_at=None)
    name, document = AGY.create(Record(AccountId("antigravity", "..."), endless), CLIENT, NOW)
    assert name == "antigravity.json"
    assert document["label"] == "..."
    assert "timestamp" not in document
    assert "email" not in document
    named, _ = AGY.create(Record(AccountId("antigravity", "work"), TOKENS), CLIENT, NOW)
    assert named == "antigravity-work.json"


# --- who it is, and which project ---


def test_an_account_that_is_set_up_needs_one_question() -> None:
    asked, found = identified([ok(cloudaicompanionProject={"id": "p-1"})])
    assert [request.url for request in asked[1:]] == [PROD + "/v1internal:loadCodeAssist"]
    assert asked[1].json == {"metadata": {"ideType": "ANTIGRAVITY"}}
    assert all(request.headers["User-Agent"] == "antigravity/hub/2.9.1 darwin/arm64" for request in asked)
    assert found == Identity("a@example.com", "42", {"project_id": "p-1"}, ("Project p-1 was chosen by Google.",))


@pytest.mark.parametrize("key", ["cloudaicompanionProject", "projectId", "project"])
def test_the_project_has_several_names(key: str) -> None:
    assert identified([ok(**{key: "p-2"})])[1].facts == {"project_id": "p-2"}


@pytest.mark.parametrize(
    ("loaded", "tier"),
    [
        ({"allowedTiers": [{"id": "x"}, 7, {"id": "pro", "isDefault": True}], "currentTier": {"id": "now"}}, "pro"),
        ({"currentTier": {"id": "now"}}, "now"),
        ({}, "free-tier"),
    ],
)
def test_an_account_without_a_project_is_signed_up_on_the_daily_host(loaded: dict[str, object], tier: str) -> None:
    done = ok(done=True, response={"cloudaicompanionProject": "made"})
    asked, found = identified([ok(**loaded), ok(done=False), done])
    assert [request.url for request in asked[2:]] == [DAILY + "/v1internal:onboardUser"] * 2
    assert asked[2].json == {
        "tier_id": tier,
        "metadata": {"ide_type": "ANTIGRAVITY", "ide_version": "2.9.1", "ide_name": "antigravity"},
    }
    assert found.facts == {"project_id": "made"}


def test_the_version_is_that_of_the_user_agent() -> None:
    newer = replace(AGY, setup=replace(DEFAULTS, user_agent="antigravity/3.0.1 linux/amd64"))
    asked, _ = run_canned(newer.identify(TOKENS, NOW), [ME, ok(), ok(done=True)])
    assert "'ide_version': '3.0.1'" in str(asked[2].json)
    other = replace(AGY, setup=replace(DEFAULTS, user_agent=None))
    asked, _ = run_canned(other.identify(TOKENS, NOW), [ME, ok(), ok(done=True)])
    assert "'ide_version': '2.9.1'" in str(asked[2].json)


def test_google_may_take_its_time_but_not_for_ever() -> None:
    _, found = identified([ok(), *[ok(done=False)] * 5], "mine")
    assert found.facts == {"project_id": "mine"}
    assert found.notes == ("Project mine was chosen by you.",)


def test_without_a_project_the_person_is_told() -> None:
    _, found = identified([ok(), ok(done=True)])
    assert found.facts == {}
    assert "--project" in found.notes[0]


def test_a_project_the_person_named_is_sent_along() -> None:
    asked, found = identified([ok(project="p-1")], "mine")
    assert asked[1].json is not None
    assert asked[1].json["cloudaicompanionProject"] == "mine"
    assert found.facts == {"project_id": "p-1"}


def test_an_account_that_may_not_is_told_why() -> None:
    closed = [{"tierId": "free-tier", "reasonMessage": "Your age is not known."}]
    failure = fails([ok(ineligibleTiers=closed)])
    assert isinstance(failure, Permanent)
    assert "use Antigravity" in failure.reason
    assert "Your age is not known" in failure.reason


def test_refusals_are_sorted() -> None:
    assert isinstance(fails([HttpResponse(500)]), Transient)
    with pytest.raises(FlowFailedError):
        run_canned(AGY.identify(Tokens(None), NOW), [])


def test_without_an_api_only_the_person_is_asked() -> None:
    bare = replace(AGY, setup=replace(DEFAULTS, endpoints=Endpoints(userinfo_url="https://me.example.com")))
    _, found = run_canned(bare.identify(TOKENS, NOW, "mine"), [ME])
    assert found == Identity("a@example.com", "42", {"project_id": "mine"})
    assert run_canned(bare.identify(TOKENS, NOW), [ME])[1].facts == {}
    assert bare.quota(Record(AccountId("antigravity", "a"), TOKENS), NOW) is None


def test_limits_are_asked_for_on_the_daily_host_and_elsewhere_where_the_config_says() -> None:
    record = Record(AccountId("antigravity", "a"), TOKENS, facts={"project_id": "p-1"})
    for base, host in ((PROD + "/", DAILY), ("https://own.example.com/base", "https://own.example.com/base")):
        provider = replace(AGY, setup=replace(DEFAULTS, endpoints=Endpoints(api_url=base)))
        flow = provider.quota(record, NOW)
        assert flow is not None
        [asked], _ = run_canned(flow, [ok()])
        assert (asked.url, asked.json) == (host + "/v1internal:fetchAvailableModels", {"project": "p-1"})


# --- the client secret ---


def test_where_the_secret_is_looked_for() -> None:
    sources = AGY.secret_sources
    assert [source.kind for source in sources] == [
        *[SourceKind.GLOB] * 2, *[SourceKind.ENV] * 2, SourceKind.GLOB, *[SourceKind.BINARY] * 4,
    ]  # fmt: skip
    assert sources[-1].anchors == (CLIENT_ID, KEY_PREFIX)
    own = replace(AGY, setup=replace(DEFAULTS, client_id="mine", own_client=False))
    assert SourceKind.ENV not in {source.kind for source in own.secret_sources}


def test_the_secret_is_found_in_each_kind_of_source() -> None:
    env, glob, binary = (SecretSource(kind, "") for kind in (SourceKind.ENV, SourceKind.GLOB, SourceKind.BINARY))
    assert AGY.find_secret(env, " fake-key\n") == Secret("fake-key")
    assert AGY.find_secret(env, " ") is None
    assert AGY.find_secret(glob, f"clientId: '{CLIENT_ID}', clientSecret: '{KEY}'") == Secret(KEY)
    assert AGY.find_secret(binary, f"\0{CLIENT_ID}\0{KEY}\0") == Secret(KEY)


def test_the_code_can_be_pasted_from_a_page() -> None:
    assert AGY.for_login({}, Secret("s" * 43)).redirect == DEFAULTS.redirect
    login = AGY.for_login({"paste": "true"}, Secret("s" * 43))
    assert (login.redirect.manual_uri, login.redirect.loopback) == ("https://antigravity.google/oauth-callback", False)
    assert set(AGY.options) == {"paste"}
