import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import (
    AnswerLost,
    Failure,
    FlowFailedError,
    Misconfigured,
    Permanent,
    RateLimited,
    Transient,
)
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers.base import Authorization, Client, Endpoints, FormatError, LoginFlow
from broker.providers.iflow import DEFAULTS, IFlow
from tests.fakes.canned import run_canned

IFLOW = IFlow(DEFAULTS)
CLIENT = Client(DEFAULTS.client_id, Secret("fake-client-key"))
T = 1_777_636_800.0
NOW = Now(T, 1.0)
TOKENS = Tokens(Secret("fake-key-1"), Secret("fake-refresh-1"), Secret("fake-access-1"), expires_at=T + 60)
RECORD = Record(AccountId("iflow", "work"), TOKENS)
AUTHORIZATION = Authorization("u", "http://localhost:11451/oauth2callback", Secret("s"), Secret("v" * 43))
COOKIE = {"type": "iflow", "api_key": "fake-key", "access_token": "", "refresh_token": "", "cookie": "BXAuth=fake;"}


def answer(status: int = 200, **body: object) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, json.dumps(body).encode())


GRANT = answer(access_token="fake-access-2", refresh_token="fake-refresh-2", expires_in=3600)
ACCOUNT = answer(success=True, data={"apiKey": "fake-key-2", "email": "a@example.com", "phone": "138"})


def failure(flow: Callable[[], object]) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        flow()
    return caught.value.failure


def renewed(*said: HttpResponse, old: Tokens = TOKENS) -> tuple[list[HttpRequest], Tokens]:
    return run_canned(IFLOW.refresh(replace(RECORD, tokens=old), CLIENT, NOW), list(said))


def exchanged(*said: HttpResponse) -> Tokens:
    return run_canned(IFLOW.exchange(AUTHORIZATION, Secret("fake-code"), CLIENT, NOW), list(said))[1]


def test_what_it_is() -> None:
    assert IFLOW.flows == (LoginFlow.CODE,)
    assert IFLOW.needs_secret
    assert IFLOW.secret_sources == ()
    assert (IFLOW.redirect.port, IFLOW.redirect.path) == (11451, "/oauth2callback")
    assert IFLOW.policy.lead_seconds > 86_400, "before CLIProxyAPI"
    assert IFLOW.notice


def test_the_page_gets_iflow_s_own_parameters() -> None:
    url = IFLOW.authorization_url(CLIENT, AUTHORIZATION.redirect_uri, Secret("fake-state"), Secret("v" * 43))
    assert url == (
        "https://iflow.cn/oauth?loginMethod=phone&type=phone"
        "&redirect=http%3A%2F%2Flocalhost%3A11451%2Foauth2callback&state=fake-state&client_id=10009311001"
    )
    bare = IFlow(replace(DEFAULTS, endpoints=Endpoints()))
    assert bare.authorization_url(CLIENT, "r", Secret("s"), Secret("v")).startswith("?loginMethod=")


# --- the file ---


def test_the_key_is_what_is_served_and_the_account_s_token_stays_beside_it() -> None:
    document: dict[str, object] = {
        "access_token": "fake-access-1", "refresh_token": "fake-refresh-1", "expired": "2026-05-01T12:00:05Z",
        "api_key": "fake-key-1", "email": "a@example.com", "scope": "a b", "token_type": "bearer", "type": "iflow",
    }  # fmt: skip
    record = IFLOW.read(document, "iflow-x.json")
    assert (record.account.label, record.email) == ("a@example.com", "a@example.com")
    assert record.tokens.access_token == Secret("fake-key-1")
    assert record.tokens.id_token == Secret("fake-access-1")
    assert (record.tokens.refresh_token, record.tokens.expires_at) == (Secret("fake-refresh-1"), T + 5)
    after = IFLOW.write(document, replace(TOKENS, id_token=None), NOW)
    assert (after["api_key"], after["access_token"]) == ("fake-key-1", "fake-access-1")


@pytest.mark.parametrize(
    ("ends", "seconds"),
    [
        ({"expired": "2026-05-08 10:00"}, 1_778_234_400.0),
        ({"expireTime": "2026-05-08 10:00"}, 1_778_234_400.0),
        ({"expired": "2026-05-08 10:00", "expireTime": "2030-01-01 10:00"}, 1_778_234_400.0),
        ({}, None),
    ],
)
def test_a_file_of_a_cookie_login_is_a_key_that_ends_and_is_not_renewed(
    ends: dict[str, object], seconds: float | None
) -> None:
    record = IFLOW.read({**COOKIE, **ends}, "iflow-me.json")
    assert record.account.label == "iflow-me"
    assert record.tokens.access_token == Secret("fake-key")
    assert (record.tokens.refresh_token, record.tokens.expires_at) == (None, seconds)
    told = failure(lambda: run_canned(IFLOW.refresh(record, CLIENT, NOW), []))
    assert isinstance(told, Permanent)
    assert "cookie" in told.reason


def test_a_file_with_neither_key_nor_refresh_token_is_refused() -> None:
    with pytest.raises(FormatError):
        IFLOW.read({"type": "iflow", "access_token": "fake"}, "x.json")
    assert IFLOW.read({"type": "iflow", "refresh_token": "fake"}, "x.json").tokens.access_token is None


def test_the_base_url_is_the_file_s_or_the_usual() -> None:
    assert IFLOW.facts({"base_url": "https://mine.example"}) == {"base_url": "https://mine.example"}
    assert IFLOW.facts({}) == {"base_url": "https://apis.iflow.cn/v1"}
    assert IFlow(replace(DEFAULTS, endpoints=Endpoints())).facts({}) == {}


def test_a_new_file_is_cliproxyapi_s() -> None:
    name, document = IFLOW.create(RECORD, CLIENT, NOW)
    assert name == f"iflow-work-{int(T)}.json"
    assert list(document) == [
        "access_token", "refresh_token", "last_refresh", "expired", "api_key", "email", "token_type", "scope", "type", "disabled",
    ]  # fmt: skip
    assert (document["access_token"], document["api_key"]) == ("fake-access-1", "fake-key-1")
    _, document = IFLOW.create(replace(RECORD, tokens=replace(TOKENS, expires_at=None)), CLIENT, NOW)
    assert "expired" not in document


# --- logging in ---


def test_a_login_proves_the_client_twice_and_asks_for_the_key() -> None:
    flow = IFLOW.exchange(AUTHORIZATION, Secret("fake-code"), CLIENT, NOW)
    [token, account], tokens = run_canned(flow, [GRANT, ACCOUNT])
    assert token.basic == (CLIENT.id, CLIENT.secret)
    assert token.form == {
        "grant_type": "authorization_code",
        "code": Secret("fake-code"),
        "redirect_uri": AUTHORIZATION.redirect_uri,
        "client_id": CLIENT.id,
        "client_secret": CLIENT.secret,
    }
    assert (account.method, account.query) == ("GET", {"accessToken": Secret("fake-access-2")})
    assert (tokens.access_token, tokens.id_token) == (Secret("fake-key-2"), Secret("fake-access-2"))
    _, identity = run_canned(IFLOW.identify(tokens, NOW), [])
    assert (identity.email, identity.facts) == ("a@example.com", {"base_url": "https://apis.iflow.cn/v1"})


@pytest.mark.parametrize(
    ("data", "email"),
    [({"apiKey": "fake", "phone": "138"}, "138"), ({"apiKey": "fake"}, None), ({"apiKey": "fake", "email": ""}, None)],
)
def test_who_it_is_as_far_as_iflow_says(data: dict[str, object], email: str | None) -> None:
    tokens = exchanged(GRANT, answer(success=True, data=data))
    assert run_canned(IFLOW.identify(tokens, NOW), [])[1].email == email


@pytest.mark.parametrize(
    "said",
    [
        answer(success=False, data={"apiKey": "fake"}),
        answer(success=True, data={}),
        answer(success=True, data=[]),
        answer(data={"apiKey": "fake\x00key"}),
        answer(500),
        HttpResponse(200, {}, b"nothing"),
    ],
)
def test_a_login_without_a_key_is_none(said: HttpResponse) -> None:
    assert isinstance(failure(lambda: exchanged(GRANT, said)), Transient)


def test_without_a_secret_or_an_address_nothing_is_sent() -> None:
    public = Client(DEFAULTS.client_id)
    flow = IFLOW.exchange(AUTHORIZATION, Secret("fake-code"), public, NOW)
    assert isinstance(failure(lambda: run_canned(flow, [])), Misconfigured)
    bare = IFlow(replace(DEFAULTS, endpoints=replace(DEFAULTS.endpoints, userinfo_url=None)))
    flow = bare.exchange(AUTHORIZATION, Secret("fake-code"), CLIENT, NOW)
    assert isinstance(failure(lambda: run_canned(flow, [GRANT])), Misconfigured)


# --- afterwards ---


def test_a_renewal_asks_for_the_key_again() -> None:
    [token, account], tokens = renewed(GRANT, ACCOUNT)
    assert (token.spends, account.spends) == (True, False)
    assert token.form == {
        "grant_type": "refresh_token",
        "refresh_token": Secret("fake-refresh-1"),
        "client_id": CLIENT.id,
        "client_secret": CLIENT.secret,
    }
    assert tokens.access_token == Secret("fake-key-2")
    assert (tokens.refresh_token, tokens.expires_at) == (Secret("fake-refresh-2"), T + 3600)
    assert tokens.id_token == Secret("fake-access-2")


def test_a_grant_outlasts_an_answer_about_the_key_that_is_no_utf_8() -> None:
    _, tokens = renewed(GRANT, HttpResponse(200, body=b'{"data":"\xff"}'))
    assert (tokens.access_token, tokens.refresh_token) == (Secret("fake-key-1"), Secret("fake-refresh-2"))


@pytest.mark.parametrize(("body", "seconds"), [({"expires_in": 3600}, 600), ({"expires_in": 60}, 60), ({}, 600)])
def test_a_grant_is_kept_where_the_key_cannot_be_had(body: dict[str, object], seconds: float) -> None:
    _, tokens = renewed(answer(access_token="fake-access-2", refresh_token="fake-refresh-2", **body), answer(500))
    assert tokens.access_token == Secret("fake-key-1")
    assert (tokens.refresh_token, tokens.expires_at) == (Secret("fake-refresh-2"), T + seconds)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(success=False, code="invalid_grant", message="no"), Permanent),
        (answer(success=False, code="invalid_client", message="Bad client credentials"), Misconfigured),
        (answer(success=False, access_token="fake"), Transient),
        (answer(code=500, message="busy"), Transient),
        (answer(), AnswerLost),
        (answer(400, error="invalid_grant"), Permanent),
        (answer(401, error="invalid_client"), Misconfigured),
        (answer(429, success=False), RateLimited),
        (answer(503, success=False), Transient),
    ],
)
def test_failures_of_a_renewal(said: HttpResponse, kind: type[Failure]) -> None:
    assert isinstance(failure(lambda: renewed(said)), kind)
