import base64
import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import AnswerLost, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client, Endpoints, Identity, LoginFlow, Quota, QuotaWindow
from broker.providers.kimi import DEFAULTS, READING, Kimi
from tests.fakes.canned import run_canned

KIMI = Kimi(DEFAULTS, READING)
CLIENT = Client(DEFAULTS.client_id)
SEED = Secret("s" * 43)
T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)
TOKENS = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=T + 900, scopes=("kimi-code",))


def answer(body: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status, {}, json.dumps(body).encode())


def record(**facts: str) -> Record:
    return Record(AccountId("kimi", "a"), TOKENS, facts=facts)


def test_what_it_is() -> None:
    assert KIMI.flows == (LoginFlow.DEVICE,)
    assert KIMI.scopes == ()
    assert set(KIMI.options) == {"region", "platform"}
    assert KIMI.revoke(record(), CLIENT) is None
    # Earlier than CLIProxyAPI, at half of a token's quarter of an hour.
    assert min(KIMI.policy.lead_seconds, KIMI.policy.lead_share * 900) > 300


# --- regions ---


def test_the_regions_have_hosts_of_their_own() -> None:
    assert KIMI.for_login({}, SEED).endpoints == DEFAULTS.endpoints
    assert KIMI.for_login({"region": "Global"}, SEED).endpoints == Endpoints(
        token_url="https://auth.kimi.ai/api/oauth/token",
        device_url="https://auth.kimi.ai/api/oauth/device_authorization",
        api_url="https://api.kimi.ai/coding/v1",
    )


def test_addresses_of_the_config_stay() -> None:
    set_up = replace(KIMI, setup=replace(DEFAULTS, endpoints=Endpoints(token_url="https://auth.kimi.com/other")))
    assert set_up.for_login({"region": "global"}, SEED).endpoints == Endpoints(token_url="https://auth.kimi.com/other")


@pytest.mark.parametrize("options", [{"region": "mars"}, {"platform": "é"}, {"platform": "a\nb"}, {"platform": ""}])
def test_options_that_cannot_be(options: dict[str, str]) -> None:
    with pytest.raises(BrokerError) as caught:
        KIMI.for_login(options, SEED)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("facts", "host"),
    [
        ({}, "auth.kimi.com"),
        ({"region": "cn"}, "auth.kimi.com"),
        ({"region": "global"}, "auth.kimi.ai"),
        ({"region": "evil.example"}, "auth.kimi.com"),
    ],
)
def test_a_refresh_token_stays_in_its_region(facts: dict[str, str], host: str) -> None:
    # Whatever the config says of new logins: a file that names no region is CLIProxyAPI's, which knows one only.
    wishes = replace(KIMI, setup=replace(DEFAULTS, options={"region": "global"}))
    asked, _ = run_canned(wishes.refresh(record(**facts), CLIENT, NOW), [answer({"access_token": "fake-2"})])
    assert asked[0].url == f"https://{host}/api/oauth/token"
    flow = wishes.quota(record(**facts), NOW)
    assert flow is not None
    asked, _ = run_canned(flow, [answer({})])
    assert asked[0].url == f"https://{host.replace('auth', 'api')}/coding/v1/usages"


# --- headers ---


def test_a_login_says_which_device_it_is() -> None:
    login = KIMI.for_login({"platform": "kimi_cli"}, SEED)
    device = login.headers["X-Msh-Device-Id"]
    assert len(device) == 36
    assert SEED.reveal() not in device
    assert login.headers["X-Msh-Platform"] == "kimi_cli"
    assert all(value.isascii() for value in login.headers.values())
    assert KIMI.for_login({}, Secret("t" * 43)).headers["X-Msh-Device-Id"] != device
    asked, given = run_canned(
        login.request_code(CLIENT, NOW),
        [answer({"device_code": "fake", "user_code": "AB", "verification_uri": "https://www.kimi.com/code"})],
    )
    assert asked[0].headers["X-Msh-Device-Id"] == device
    assert asked[0].form == {"client_id": CLIENT.id}
    asked, tokens = run_canned(login.poll(given, CLIENT, lambda: NOW), [answer({"access_token": "fake-1"})])
    assert asked[0].headers["X-Msh-Device-Id"] == device
    assert tokens.expires_at == T + 900


@pytest.mark.parametrize(
    ("facts", "sent"),
    [
        ({"device_id": "1-2-3"}, "1-2-3"),
        ({}, "cli-proxy-api-device"),
        ({"device_id": "a\r\nX-Evil: 1"}, "cli-proxy-api-device"),
        ({"device_id": "é"}, "cli-proxy-api-device"),
        ({"device_id": "x" * 200}, "cli-proxy-api-device"),
    ],
)
def test_a_renewal_says_what_the_file_says(facts: dict[str, str], sent: str) -> None:
    asked, _ = run_canned(KIMI.refresh(record(**facts), CLIENT, NOW), [answer({"access_token": "fake-2"})])
    assert asked[0].headers["X-Msh-Device-Id"] == sent
    assert asked[0].spends
    assert asked[0].form == {
        "grant_type": "refresh_token",
        "refresh_token": Secret("fake-refresh"),
        "client_id": CLIENT.id,
    }


def test_the_user_agent_is_sent_where_one_is_set() -> None:
    assert "User-Agent" not in KIMI.headers
    assert KIMI.headers["X-Msh-Device-Id"] == "cli-proxy-api-device"
    assert replace(KIMI, setup=replace(DEFAULTS, user_agent="x/1")).headers["User-Agent"] == "x/1"


# --- renewing ---


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant"}, Permanent),
        (400, {"error": "invalid_request"}, Permanent),
        (401, {}, Permanent),
        (401, {"error": {"type": "invalid_authentication_error", "message": "The token is no more"}}, Permanent),
        (403, {"error": "forbidden"}, Permanent),
        (401, {"error": "invalid_client"}, Misconfigured),
        (400, {"error": "something_new"}, Transient),
        (429, {"error": {"type": "rate_limit_reached_error"}}, RateLimited),
        (502, {}, Transient),
        (200, {}, AnswerLost),
    ],
)
def test_refusals(status: int, body: object, kind: type) -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(KIMI.refresh(record(), CLIENT, NOW), [answer(body, status)])
    assert isinstance(caught.value.failure, kind)


def test_a_wall_of_html_proves_nothing() -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(KIMI.refresh(record(), CLIENT, NOW), [HttpResponse(403, {}, b"<html>wait</html>")])
    assert isinstance(caught.value.failure, Transient)


# --- who it is ---


def jwt_of(claims: object) -> Secret:
    return Secret("e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".x")


def identified(tokens: Tokens, *answers: HttpResponse) -> Identity:
    return run_canned(KIMI.for_login({}, SEED).identify(tokens, NOW), list(answers))[1]


def test_the_api_tells_who_it_is_else_the_token_else_the_device() -> None:
    told = identified(TOKENS, answer({"user_id": "u-7", "email": "a@example.com"}))
    assert (told.email, told.subject, told.notes) == ("a@example.com", "u-7", ())
    assert set(told.facts) == {"device_id", "region"}
    claimed = identified(replace(TOKENS, access_token=jwt_of({"sub": "u-8"})), answer({}))
    assert (claimed.email, claimed.subject) == (None, "u-8")
    unknown = identified(TOKENS, answer({}, 404))
    assert unknown.subject == f"device-{unknown.facts['device_id'][:8]}"
    assert len(unknown.notes) == 1


def test_a_grant_that_says_which_device_it_is_of_is_asked_about_as_that_device() -> None:
    tokens = replace(TOKENS, facts={"device_id": "device-1", "region": "global"})
    asked, told = run_canned(KIMI.identify(tokens, NOW), [answer({})])
    assert asked[0].url == "https://api.kimi.ai/coding/v1/me"
    assert asked[0].headers["X-Msh-Device-Id"] == "device-1"
    assert dict(told.facts) == {"device_id": "device-1", "region": "global"}
    odd = replace(TOKENS, facts={"device_id": "a\nb"})
    assert identified(odd, answer({})).facts["device_id"] == identified(TOKENS, answer({})).facts["device_id"]


def test_without_an_api_nobody_is_asked() -> None:
    bare = replace(KIMI, setup=replace(DEFAULTS, endpoints=Endpoints()))
    asked, told = run_canned(bare.identify(TOKENS, NOW), [])
    assert (asked, told.subject) == ([], "device-cli-prox")
    assert bare.quota(record(), NOW) is None
    assert KIMI.quota(replace(record(), tokens=Tokens(None, Secret("fake"))), NOW) is None


# --- limits ---


def quota(body: object) -> Quota:
    flow = KIMI.quota(record(device_id="d"), NOW)
    assert flow is not None
    asked, found = run_canned(flow, [answer(body)])
    assert asked[0].headers["X-Msh-Device-Id"] == "d"
    return found


def test_limits() -> None:
    detail = {"limit": 100, "used": "15", "resetTime": "2026-05-01T10:20:30Z"}
    found = quota(
        {
            "user": {"membership": {"level": "LEVEL_ADVANCED"}},
            "usage": {"limit": "100", "remaining": "74"},
            "limits": [
                {"window": {"duration": 300, "timeUnit": "TIME_UNIT_MINUTE"}, "detail": detail},
                {"window": {"duration": "90", "timeUnit": "TIME_UNIT_MINUTE"}, "detail": detail},
                {"window": {"duration": 1, "timeUnit": "TIME_UNIT_DAY"}, **detail},
                {"window": {"duration": 1, "timeUnit": "TIME_UNIT_EON"}, "detail": detail},
                {"window": 7, "detail": {"limit": 0, "used": 0}},
                {"detail": {"used": 7}},
                {"detail": {"limit": 7}},
                "much",
            ],
        }
    )
    assert found == Quota(
        "advanced",
        (
            QuotaWindow("7 days", 0.26, None, "26 of 100"),
            QuotaWindow("5 hours", 0.15, T, "15 of 100"),
            QuotaWindow("90 minutes", 0.15, T, "15 of 100"),
            QuotaWindow("1 day", 0.15, T, "15 of 100"),
            QuotaWindow("limit 4", 0.15, T, "15 of 100"),
            QuotaWindow("limit 5", None, None, "0 of 0"),
        ),
    )


@pytest.mark.parametrize("body", [{}, {"user": 7, "limits": 7, "usage": 7}, {"user": {"membership": 7}}])
def test_limits_that_cannot_be_read_are_a_note(body: object) -> None:
    found = quota(body)
    assert (found.plan, found.windows, len(found.notes)) == (None, (), 1)


# --- the file ---


def test_a_new_file_has_cliproxyapis_keys_and_name() -> None:
    facts = {"device_id": "d", "region": "cn"}
    one = Record(AccountId("kimi", "u-7"), TOKENS, None, "u-7", facts)
    name, document = KIMI.create(one, CLIENT, NOW)
    assert name == "kimi-1777630830000.json"
    assert document == {
        "access_token": "fake-access",
        "refresh_token": "fake-refresh",
        "token_type": "Bearer",
        "scope": "kimi-code",
        "device_id": "d",
        "region": "cn",
        "sub": "u-7",
        "expired": "2026-05-01T10:35:30Z",
        "type": "kimi",
        "timestamp": 1777630830000,
        "disabled": False,
    }
    bare = Record(AccountId("kimi", "x"), Tokens(Secret("fake")), "a@example.com")
    _, document = KIMI.create(bare, CLIENT, NOW)
    assert (document["email"], document["label"]) == ("a@example.com", "x")
    assert "expired" not in document


def test_the_timestamp_is_the_last_renewal() -> None:
    document: dict[str, object] = {"access_token": "fake", "refresh_token": "fake-2", "timestamp": 1777630830000}
    assert KIMI.read(document, "kimi-1.json").tokens.last_refresh == T
    assert KIMI.read({**document, "last_refresh": 5}, "kimi-1.json").tokens.last_refresh == 5
    assert KIMI.read({**document, "timestamp": "?"}, "kimi-1.json").tokens.last_refresh is None
    assert KIMI.write(document, TOKENS, Now(T + 60, 1.0))["timestamp"] == 1777630890000
