import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.oauth.code import Authorization
from broker.oauth.device import DENIED, DeviceCode
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client, LoginFlow
from broker.providers.kiro import DEFAULTS, READING, START_URL, Kiro
from tests.fakes.canned import run_canned

KIRO = Kiro(DEFAULTS, READING)
T = 1_777_636_800.0  # 2026-05-01T12:00:00Z
NOW = Now(T, 1.0)
SEED = Secret("s" * 43)
NOBODY = Client("ccs-broker")
OWNER = Client("fake-client", Secret("fake-key"), expires_at=T + 60)
PROFILE = "arn:aws:codewhisperer:us-east-1:123456789012:profile/FAKE"
CENTER = {"start-url": "https://d-0123456789.awsapps.com/start", "region": "eu-central-1"}
AWS_FACTS = {"region": "eu-central-1", "auth_method": "idc", "provider": "AWS"}
TOKENS = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=T + 3600)
AWS = Record(AccountId("kiro", "a"), TOKENS, facts=AWS_FACTS)
SOCIAL = Record(AccountId("kiro", "b"), TOKENS, facts={"auth_method": "social", "provider": "Google"})
GRANT = {"accessToken": "fake-access-2", "refreshToken": "fake-refresh-2", "expiresIn": 3600}
OIDC = "https://oidc.eu-central-1.amazonaws.com"
AUTH = "https://prod.us-east-1.auth.desktop.kiro.dev"


def reply(body: object, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(status, headers, json.dumps(body).encode())


def failure(answer: HttpResponse, record: Record = AWS, client: Client = OWNER) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(KIRO.refresh(record, client, NOW), [answer])
    return caught.value.failure


def test_what_it_is() -> None:
    assert (KIRO.name, KIRO.title, KIRO.flows) == ("kiro", "Kiro", (LoginFlow.DEVICE, LoginFlow.CODE))
    assert KIRO.policy.lead_seconds > 300, "earlier than CLIProxyAPI, or both spend the token"
    assert KIRO.policy.rotates
    assert not KIRO.policy.forgives_repeat
    assert KIRO.claims({"type": "codewhisperer"})


# --- options ---


@pytest.mark.parametrize(
    ("options", "flows"),
    [
        ({}, (LoginFlow.DEVICE, LoginFlow.CODE)),
        ({"method": "builder-id"}, (LoginFlow.DEVICE,)),
        (CENTER, (LoginFlow.DEVICE,)),
        ({**CENTER, "method": "IDC"}, (LoginFlow.DEVICE,)),
        ({"method": "google"}, (LoginFlow.CODE,)),
        ({"method": "github"}, (LoginFlow.CODE,)),
    ],
)
def test_the_method_decides_the_flow(options: dict[str, str], flows: tuple[LoginFlow, ...]) -> None:
    assert KIRO.for_login(options, SEED).flows == flows


@pytest.mark.parametrize(
    "options",
    [
        {"region": "eu"},
        {"region": "eu-central-1.evil.example/"},
        {"method": "cognito"},
        {"method": "idc"},
        {**CENTER, "method": "builder-id"},
        {**CENTER, "method": "google"},
        {"start-url": "http://evil.example/start"},
        {"start-url": "https://a.example/ b"},
        {"colour": "red"},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(BrokerError):
        KIRO.for_login(options, SEED)


def test_the_social_page_is_asked_as_it_wants() -> None:
    assert dict(KIRO.for_login({"method": "github"}, SEED).extra_params) == {
        "response_type": "",
        "client_id": "",
        "scope": "",
        "idp": "Github",
        "prompt": "select_account",
    }
    assert KIRO.extra_params["idp"] == "Google"


# --- the device flow ---

REGISTERED = {"clientId": "fake-client", "clientSecret": "fake-key", "clientSecretExpiresAt": int(T) + 60}
CODE = {
    "deviceCode": "fake-device",
    "userCode": "AB-CD",
    "verificationUri": "https://d.example/",
    "expiresIn": 600,
    "interval": 1,
}


def test_a_login_registers_a_client_and_asks_for_a_code() -> None:
    made = KIRO.for_login(CENTER, SEED)
    asked, given = run_canned(made.request_code(NOBODY, NOW), [reply(REGISTERED), reply(CODE)])
    assert [each.url for each in asked] == [f"{OIDC}/client/register", f"{OIDC}/device_authorization"]
    assert asked[0].json == {"clientName": "ccs-broker", "clientType": "public", "scopes": DEFAULTS.scopes}
    assert asked[1].json == {
        "clientId": "fake-client",
        "clientSecret": Secret("fake-key"),
        "startUrl": CENTER["start-url"],
    }
    assert given.client == OWNER
    assert (given.user_code, given.interval) == ("AB-CD", 1.0)


def test_a_registration_without_an_end_and_one_of_the_configs() -> None:
    lasting = {name: REGISTERED[name] for name in ("clientId", "clientSecret")}
    _, given = run_canned(KIRO.request_code(NOBODY, NOW), [reply(lasting), reply(CODE)])
    assert given.client == Client("fake-client", Secret("fake-key"))
    configured = Kiro(replace(DEFAULTS, client_id="mine", own_client=False), READING)
    asked, given = run_canned(
        configured.request_code(Client("mine", Secret("fake-own"), basic=True), NOW), [reply(CODE)]
    )
    assert [each.url for each in asked] == ["https://oidc.us-east-1.amazonaws.com/device_authorization"]
    assert asked[0].basic is None
    assert given.client == Client("mine", Secret("fake-own"))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({}), Transient),
        (reply({"clientId": "x"}), Transient),
        (reply({"error": "invalid_client"}), Misconfigured),
        (reply({"error": "invalid_scope"}, 400), Misconfigured),
        (HttpResponse(500), Transient),
        (HttpResponse(429), RateLimited),
    ],
)
def test_a_registration_that_fails(answer: HttpResponse, kind: type) -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(KIRO.request_code(NOBODY, NOW), [answer])
    assert isinstance(caught.value.failure, kind)


GIVEN = DeviceCode(Secret("fake-device"), "AB-CD", "https://d.example/", None, 600.0, 1.0, OWNER)


def test_polling_goes_on_until_the_person_has_decided() -> None:
    pending = reply({"error": "authorization_pending"}, 400, **{"x-amzn-errortype": "AuthorizationPendingException:"})
    asked, tokens = run_canned(KIRO.for_login(CENTER, SEED).poll(GIVEN, OWNER, lambda: NOW), [pending, reply(GRANT)])
    assert asked[1].json == {
        "clientId": "fake-client",
        "clientSecret": Secret("fake-key"),
        "deviceCode": Secret("fake-device"),
        "grantType": "urn:ietf:params:oauth:grant-type:device_code",
    }
    assert (tokens.refresh_token, tokens.expires_at) == (Secret("fake-refresh-2"), T + 3600)
    assert tokens.facts == {**AWS_FACTS, "start_url": CENTER["start-url"]}


def test_a_builder_id_is_called_one_and_a_refusal_a_refusal() -> None:
    _, tokens = run_canned(KIRO.poll(GIVEN, OWNER, lambda: NOW), [reply(GRANT)])
    assert (tokens.facts["auth_method"], tokens.facts["start_url"]) == ("builder-id", START_URL)
    with pytest.raises(FlowFailedError) as caught:
        run_canned(KIRO.poll(GIVEN, OWNER, lambda: NOW), [reply({"error": "access_denied"}, 400)])
    assert isinstance(caught.value.failure, Permanent)
    assert caught.value.failure.code == DENIED


# --- the social flow ---


def test_a_social_code_is_redeemed_at_kiros_own_service() -> None:
    authorization = Authorization(f"{AUTH}/login", "kiro://x", Secret("fake-state"), Secret("fake-verifier"))
    made = KIRO.for_login({"method": "github"}, SEED)
    flow = made.exchange(authorization, Secret("fake-code"), NOBODY, NOW)
    [asked], tokens = run_canned(flow, [reply({**GRANT, "profileArn": PROFILE})])
    assert asked.url == f"{AUTH}/oauth/token"
    assert asked.json == {
        "code": Secret("fake-code"),
        "code_verifier": Secret("fake-verifier"),
        "redirect_uri": "kiro://x",
    }
    assert tokens.facts == {"auth_method": "social", "provider": "Github", "profile_arn": PROFILE}


def test_a_social_login_is_renewed_there() -> None:
    [asked], tokens = run_canned(KIRO.refresh(SOCIAL, NOBODY, NOW), [reply({"accessToken": "fake-access-2"})])
    assert (asked.url, asked.json, asked.spends) == (
        f"{AUTH}/refreshToken",
        {"refreshToken": Secret("fake-refresh")},
        True,
    )
    assert tokens.refresh_token == Secret("fake-refresh"), "an answer without a new one keeps the old"
    assert tokens.expires_at == T + 3600
    assert tokens.facts == {}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (reply({"message": "Bad token"}, 401), Permanent),
        (reply({"message": "no"}, 403), Permanent),
        (HttpResponse(403, {}, b"<html>"), Transient),
        (reply({"error": "rate_limited", "message": "later"}, 403), RateLimited),
        (reply({}), AnswerLost),
        (HttpResponse(500), Transient),
    ],
)
def test_refusals_of_the_social_service(answer: HttpResponse, kind: type) -> None:
    assert isinstance(failure(answer, SOCIAL, NOBODY), kind)


# --- which service, which region ---


@pytest.mark.parametrize(
    ("facts", "client", "url"),
    [
        ({"auth_method": "builder-id"}, OWNER, "https://oidc.us-east-1.amazonaws.com/token"),
        ({"auth_method": "IdC", "region": "eu-central-1"}, OWNER, f"{OIDC}/token"),
        ({}, OWNER, "https://oidc.us-east-1.amazonaws.com/token"),
        ({"auth_method": "Social"}, OWNER, f"{AUTH}/refreshToken"),
        ({"provider": "Github"}, NOBODY, f"{AUTH}/refreshToken"),
    ],
)
def test_a_login_is_renewed_where_it_belongs(facts: dict[str, str], client: Client, url: str) -> None:
    asked, _ = run_canned(KIRO.refresh(replace(AWS, facts=facts), client, NOW), [reply(GRANT)])
    assert [(each.url, each.spends) for each in asked] == [(url, True)]


@pytest.mark.parametrize(
    ("record", "client", "code"),
    [
        (AWS, NOBODY, "no_registration"),
        (replace(AWS, facts={}), NOBODY, "no_registration"),
        (replace(AWS, facts={"region": "evil.example/#"}), OWNER, "bad_region"),
        (replace(AWS, tokens=Tokens(Secret("fake"))), OWNER, "no_refresh_token"),
    ],
)
def test_a_file_that_does_not_tell_enough_sends_nothing(record: Record, client: Client, code: str) -> None:
    with pytest.raises(FlowFailedError) as caught:
        next(KIRO.refresh(record, client, NOW))
    assert isinstance(caught.value.failure, Misconfigured | Permanent)
    assert caught.value.failure.code == code


@pytest.mark.parametrize(
    "answer",
    [
        reply({"error": "invalid_grant"}, 400),
        reply({"__type": "com.amazonaws#ExpiredTokenException"}, 400),
        reply({"message": "x"}, 400, **{"x-amzn-errortype": "InvalidGrantException"}),
    ],
)
def test_a_dead_login(answer: HttpResponse) -> None:
    assert isinstance(failure(answer), Permanent)


def test_a_wrong_region_is_a_fault_of_the_settings() -> None:
    told = failure(reply({"error": "invalid_request", "error_description": "Invalid token provided"}, 400))
    assert isinstance(told, Misconfigured)
    assert told.code == "wrong_region"
    assert "eu-central-1" in told.reason


@pytest.mark.parametrize(
    ("answer", "ends", "said"),
    [
        (reply({"error": "invalid_client"}, 401), T - 5, "ended on 2026-05-01"),
        (reply({"message": "Bad credentials"}, 401), T + 5, "is not accepted any more"),
        (reply({"__type": "InvalidClientException"}, 401), None, "is not accepted any more"),
    ],
)
def test_a_registration_that_has_ended_is_said_with_what_to_do(
    answer: HttpResponse, ends: float | None, said: str
) -> None:
    told = failure(answer, client=replace(OWNER, expires_at=ends))
    assert isinstance(told, Misconfigured)
    assert said in told.reason
    assert "ccs-broker login kiro" in told.reason


def test_other_faults_stay_what_they_are() -> None:
    assert failure(reply({"error": "unsupported_grant_type"}, 400)).reason.endswith("(unsupported_grant_type)")
    assert isinstance(failure(reply({"__type": "ThrottlingException"}, 400)), RateLimited)
    assert isinstance(failure(HttpResponse(500)), Transient)


# --- what is asked after a login ---


def test_profile_person_and_limits_are_asked_at_the_api() -> None:
    asked, _ = run_canned(KIRO.identify(TOKENS, NOW), [reply({}), reply({}), reply({})])
    assert {each.url for each in asked} == {"https://codewhisperer.us-east-1.amazonaws.com"}
    [asked_quota], _ = run_canned(KIRO.quota(AWS, NOW), [reply({})])
    assert asked_quota.bearer == Secret("fake-access")


# --- the file ---


@pytest.mark.parametrize(
    ("record", "client", "name"),
    [
        (replace(AWS, email="a@example.com"), OWNER, "kiro-aws-a@example.com.json"),
        (
            replace(AWS, facts={**AWS_FACTS, "profile_arn": PROFILE}),
            replace(OWNER, expires_at=None),
            "kiro-aws-FAKE.json",
        ),
        (replace(AWS, subject="d-1.u", disabled=True), NOBODY, f"kiro-aws-{int(T)}.json"),
        (replace(SOCIAL, email="a@example.com"), OWNER, "kiro-google-a@example.com.json"),
        (replace(SOCIAL, facts={"auth_method": "social"}), NOBODY, f"kiro-social-{int(T)}.json"),
    ],
)
def test_a_new_file_reads_back(record: Record, client: Client, name: str) -> None:
    made, document = KIRO.create(record, client, NOW)
    assert made == name
    again = KIRO.read(document, made)
    assert (again.account, again.email, again.subject, again.disabled) == (
        record.account,
        record.email,
        record.subject,
        record.disabled,
    )
    assert (again.facts, again.tokens.expires_at) == (record.facts, T + 3600)
    carried = KIRO.client_of(document)
    assert carried == (client if client.secret and record.facts["auth_method"] != "social" else None)


def test_a_grant_without_an_end_leaves_it_out() -> None:
    _, document = KIRO.create(replace(AWS, tokens=Tokens(Secret("fake"))), OWNER, NOW)
    assert "expires_at" not in document


def test_a_registration_of_the_older_spelling_is_read() -> None:
    found = KIRO.client_of(
        {"clientId": "fake-client", "clientSecret": "fake-key", "clientSecretExpiresAt": int(T) + 60}
    )
    assert found == OWNER


def test_a_profile_that_comes_with_a_renewal_is_put_down() -> None:
    after = KIRO.write(
        {"type": "kiro", "accessToken": "a", "profileArn": "old"}, replace(TOKENS, facts={"profile_arn": PROFILE}), NOW
    )
    assert (after["profileArn"], after["accessToken"]) == (PROFILE, "fake-access")
