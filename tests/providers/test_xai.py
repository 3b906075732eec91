import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import AnswerLost, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.providers.base import Authorization, Client, Endpoints, Identity, LoginFlow
from broker.providers.xai import DEFAULTS, READING, Xai
from tests.fakes.canned import run_canned
from tests.fakes.vendors.xai import id_token

XAI = Xai(DEFAULTS, READING)
CLIENT = Client(DEFAULTS.client_id)
SEED = Secret("s" * 43)
T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)
TOKENS = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=T + 21_600)
WAY = Authorization("https://x.example", "http://127.0.0.1:56121/callback", Secret("fake-state"), Secret("v" * 43))
HOME = {"base_url": "https://api.x.ai/v1", "token_endpoint": "https://auth.x.ai/oauth2/token"}


def answer(body: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(body).encode())


def at(**known: str) -> Xai:
    return replace(XAI, setup=replace(DEFAULTS, endpoints=Endpoints(**known)))


def record(**facts: str) -> Record:
    return Record(AccountId("xai", "a@example.com"), TOKENS, "a@example.com", facts=facts)


def test_what_it_is() -> None:
    assert XAI.flows == (LoginFlow.DEVICE, LoginFlow.CODE)
    assert at(device_url="https://d.example").flows == (LoginFlow.DEVICE,)
    assert at(authorize_url="https://d.example").flows == (LoginFlow.CODE,)
    assert (XAI.redirect.host, XAI.redirect.port, XAI.redirect.path) == ("127.0.0.1", 56121, "/callback")
    assert XAI.policy.lead_seconds > 300
    assert XAI.quota(record(), NOW) is None


def test_the_code_login_has_parameters_that_the_device_login_has_not() -> None:
    login = replace(XAI, setup=replace(DEFAULTS, extra_params={"plan": "team"})).for_login({}, SEED)
    assert login.extra_params == {"nonce": SEED.digest().text, "plan": "team", "referrer": "ccs-broker"}
    assert set(XAI.extra_params) == {"plan", "referrer"}
    given = answer({"device_code": "fake", "user_code": "AB", "verification_uri": "https://accounts.x.ai/device"})
    asked, _ = run_canned(XAI.for_login({}, SEED).request_code(CLIENT, NOW), [given])
    assert asked[0].form == {"client_id": CLIENT.id, "scope": " ".join(DEFAULTS.scopes)}


@pytest.mark.parametrize(("nonce", "accepted"), [(SEED.digest().text, True), (None, True), ("somebody-else's", False)])
def test_an_id_token_of_another_login_is_refused(nonce: str | None, accepted: bool) -> None:
    claims = {"sub": "s", **({"nonce": nonce} if nonce else {})}
    login = XAI.for_login({}, SEED)
    flow = login.exchange(WAY, Secret("fake-code"), CLIENT, NOW)
    given = answer({"access_token": "fake-1", "refresh_token": "fake-2", "id_token": id_token(claims)})
    if accepted:
        assert run_canned(flow, [given])[1].expires_at == T + 21_600
        return
    with pytest.raises(FlowFailedError) as caught:
        run_canned(flow, [given])
    assert isinstance(caught.value.failure, Permanent)


# --- the token endpoint a file names ---


@pytest.mark.parametrize(
    "url",
    [
        "https://auth.x.ai/oauth2/token",
        "https://accounts.x.ai/oauth2/token",
        "https://x.ai/token",
        "https://a-1.b.x.ai/",
    ],
)
def test_an_endpoint_of_xai_counts(url: str) -> None:
    asked, _ = run_canned(XAI.refresh(record(token_endpoint=url), CLIENT, NOW), [answer({"access_token": "fake"})])
    assert asked[0].url == url
    assert XAI.facts({"token_endpoint": url}) == {"token_endpoint": url}


STRANGE = [
    "https://evil.example/oauth2/token",
    "http://auth.x.ai/oauth2/token",
    "https://evilx.ai/oauth2/token",
    "https://auth.x.ai.evil.example/oauth2/token",
    "https://auth.x.ai@evil.example/oauth2/token",
    "https://evil.example#.x.ai/oauth2/token",
    "https://evil.example?.x.ai/oauth2/token",
    "https://evil.example\\.x.ai/oauth2/token",
    "https://evil.example/.x.ai/",
    "https://evil.example%2f.x.ai/",
    "https://auth.x.ai:8443/oauth2/token",
    "https://auth.x.ai./oauth2/token",
    "https://auth.x.ai\n.evil.example/oauth2/token",
    "https://аuth.x.ai/oauth2/token",  # a Cyrillic letter
    "https://auth.x.ai/oauth2/token?to=evil.example",
    "https://.x.ai/",
    "https://-.x.ai/",
    "https://auth.x.ai",
    "//auth.x.ai/oauth2/token",
    "",
]


@pytest.mark.parametrize("url", STRANGE)
def test_a_strange_endpoint_never_sees_a_refresh_token(url: str) -> None:
    document: dict[str, object] = {"access_token": "fake-1", "refresh_token": "fake-2", "token_endpoint": url}
    found = XAI.read(document, "xai-x.json")
    assert "token_endpoint" not in found.facts
    for each in (found, record(token_endpoint=url)):
        asked, _ = run_canned(XAI.refresh(each, CLIENT, NOW), [answer({"access_token": "fake"})])
        assert asked[0].url == "https://auth.x.ai/oauth2/token"
        assert asked[0].spends
    assert XAI.write(document, TOKENS, NOW)["token_endpoint"] == url  # the file stays its owner's


def test_an_endpoint_of_the_config_counts_before_any_files() -> None:
    assert not XAI.trusts("https://auth.x.ai/oauth2/token\n")
    ours = at(token_url="https://sso.example/token")
    for told in ("https://auth.x.ai/oauth2/token", "https://sso.example/other", "https://sso.example/token"):
        asked, _ = run_canned(ours.refresh(record(token_endpoint=told), CLIENT, NOW), [answer({"access_token": "f"})])
        assert asked[0].url == "https://sso.example/token"
    assert ours.facts(HOME) == {"base_url": "https://api.x.ai/v1"}
    with pytest.raises(FlowFailedError) as caught:
        run_canned(at().refresh(record(**HOME), CLIENT, NOW), [])
    assert isinstance(caught.value.failure, Misconfigured)


# --- renewing ---


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant", "error_description": "Refresh token not found or invalid"}, Permanent),
        (400, {"error": "invalid_grant", "error_description": "Refresh token has been revoked"}, Permanent),
        (401, {"error": "unauthorized", "error_description": "Refresh token has been revoked"}, Permanent),
        (401, {"error": "unauthorized"}, Transient),
        (403, {"error": "forbidden"}, Transient),
        (400, {"error": "what"}, Transient),
        (401, {"error": "invalid_client"}, Misconfigured),
        (429, {}, RateLimited),
        (503, {}, Transient),
        (200, {}, AnswerLost),
    ],
)
def test_refusals(status: int, body: object, kind: type) -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(XAI.refresh(record(), CLIENT, NOW), [answer(body, status)])
    assert isinstance(caught.value.failure, kind)


# --- who it is ---


def identified(provider: Xai, claims: dict[str, str] | None, *answers: HttpResponse) -> Identity:
    tokens = replace(TOKENS, id_token=Secret(id_token(claims)) if claims is not None else None)
    return run_canned(provider.identify(tokens, NOW), list(answers))[1]


def test_the_id_token_tells_who_it_is() -> None:
    assert identified(XAI, {"email": "a@example.com", "sub": "s"}) == Identity("a@example.com", "s", HOME)


def test_userinfo_tells_what_it_does_not() -> None:
    assert identified(XAI, {"sub": "s"}, answer({"sub": "s", "email": "a@example.com"})).email == "a@example.com"
    assert identified(XAI, None, answer({"sub": "s"})).subject == "s"
    assert identified(XAI, {"sub": "s"}, answer({"sub": "t", "email": "b@example.com"})) == Identity(None, "s", HOME)
    silent = identified(XAI, {"sub": "s"}, answer({}, 403))
    assert (silent.subject, len(silent.notes)) == ("s", 1)
    with pytest.raises(FlowFailedError):
        identified(XAI, None, answer({}, 403))
    assert identified(at(), None) == Identity()


# --- the file ---


def test_a_new_file_has_cliproxyapis_keys_in_its_order() -> None:
    tokens = replace(TOKENS, id_token=Secret("fake-id"))
    one = Record(AccountId("xai", "a@example.com"), tokens, "a@example.com", "s", {**HOME, "using_api": "true"})
    name, document = XAI.create(one, CLIENT, NOW)
    assert name == "xai-a@example.com.json"
    assert document == {
        "type": "xai",
        "access_token": "fake-access",
        "refresh_token": "fake-refresh",
        "id_token": "fake-id",
        "token_type": "Bearer",
        "expires_in": 21600,
        "expired": "2026-05-01T16:20:30Z",
        "last_refresh": "2026-05-01T10:20:30Z",
        "email": "a@example.com",
        "sub": "s",
        **HOME,
        "using_api": True,
        "auth_kind": "oauth",
        "disabled": False,
    }
    assert XAI.read(document, name).facts == {**HOME, "using_api": "true"}


def test_files_are_named_by_what_is_known() -> None:
    bare = Record(AccountId("xai", "x"), Tokens(Secret("fake")))
    assert XAI.file_name(replace(bare, subject="s-1"), NOW) == "xai-s-1.json"
    name, document = XAI.create(bare, CLIENT, NOW)
    assert name == "xai-1777630830000.json"
    assert not {"email", "sub", "expired", "expires_in", "id_token", "base_url", "using_api"} & set(document)
