import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth import device
from broker.oauth.failures import (
    AnswerLost,
    Failure,
    FlowFailedError,
    Misconfigured,
    Permanent,
    RateLimited,
    Transient,
)
from broker.oauth.messages import HttpRequest, HttpResponse, Pause
from broker.providers.base import Client, DeviceCode, Endpoints, LoginFlow
from broker.providers.codex import DEFAULTS, READING, Codex
from tests.fakes.canned import run_canned
from tests.fakes.vendors.codex import ACCOUNT, EMAIL, id_token, token

CODEX = Codex(DEFAULTS, READING)
CLIENT = Client(DEFAULTS.client_id)
T = 1_777_636_800.0  # 2026-05-01T12:00:00Z
NOW = Now(T, 1.0)
DAY = 86_400.0
ID = Secret(id_token())
OLD = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"), ID, expires_at=T + 60, last_refresh=T - DAY)
RECORD = Record(AccountId("codex", EMAIL), OLD, EMAIL, facts={"account_id": ACCOUNT, "plan": "plus"})
GIVEN = DeviceCode(Secret("fake-device"), "WXYZ-1", "https://auth.openai.com/codex/device", None, 900.0, 5.0)


def answer(status: int = 200, **body: object) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, json.dumps(body).encode())


def renewed(*answers: HttpResponse, old: Tokens = OLD) -> Tokens:
    [request], tokens = run_canned(CODEX.refresh(replace(RECORD, tokens=old), CLIENT, NOW), list(answers))
    assert request.spends
    return tokens


def failure(flow: Callable[[], object]) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        flow()
    return caught.value.failure


def test_what_it_is() -> None:
    assert CODEX.flows == (LoginFlow.CODE, LoginFlow.DEVICE)
    assert CODEX.redirect.ports == (1455, 1457)
    assert CODEX.policy.serial_group == "codex"
    assert CODEX.policy.rotates
    assert min(CODEX.policy.lead_seconds, CODEX.policy.lead_share * 10 * DAY) > 5 * DAY, "before CLIProxyAPI"
    assert not CODEX.needs_secret


# --- the file ---


def test_the_token_tells_its_end_where_the_file_does_not() -> None:
    access = token(exp=int(T))
    assert CODEX.read({"access_token": access, "refresh_token": "fake"}, "codex-x.json").tokens.expires_at == T
    assert CODEX.read({"access_token": "fake", "refresh_token": "fake"}, "codex-x.json").tokens.expires_at == 0.0
    document = {"access_token": access, "refresh_token": "fake", "expired": "2026-05-01T12:00:05Z"}
    assert CODEX.read(document, "codex-x.json").tokens.expires_at == T + 5


def test_account_plan_and_email_come_from_the_id_token() -> None:
    record = CODEX.read({"access_token": "fake", "id_token": id_token()}, "codex-x.json")
    assert (record.account.label, record.email, record.subject) == (EMAIL, EMAIL, "fake|1")
    assert record.facts == {"account_id": ACCOUNT, "plan": "plus"}
    other = CODEX.read({"access_token": "fake", "id_token": id_token(), "account_id": "mine"}, "codex-x.json")
    assert other.facts == {"account_id": "mine", "plan": "plus"}
    hidden = token(**{"https://api.openai.com/profile": {"email": EMAIL}, "https://api.openai.com/auth": 5})
    record = CODEX.read({"access_token": "fake", "id_token": hidden}, "codex-x.json")
    assert (record.email, record.facts) == (EMAIL, {})
    assert CODEX.read({"access_token": "fake", "id_token": token(sub="s")}, "codex-x.json").email is None


@pytest.mark.parametrize(
    ("account", "email", "plan", "name"),
    [
        (ACCOUNT, EMAIL, "plus", "codex-{h}-user@example.com-plus.json"),
        (ACCOUNT, EMAIL, "Self Serve__Business!", "codex-{h}-user@example.com-self-serve-business.json"),
        (ACCOUNT, EMAIL, None, "codex-{h}-user@example.com.json"),
        (None, EMAIL, "team", "codex-user@example.com-team.json"),
        (None, EMAIL, None, "codex-user@example.com.json"),
        (None, None, None, "codex-work.json"),
    ],
)
def test_a_new_file_is_named_as_cliproxyapi_names_it(
    account: str | None, email: str | None, plan: str | None, name: str
) -> None:
    facts = {key: value for key, value in (("account_id", account), ("plan", plan)) if value}
    record = replace(RECORD, account=AccountId("codex", email or "work"), email=email, facts=facts)
    made, document = CODEX.create(record, CLIENT, NOW)
    assert made == name.format(h="11e594f4")
    assert document["type"] == "codex"


def test_a_new_file_has_the_keys_in_order_and_no_end_where_none_is_known() -> None:
    _, document = CODEX.create(RECORD, CLIENT, NOW)
    assert list(document) == [
        "id_token", "access_token", "refresh_token", "account_id", "last_refresh", "email", "type", "expired", "disabled",
    ]  # fmt: skip
    _, document = CODEX.create(replace(RECORD, tokens=Tokens(Secret("fake"))), CLIENT, NOW)
    assert not document["expired"]


def test_an_id_token_that_came_brings_the_account_id() -> None:
    after = CODEX.write({"access_token": "a"}, OLD, NOW)
    assert (after["id_token"], after["account_id"]) == (id_token(), ACCOUNT)
    assert CODEX.write({"access_token": "a", "account_id": "mine"}, OLD, NOW)["account_id"] == "mine"
    assert "account_id" not in CODEX.write({"access_token": "a"}, replace(OLD, id_token=None), NOW)


# --- logging in ---


def test_a_login_without_an_account_id_says_so() -> None:
    _, identity = run_canned(CODEX.identify(Tokens(Secret("fake"), id_token=Secret(token(email=EMAIL))), NOW), [])
    assert (identity.email, identity.facts) == (EMAIL, {})
    assert identity.notes
    _, identity = run_canned(CODEX.identify(OLD, NOW), [])
    assert (identity.subject, identity.notes) == ("fake|1", ())


def asked_code(said: HttpResponse, codex: Codex = CODEX) -> DeviceCode:
    [request], given = run_canned(codex.request_code(CLIENT, NOW), [said])
    assert request.json == {"client_id": DEFAULTS.client_id}
    return given


@pytest.mark.parametrize(
    ("body", "seconds", "interval"),
    [
        ({"user_code": "WXYZ-1", "interval": "5"}, 900.0, 5.0),
        ({"usercode": "WXYZ-1"}, 900.0, 5.0),
        ({"usercode": "WXYZ-1", "interval": 0, "expires_at": T + 60}, 60.0, 1.0),
        ({"usercode": "WXYZ-1", "interval": 10_000, "expires_at": T + 6000}, 900.0, 300.0),
        ({"usercode": "WXYZ-1", "expires_at": T - 1}, 0.0, 5.0),
    ],
)
def test_a_device_code_is_read_in_every_spelling(body: dict[str, object], seconds: float, interval: float) -> None:
    given = asked_code(answer(device_auth_id="fake-device", **body))
    assert given.device_code == Secret("fake-device")
    assert (given.user_code, given.expires_in, given.interval) == ("WXYZ-1", seconds, interval)
    assert given.url == "https://auth.openai.com/codex/device"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(404, detail="no"), Permanent),
        (answer(device_auth_id="fake-device"), Transient),
        (answer(device_auth_id="fake-device", user_code="W" * 65), Transient),
        (answer(user_code="WXYZ"), Transient),
        (HttpResponse(200, {}, b"[]"), Transient),
        (HttpResponse(200, {}, b"{"), Transient),
        (answer(500, device_auth_id="fake", user_code="W"), Transient),
        (answer(400, error="invalid_client"), Misconfigured),
    ],
)
def test_an_answer_without_a_device_code(said: HttpResponse, kind: type[Failure]) -> None:
    assert isinstance(failure(lambda: asked_code(said)), kind)


def test_without_a_device_url_there_is_no_device_login() -> None:
    codex = Codex(replace(DEFAULTS, endpoints=Endpoints()), READING)
    assert isinstance(failure(lambda: asked_code(answer(), codex)), Misconfigured)


APPROVED = answer(authorization_code="fake-code", code_verifier="v" * 43, code_challenge="c")


def polled(*said: HttpResponse | Failure, given: DeviceCode = GIVEN) -> tuple[list[HttpRequest], list[float], Tokens]:
    flow = CODEX.poll(given, CLIENT, lambda: NOW)
    left, requests, pauses = iter(said), [], []
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = flow.send(HttpResponse(0))
                continue
            requests.append(step)
            each = next(left)
            step = flow.send(each) if isinstance(each, HttpResponse) else flow.throw(FlowFailedError(each))
    except StopIteration as ended:
        return requests, pauses, ended.value


def test_polling_waits_for_the_person_and_exchanges_the_code_with_its_verifier() -> None:
    grant = answer(access_token=token(exp=int(T + DAY)), refresh_token="fake-refresh")
    requests, pauses, tokens = polled(
        answer(403), answer(404), answer(500), Transient("away"), AnswerLost("cut"), answer(429), answer(403), APPROVED, grant
    )  # fmt: skip
    assert pauses == [5.0, 5.0, 5.0, 10.0, 20.0, 40.0, 60.0, 5.0]
    assert tokens.expires_at == T + DAY
    poll, exchange = requests[0], requests[-1]
    assert poll.url == "https://auth.openai.com/api/accounts/deviceauth/token"
    assert poll.json == {"device_auth_id": Secret("fake-device"), "user_code": "WXYZ-1"}
    assert exchange.form == {
        "grant_type": "authorization_code",
        "code": Secret("fake-code"),
        "redirect_uri": "https://auth.openai.com/deviceauth/callback",
        "code_verifier": Secret("v" * 43),
        "client_id": DEFAULTS.client_id,
    }


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ([answer(400, error="something_new")], Transient),
        ([answer(400, error="invalid_client")], Misconfigured),
        ([answer(authorization_code="fake")], Transient),
        ([APPROVED, answer(400, error="invalid_grant")], Permanent),
    ],
)
def test_polling_ends_with_a_refusal(said: list[HttpResponse], kind: type[Failure]) -> None:
    assert isinstance(failure(lambda: polled(*said)), kind)


@pytest.mark.parametrize(
    "said", [answer(code_verifier="v" * 43), answer(authorization_code="fake\n\x01code"), answer()]
)
def test_an_approval_without_a_code_is_asked_for_again(said: HttpResponse) -> None:
    assert polled(said, APPROVED, answer(access_token="fake-access"))[2].access_token


def test_polling_waits_as_long_as_it_is_told_and_no_longer_than_the_code_lasts() -> None:
    limited = HttpResponse(429, {"retry-after": "50"}, b"{}")
    with pytest.raises(FlowFailedError) as caught:
        polled(limited, answer(403), given=replace(GIVEN, expires_in=40.0))
    assert caught.value.failure == Permanent(device.EXPIRED, "the code was not approved in time")


# --- afterwards ---


def test_a_renewal_sends_what_cliproxyapi_sends() -> None:
    [request], _ = run_canned(CODEX.refresh(RECORD, CLIENT, NOW), [answer(access_token="fake-2", expires_in=60)])
    assert request.form == {
        "grant_type": "refresh_token",
        "refresh_token": Secret("fake-refresh-1"),
        "scope": "openid profile email",
        "client_id": DEFAULTS.client_id,
    }


@pytest.mark.parametrize(
    ("access", "seconds"),
    [(token(exp=int(T + DAY)), DAY), ("fake-opaque", 10 * DAY), (token(exp=int(T + 900 * DAY)), 400 * DAY)],
)
def test_the_end_of_a_new_token(access: str, seconds: float) -> None:
    assert renewed(answer(access_token=access)).expires_at == T + seconds
    assert renewed(answer(access_token=access, expires_in=60)).expires_at == T + 60


def test_every_field_of_an_answer_may_be_absent() -> None:
    tokens = renewed(answer(refresh_token="fake-refresh-2"))
    assert tokens == replace(OLD, refresh_token=Secret("fake-refresh-2"), last_refresh=T)
    tokens = renewed(answer(id_token="fake-id"))
    assert tokens == replace(OLD, id_token=Secret("fake-id"), last_refresh=T)
    tokens = renewed(answer(access_token="fake-access-2", expires_in=5))
    assert (tokens.refresh_token, tokens.id_token) == (OLD.refresh_token, ID)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (answer(401, detail="Unauthorized"), Permanent),
        (HttpResponse(401, {}, b""), Permanent),
        (HttpResponse(401, {"content-type": "text/html"}, b"<html>"), Transient),
        (answer(401, error="temporarily_unavailable"), Transient),
        (answer(401, error="invalid_client"), Misconfigured),
        (answer(400, error={"message": "no", "code": "refresh_token_reused"}), Permanent),
        (answer(400, error="odd"), Transient),
        (answer(429, error={"type": "usage_limit_reached", "resets_in_seconds": 30}), RateLimited),
        (answer(400, error={"type": "usage_limit_reached"}), RateLimited),
        (answer(), AnswerLost),
    ],
)
def test_failures_of_a_renewal(said: HttpResponse, kind: type[Failure]) -> None:
    assert isinstance(failure(lambda: renewed(said)), kind)


def test_nothing_to_renew_with_is_told_before_anything_is_sent() -> None:
    assert isinstance(failure(lambda: renewed(old=replace(OLD, refresh_token=None))), Permanent)


def test_revoking_is_json() -> None:
    request = CODEX.revoke(RECORD, CLIENT)
    assert request is not None
    assert request.json == {"token": OLD.refresh_token, "token_type_hint": "refresh_token", "client_id": CLIENT.id}
    request = CODEX.revoke(replace(RECORD, tokens=Tokens(Secret("fake"))), CLIENT)
    assert request is not None
    assert request.json == {"token": Secret("fake"), "token_type_hint": "access_token", "client_id": CLIENT.id}
    assert CODEX.revoke(replace(RECORD, tokens=Tokens(None)), CLIENT) is None
    assert Codex(replace(DEFAULTS, endpoints=Endpoints()), READING).revoke(RECORD, CLIENT) is None


# --- quota ---


def limits(said: HttpResponse, record: Record = RECORD) -> object:
    flow = CODEX.quota(record, NOW)
    assert flow is not None
    [request], quota = run_canned(flow, [said])
    assert request.url == "https://chatgpt.com/backend-api/wham/usage"
    assert request.headers.get("Chatgpt-Account-Id") == record.facts.get("account_id")
    return quota.plan, [(each.name, each.used, each.resets_at) for each in quota.windows], len(quota.notes)


def test_limits_are_read_as_far_as_they_can_be() -> None:
    week = {"used_percent": 250, "limit_window_seconds": 604_800, "reset_after_seconds": 30}
    said = answer(plan_type="pro", rate_limit={"limit_reached": True, "primary_window": 5, "secondary_window": week})
    assert limits(said) == ("pro", [("7 days", 1.0, T + 30)], 1)
    odd = {"used_percent": None, "limit_window_seconds": 7200, "reset_at": T}
    said = answer(rate_limit={"primary_window": odd, "secondary_window": {"used_percent": 5}})
    assert limits(said, replace(RECORD, facts={})) == (None, [("2 hours", None, T), ("limit", 0.05, None)], 0)
    assert limits(answer(rate_limit={"primary_window": {}})) == (None, [], 1)
    assert limits(answer(rate_limit=[])) == (None, [], 1)
    assert isinstance(failure(lambda: limits(answer(401))), Transient)


def test_limits_need_a_token_and_an_endpoint() -> None:
    flow = CODEX.quota(replace(RECORD, tokens=Tokens(None)), NOW)
    assert flow is not None
    assert run_canned(flow, [])[1].notes
    assert Codex(replace(DEFAULTS, endpoints=Endpoints()), READING).quota(RECORD, NOW) is None
