import base64
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent, Transient
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers.base import Client, FormatError, Identity
from broker.providers.vertex import DEFAULTS, READING, Vertex, from_key
from tests.fakes.canned import run_canned
from tests.fakes.vendors.vertex import EMAIL, key_file, pem

VERTEX = Vertex(DEFAULTS, READING)
T = 1_777_636_800.0  # 2026-05-01T12:00:00Z
DATE = {"date": "Fri, 01 May 2026 12:00:00 GMT"}
NOW = Now(T, 1.0)
CLIENT = Client(EMAIL)
USUAL = "https://oauth2.googleapis.com/token"
FACTS = {"project_id": "my-project-123456", "client_email": EMAIL, "location": "us-central1"}


def record(**facts: str) -> Record:
    return Record(AccountId("vertex", EMAIL), Tokens(None, Secret(pem())), EMAIL, facts={**FACTS, **facts})


def granted(**changes: object) -> HttpResponse:
    return HttpResponse(200, DATE, json.dumps({"access_token": "fake-access", "expires_in": 3599, **changes}).encode())


def asked(one: Record, provider: Vertex = VERTEX) -> HttpRequest:
    [request], _ = run_canned(provider.refresh(one, CLIENT, NOW), [granted()])
    return request


def failure(one: Record, *answers: HttpResponse) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(VERTEX.refresh(one, CLIENT, NOW), list(answers))
    return caught.value.failure


def refused(said: str, headers: Mapping[str, str] = DATE) -> HttpResponse:
    body = {"error": "invalid_grant", "error_description": said}
    return HttpResponse(400, headers, json.dumps(body).encode())


def test_what_it_is() -> None:
    assert (VERTEX.name, VERTEX.flows) == ("vertex", ())
    assert not VERTEX.policy.rotates
    assert VERTEX.policy.forgives_repeat
    assert VERTEX.claims({"type": "vertex"})
    assert run_canned(VERTEX.identify(Tokens(None), NOW), [])[1] == Identity()
    assert VERTEX.quota(record(), NOW) is None
    assert VERTEX.revoke(record(), CLIENT) is None


# --- renewing ---


def test_an_assertion_of_an_hour_is_exchanged() -> None:
    request = asked(record())
    assert (request.method, request.url, request.spends) == ("POST", USUAL, True)
    assert request.form is not None
    assert request.form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    proof = request.form["assertion"]
    assert isinstance(proof, Secret)
    payload = proof.reveal().split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "iss": EMAIL,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": USUAL,
        "iat": int(T),
        "exp": int(T) + 3600,
    }
    assert asked(record()) == request, "a recorded answer is replayed on the same flow"


def test_the_key_stays_the_refresh_token() -> None:
    _, tokens = run_canned(VERTEX.refresh(record(), CLIENT, NOW), [granted()])
    assert tokens == Tokens(Secret("fake-access"), Secret(pem()), expires_at=T + 3599, last_refresh=T)
    _, tokens = run_canned(VERTEX.refresh(record(), CLIENT, NOW), [granted(expires_in=None)])
    assert tokens.expires_at == T + 3600


@pytest.mark.parametrize(
    ("named", "url"),
    [
        (USUAL, USUAL),
        ("https://accounts.google.com/o/oauth2/token", "https://accounts.google.com/o/oauth2/token"),
        ("https://www.googleapis.com/oauth2/v4/token", "https://www.googleapis.com/oauth2/v4/token"),
    ],
)
def test_googles_addresses_are_taken_from_a_key(named: str, url: str) -> None:
    assert asked(record(token_uri=named)).url == url


@pytest.mark.parametrize(
    "named",
    [
        "https://evil.example/token",
        "http://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com@evil.example/token",
        "https://oauth2.googleapis.com:444/token",
        "https://storage.googleapis.com/mine/token",
        "https://[",
    ],
)
def test_no_assertion_goes_where_only_a_key_file_says(named: str) -> None:
    told = failure(record(token_uri=named))
    assert isinstance(told, Misconfigured)
    assert told.code == "foreign_token_uri"


def test_an_address_of_the_config_counts_before_the_keys() -> None:
    setup = replace(DEFAULTS, endpoints=replace(DEFAULTS.endpoints, token_url="https://mine.example/token"))
    assert (
        asked(record(token_uri="https://evil.example/token"), Vertex(setup, READING)).url
        == "https://mine.example/token"
    )


@pytest.mark.parametrize(
    ("one", "kind"),
    [
        (replace(record(), tokens=Tokens(Secret("fake"))), Permanent),
        (replace(record(), facts={}), Permanent),
        (replace(record(), tokens=Tokens(None, Secret("fake"))), Misconfigured),
    ],
)
def test_what_cannot_be_renewed_is_told_without_a_request(one: Record, kind: type) -> None:
    assert isinstance(failure(one), kind)


def test_a_refused_key_is_final_and_says_what_it_may_be() -> None:
    told = failure(record(), refused("Invalid JWT Signature."))
    assert isinstance(told, Permanent)
    assert "Invalid JWT Signature" in told.reason
    assert "clock" in told.reason
    assert isinstance(failure(record(), refused("account not found", {})), Permanent)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (refused("Invalid JWT", {"date": "Fri, 01 May 2026 12:10:00 GMT"}), "10 minutes behind"),
        (refused("Invalid JWT", {"date": "Fri, 01 May 2026 11:00:00 GMT"}), "60 minutes ahead"),
        (refused("Token must be a short-lived token (60 minutes) and in a reasonable timeframe."), "may be wrong"),
    ],
)
def test_a_wrong_clock_is_no_dead_key(answer: HttpResponse, said: str) -> None:
    told = failure(record(), answer)
    assert isinstance(told, Misconfigured)
    assert said in told.reason


def test_other_faults_stay_what_they_are() -> None:
    assert isinstance(failure(record(), HttpResponse(503)), Transient)


# --- the file ---


def test_a_file_of_cliproxyapi_is_read() -> None:
    document = {
        "service_account": key_file(),
        "project_id": "p",
        "email": EMAIL,
        "location": "global",
        "type": "vertex",
        "label": f"p ({EMAIL})",
    }
    found = VERTEX.read(document, "vertex-p.json")
    assert str(found.account) == f"vertex/{EMAIL}"
    assert found.facts == {"project_id": "p", "location": "global", "client_email": EMAIL}
    assert found.tokens.access_token is None
    assert VERTEX.client_of(document) == CLIENT


def test_a_label_of_the_persons_own_names_the_account_and_an_odd_endpoint_is_a_fact() -> None:
    document = {"service_account": key_file(token_uri="https://accounts.google.com/o/oauth2/token"), "label": "work"}
    found = VERTEX.read(document, "x.json")
    assert found.account.label == "work"
    assert found.facts["token_uri"] == "https://accounts.google.com/o/oauth2/token"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "no service_account"),
        ({"service_account": "x"}, "not an object"),
        ({"service_account": key_file(private_key="")}, "no private_key"),
        ({"service_account": key_file(client_email=None)}, "no client_email"),
        ({"service_account": key_file(private_key=5)}, "not text"),
        ({"service_account": key_file(), "location": "evil.example/"}, "location"),
    ],
)
def test_a_file_without_a_key_is_refused(document: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError, match=said):
        VERTEX.read(document, "x.json")


def test_a_file_without_an_address_has_no_client() -> None:
    assert VERTEX.client_of({"service_account": {"private_key": "fake"}}) is None


def test_the_keys_text_is_left_alone_and_another_key_takes_its_place() -> None:
    document: dict[str, object] = {"type": "vertex", "service_account": key_file(), "note": 1}
    tokens = Tokens(Secret("fake-access"), Secret(pem().strip()), expires_at=T)
    after = VERTEX.write(document, tokens, NOW)
    assert after["service_account"] == key_file()
    assert VERTEX.read(after, "x.json").tokens.access_token == Secret("fake-access")
    newer = VERTEX.write(after, replace(tokens, access_token=None, refresh_token=Secret("fake-newer")), NOW)
    assert VERTEX.read(newer, "x.json").tokens == Tokens(None, Secret("fake-newer"))
    assert document["service_account"] == key_file()


@pytest.mark.parametrize(
    ("one", "name"),
    [
        (record(), "vertex-my-project-123456.json"),
        (replace(record(), account=AccountId("vertex", "work"), disabled=True), "vertex-my-project-123456.json"),
        (replace(record(), facts={"client_email": EMAIL}), f"vertex-{EMAIL}.json"),
    ],
)
def test_an_account_can_be_put_down_anew(one: Record, name: str) -> None:
    made, document = VERTEX.create(one, CLIENT, NOW)
    assert made == name
    again = VERTEX.read(document, made)
    assert (again.account, again.facts, again.disabled) == (one.account, one.facts, one.disabled)
    assert asked(again).form == asked(one).form


# --- importing ---


def test_a_key_becomes_the_file_cliproxyapi_makes_of_it() -> None:
    document = from_key(key_file())
    assert document == {
        "service_account": key_file(),
        "project_id": "my-project-123456",
        "email": EMAIL,
        "location": "us-central1",
        "type": "vertex",
        "label": f"my-project-123456 ({EMAIL})",
        "disabled": False,
    }
    found = VERTEX.read(document, "key.json")
    assert (found.account, found.tokens.refresh_token, dict(found.facts)) == (
        record().account,
        Secret(pem().strip()),
        FACTS,
    )
    assert VERTEX.file_name(found, NOW) == "vertex-my-project-123456.json"


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ({}, "is no service account's key"),
        (key_file(type="authorized_user"), "is no service account's key"),
        (key_file(private_key=None), "has no private_key"),
        (key_file(private_key=7), "has no private_key"),
        (key_file(client_email=""), "has no client_email"),
        (key_file(project_id=None), "has no project_id"),
        (key_file(private_key="fake"), "cannot be used: private_key is not an RSA key"),
    ],
)
def test_what_is_no_usable_key_is_refused(key: dict[str, object], said: str) -> None:
    with pytest.raises(FormatError, match=f"^{said}"):
        from_key(key)
