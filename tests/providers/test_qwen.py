import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.oauth.pkce import challenge
from broker.providers.base import Client, Endpoints, LoginFlow
from broker.providers.qwen import DEFAULTS, READING, Qwen
from tests.fakes.canned import run_canned
from tests.fakes.vendors.codex import token

QWEN = Qwen(DEFAULTS, READING)
CLIENT = Client(DEFAULTS.client_id)
T = 1_777_636_800.0
NOW = Now(T, 1.0)
SEED = Secret("s" * 43)
TOKENS = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"), expires_at=T + 60)
RECORD = Record(AccountId("qwen", "work"), TOKENS)
USUAL = "https://portal.qwen.ai/v1"


def answer(status: int = 200, **body: object) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, json.dumps(body).encode())


def failure(flow: Callable[[], object]) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        flow()
    return caught.value.failure


def test_what_it_is() -> None:
    assert QWEN.flows == (LoginFlow.DEVICE,)
    assert QWEN.policy.lead_seconds > 1200, "before CLIProxyAPI"
    assert QWEN.notice
    assert set(QWEN.options) == {"email"}


@pytest.mark.parametrize(
    ("resource", "base"),
    [
        (None, USUAL),
        ("", USUAL),
        ("portal.example.com", "https://portal.example.com/v1"),
        ("portal.example.com/v1/", "https://portal.example.com/v1"),
        ("https://portal.example.com/", "https://portal.example.com/v1"),
        ("http://portal.example.com", USUAL),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1"),
        ("https://me@portal.example.com", USUAL),
        ("/only/a/path", USUAL),
    ],
)
def test_the_base_url_has_a_scheme_and_a_version_and_nothing_unsafe(resource: str | None, base: str) -> None:
    assert QWEN.facts({"resource_url": resource})["base_url"] == base
    assert (
        QWEN.facts({"resource_url": resource, "base_url": "https://mine.example"})["base_url"] == "https://mine.example"
    )


def test_without_a_usual_address_there_is_none() -> None:
    assert Qwen(replace(DEFAULTS, endpoints=Endpoints()), READING).facts({}) == {}


@pytest.mark.parametrize("email", ["", "nobody", "a/b@example.com", " a@example.com", "a@example.com\n"])
def test_an_address_that_is_none_is_refused(email: str) -> None:
    with pytest.raises(BrokerError, match="e-mail"):
        QWEN.for_login({"email": email}, SEED)


def test_a_new_file_is_cliproxyapi_s_and_holds_the_label_where_no_address_is_known() -> None:
    name, document = QWEN.create(RECORD, CLIENT, NOW)
    assert name == "qwen-work.json"
    assert list(document) == ["access_token", "refresh_token", "last_refresh", "email", "type", "expired", "disabled"]
    assert document["email"] == "work"
    record = replace(
        RECORD, email="a@example.com", tokens=replace(TOKENS, expires_at=None), facts={"resource_url": "x.example"}
    )
    name, document = QWEN.create(record, CLIENT, NOW)
    assert (name, document["resource_url"], document["label"]) == ("qwen-a@example.com.json", "x.example", "work")
    assert "expired" not in document


def test_a_login_sends_a_challenge_and_its_verifier() -> None:
    login = QWEN.for_login({"email": "a@example.com"}, SEED)
    body = {"device_code": "fake-device", "user_code": "A", "verification_uri": "https://chat.qwen.ai/authorize"}
    [request], given = run_canned(login.request_code(CLIENT, NOW), [answer(**body)])
    assert request.form is not None
    assert (request.form["code_challenge"], given.interval) == (challenge(SEED), 5.0)
    assert request.headers["x-request-id"] not in {"", challenge(SEED)}
    [request], tokens = run_canned(
        login.poll(given, CLIENT, lambda: NOW), [answer(access_token="fake", resource_url="x.example")]
    )
    assert request.form is not None
    assert request.form["code_verifier"] == SEED
    assert "x-request-id" not in request.headers
    _, identity = run_canned(login.identify(tokens, NOW), [])
    assert (identity.email, identity.notes) == ("a@example.com", ())
    assert identity.facts == {"resource_url": "x.example", "base_url": "https://x.example/v1"}


def test_without_a_name_the_login_says_so() -> None:
    _, identity = run_canned(QWEN.identify(TOKENS, NOW), [])
    assert (identity.email, len(identity.notes)) == (None, 1)
    told = replace(TOKENS, id_token=Secret(token(email="b@example.com")))
    _, identity = run_canned(QWEN.identify(told, NOW), [])
    assert (identity.email, identity.notes) == ("b@example.com", ())


def test_a_login_needs_a_verifier_and_an_address() -> None:
    assert isinstance(failure(lambda: run_canned(QWEN.request_code(CLIENT, NOW), [])), Misconfigured)
    bare = Qwen(replace(DEFAULTS, endpoints=Endpoints()), READING, SEED)
    assert isinstance(failure(lambda: run_canned(bare.request_code(CLIENT, NOW), [])), Misconfigured)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(400, error="invalid_request"), Permanent),
        (answer(400, error="invalid_grant"), Permanent),
        (answer(400, message="no"), Permanent),
        (answer(401, error="odd"), Permanent),
        (answer(400, error="invalid_client"), Misconfigured),
        (answer(400, error="unsupported_grant_type"), Misconfigured),
        (answer(400, error="slow_down"), RateLimited),
        (answer(403, error="odd"), Transient),
        (HttpResponse(400, {"content-type": "text/html"}, b"<html>"), Transient),
        (answer(500), Transient),
        (answer(429), RateLimited),
    ],
)
def test_failures_of_a_renewal(said: HttpResponse, kind: type[Failure]) -> None:
    assert isinstance(failure(lambda: run_canned(QWEN.refresh(RECORD, CLIENT, NOW), [said])), kind)


def test_a_renewal_without_a_new_refresh_token_keeps_the_old() -> None:
    [request], tokens = run_canned(QWEN.refresh(RECORD, CLIENT, NOW), [answer(access_token="fake-2", expires_in=60)])
    assert request.spends
    assert (tokens.refresh_token, tokens.expires_at) == (TOKENS.refresh_token, T + 60)
