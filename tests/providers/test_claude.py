import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.providers.base import Authorization, Client, Endpoints, Identity, LoginFlow, Quota, QuotaWindow
from broker.providers.claude import DEFAULTS, READING, Claude
from broker.providers.identity import same_login
from broker.providers.naming import new_record
from tests.fakes.canned import run_canned

CLAUDE = Claude(DEFAULTS, READING)
CLIENT = Client(DEFAULTS.client_id)
SEED = Secret("s" * 43)
SETUP = CLAUDE.for_login({"setup-token": "true"}, SEED)
T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)
YEAR = 31_536_000
TOKENS = Tokens(Secret("fake-access"), Secret("fake-refresh"), expires_at=T + 28_800, scopes=("user:inference",))
WAY = Authorization("https://x.example", "http://localhost:54545/callback", Secret("fake-state"), Secret("v" * 43))


def answer(body: object, status: int = 200, **headers: str) -> HttpResponse:
    return HttpResponse(status, headers, json.dumps(body).encode())


def record(**changes: object) -> Record:
    made = Record(AccountId("claude", "a@example.com"), TOKENS, "a@example.com", facts={"scope_kind": "full"})
    return replace(made, **changes)  # type: ignore[arg-type]


def refused(status: int, body: object) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(CLAUDE.refresh(record(), CLIENT, NOW), [answer(body, status)])
    return caught.value.failure


def test_what_it_is() -> None:
    assert CLAUDE.flows == (LoginFlow.CODE,)
    assert (CLAUDE.redirect.host, CLAUDE.redirect.port, CLAUDE.redirect.path) == ("localhost", 54545, "/callback")
    assert CLAUDE.redirect.manual_uri == "https://platform.claude.com/oauth/code/callback"
    assert CLAUDE.headers == {"User-Agent": "axios/1.15.2"}
    assert CLAUDE.extra_params == {"code": "true"}
    assert set(CLAUDE.options) == {"paste", "setup-token"}
    # Earlier than CLIProxyAPI, also where a token lives its usual eight hours.
    assert min(CLAUDE.policy.lead_seconds, CLAUDE.policy.lead_share * 28_800) > 4 * 3600


# --- setup tokens ---


def test_a_setup_token_is_asked_for_with_one_scope() -> None:
    assert SETUP.scopes == ("user:inference",)
    assert CLAUDE.for_login({}, SEED).scopes == CLAUDE.scopes


def test_the_code_can_be_pasted_from_anthropics_page() -> None:
    assert CLAUDE.for_login({"paste": "No"}, SEED).redirect == CLAUDE.redirect
    login = CLAUDE.for_login({"paste": "yes"}, SEED)
    assert login.redirect == replace(CLAUDE.redirect, loopback=False)
    assert login.scopes == CLAUDE.scopes


@pytest.mark.parametrize("option", ["setup-token", "paste"])
def test_options_are_true_or_false(option: str) -> None:
    with pytest.raises(BrokerError) as caught:
        CLAUDE.for_login({option: "perhaps"}, SEED)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("flag", ["is_setup_token", "setup_token"])
@pytest.mark.parametrize("expired", ["2027-05-01T10:20:30Z", None])
def test_a_setup_token_is_never_renewed(flag: str, expired: str | None) -> None:
    document = {"type": "claude", "access_token": "fake", "refresh_token": "fake-stray", flag: True, "expired": expired}
    found = CLAUDE.read(document, "claude-x.json")
    assert found.tokens.refresh_token is None
    assert found.tokens.expires_at == (T + YEAR if expired else None)
    assert found.facts["scope_kind"] == "setup-token"
    assert CLAUDE.quota(found, NOW) is None
    with pytest.raises(FlowFailedError) as caught:
        run_canned(CLAUDE.refresh(found, CLIENT, NOW), [])
    assert isinstance(caught.value.failure, Permanent)


def test_a_flag_that_says_no_makes_no_setup_token() -> None:
    document = {"access_token": "fake", "refresh_token": "fake-2", "is_setup_token": False}
    found = CLAUDE.read(document, "claude-x.json")
    assert found.facts == {"scope_kind": "full"}
    assert found.tokens.refresh_token


def test_a_setup_tokens_file_without_a_token_keeps_what_it_has() -> None:
    found = CLAUDE.read({"refresh_token": "fake", "is_setup_token": True}, "claude-x.json")
    assert found.tokens.refresh_token


def test_a_setup_tokens_file_is_never_given_a_refresh_token() -> None:
    document: dict[str, object] = {"access_token": "fake-1", "is_setup_token": True}
    assert CLAUDE.write(document, TOKENS, NOW) == {
        "access_token": "fake-access",
        "is_setup_token": True,
        "expired": "2026-05-01T18:20:30Z",
    }


def test_a_setup_token_and_a_full_login_of_one_person_are_two() -> None:
    both = record(), record(facts={"scope_kind": "setup-token"})
    assert not same_login(*both)
    assert {CLAUDE.file_name(each, NOW) for each in both} == {
        "claude-a@example.com.json",
        "claude-a@example.com-setup-token.json",
    }


def test_a_setup_tokens_exchange_asks_for_a_year_and_drops_what_could_renew_it() -> None:
    given = answer({"access_token": "fake-1", "refresh_token": "fake-2"})
    asked, tokens = run_canned(SETUP.exchange(WAY, Secret("fake-code"), CLIENT, NOW), [given])
    assert asked[0].json is not None
    assert asked[0].json["expires_in"] == YEAR
    assert (tokens.refresh_token, tokens.expires_at) == (None, T + YEAR)
    assert tokens.facts == {"scope_kind": "setup-token"}
    asked, identity = run_canned(SETUP.identify(tokens, NOW), [])
    assert identity == Identity(facts={"scope_kind": "setup-token"})
    name, document = SETUP.create(new_record("claude", tokens, identity, "work"), CLIENT, NOW)
    assert name == "claude-work-setup-token.json"
    assert "refresh_token" not in document
    assert (document["scope"], document["is_setup_token"], document["skip_account_profile"]) == (
        "user:inference",
        True,
        True,
    )


# --- logging in ---


def test_the_exchange_is_json_with_the_state() -> None:
    given = answer({"access_token": "fake-1", "refresh_token": "fake-2", "account": {"email_address": "a@example.com"}})
    asked, tokens = run_canned(CLAUDE.exchange(WAY, Secret("fake-code"), CLIENT, NOW), [given])
    assert asked[0].json == {
        "grant_type": "authorization_code",
        "code": Secret("fake-code"),
        "redirect_uri": "http://localhost:54545/callback",
        "client_id": CLIENT.id,
        "code_verifier": Secret("v" * 43),
        "state": Secret("fake-state"),
    }
    assert asked[0].form is None
    assert not asked[0].spends
    assert asked[0].headers["User-Agent"] == "axios/1.15.2"
    assert tokens.expires_at == T + 28_800
    assert tokens.facts == {"email": "a@example.com", "scope_kind": "full"}


def test_the_profile_counts_before_what_the_exchange_told() -> None:
    tokens = replace(TOKENS, facts={"email": "old@example.com", "organization_name": "Old", "scope_kind": "full"})
    profile = {"account": {"uuid": "u", "email": "new@example.com"}, "organization": {"organization_type": "other"}}
    asked, identity = run_canned(CLAUDE.identify(tokens, NOW), [answer(profile)])
    assert asked[0].url == "https://api.anthropic.com/api/oauth/profile"
    assert asked[0].bearer == TOKENS.access_token
    facts = {"account_uuid": "u", "organization_name": "Old", "plan": "other", "scope_kind": "full"}
    assert identity == Identity("new@example.com", None, facts)


def test_without_a_profile_the_exchange_has_to_do() -> None:
    tokens = replace(TOKENS, facts={"email": "a@example.com"})
    _, identity = run_canned(CLAUDE.identify(tokens, NOW), [answer({}, 503)])
    assert (identity.email, len(identity.notes)) == ("a@example.com", 1)
    with pytest.raises(FlowFailedError):
        run_canned(CLAUDE.identify(TOKENS, NOW), [answer({}, 503)])
    _, identity = run_canned(CLAUDE.identify(tokens, NOW), [answer({"account": 7})])
    assert identity == Identity("a@example.com", None, {"scope_kind": "full"})


def test_where_the_profile_is_asked_for_can_be_set() -> None:
    def at(**known: str) -> Claude:
        return replace(CLAUDE, setup=replace(DEFAULTS, endpoints=Endpoints(**known)))

    asked, _ = run_canned(at(userinfo_url="https://p.example/me").identify(TOKENS, NOW), [answer({})])
    assert asked[0].url == "https://p.example/me"
    asked, _ = run_canned(at(api_url="https://p.example/").identify(TOKENS, NOW), [answer({})])
    assert asked[0].url == "https://p.example/api/oauth/profile"
    assert run_canned(at().identify(TOKENS, NOW), [])[0] == []


# --- renewing ---


def test_a_refresh_is_json_with_the_scopes() -> None:
    asked, tokens = run_canned(CLAUDE.refresh(record(), CLIENT, NOW), [answer({"access_token": "fake-2"})])
    assert asked[0].json == {
        "client_id": CLIENT.id,
        "grant_type": "refresh_token",
        "refresh_token": Secret("fake-refresh"),
        "scope": "user:inference",
    }
    assert asked[0].spends
    assert asked[0].url == "https://platform.claude.com/v1/oauth/token"
    assert tokens.refresh_token == TOKENS.refresh_token


def test_a_file_that_names_no_scopes_is_renewed_with_those_of_the_settings_or_none() -> None:
    bare = record(tokens=replace(TOKENS, scopes=()))
    asked, _ = run_canned(CLAUDE.refresh(bare, CLIENT, NOW), [answer({"access_token": "fake-2"})])
    assert asked[0].json is not None
    assert asked[0].json["scope"] == " ".join(DEFAULTS.scopes)
    none = replace(CLAUDE, setup=replace(DEFAULTS, scopes=()))
    asked, _ = run_canned(none.refresh(bare, CLIENT, NOW), [answer({"access_token": "fake-2"})])
    assert asked[0].json is not None
    assert "scope" not in asked[0].json


NESTED = {"type": "error", "error": {"type": "invalid_grant", "message": "Refresh token expired"}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant", "error_description": "Refresh token not found or invalid"}, Permanent),
        (400, {"error": "invalid_grant", "error_description": "Refresh token expired"}, Permanent),
        (401, {"error": "invalid_grant", "error_description": "No account associated with this token"}, Permanent),
        (400, NESTED, Permanent),
        (401, NESTED, Permanent),
        (403, NESTED, Transient),
        (404, NESTED, Transient),
        (200, NESTED, Transient),
        (400, {"error": "invalid_client"}, Misconfigured),
        (400, {"error": "invalid_scope"}, Misconfigured),
        (400, {"error": "unauthorized_client"}, Misconfigured),
        (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "what"}}, Transient),
        (429, {"error": {"type": "rate_limit_error", "message": "Rate limited. Please try again later."}}, RateLimited),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Transient),
        (200, {}, AnswerLost),
    ],
)
def test_refusals(status: int, body: object, kind: type) -> None:
    assert isinstance(refused(status, body), kind)


# --- the rest ---


def test_revoking_names_the_refresh_token_or_the_access_token() -> None:
    request = CLAUDE.revoke(record(), CLIENT)
    assert request is not None
    assert request.json == {
        "token": Secret("fake-refresh"),
        "token_type_hint": "refresh_token",
        "client_id": CLIENT.id,
    }
    assert request.headers["User-Agent"] == "axios/1.15.2"
    request = CLAUDE.revoke(record(tokens=replace(TOKENS, refresh_token=None)), CLIENT)
    assert request is not None
    assert request.json is not None
    assert request.json["token_type_hint"] == "access_token"
    assert CLAUDE.revoke(record(tokens=Tokens(None)), CLIENT) is None
    assert replace(CLAUDE, setup=replace(DEFAULTS, endpoints=Endpoints())).revoke(record(), CLIENT) is None


def asked_quota(body: object, status: int = 200) -> Quota:
    flow = CLAUDE.quota(record(facts={"plan": "max"}), NOW)
    assert flow is not None
    asked, found = run_canned(flow, [answer(body, status)])
    assert asked[0].url == "https://api.anthropic.com/api/oauth/usage"
    assert asked[0].headers["anthropic-beta"] == "oauth-2025-04-20"
    return found


def test_limits_are_read_in_per_cent() -> None:
    body = {
        "five_hour": {"utilization": 25, "resets_at": "2026-05-01T10:20:30Z"},
        "seven_day": {"utilization": 118, "resets_at": None},
        "seven_day_opus": {"utilization": 0.5, "resets_at": "soon"},
        "seven_day_oauth_apps": None,
        "seven_day_sonnet": {"utilization": None, "resets_at": "2026-05-01T10:20:30Z"},
        "extra_usage": {"utilization": None, "resets_at": None},
        "other_limit": {"utilization": 1},
    }
    assert asked_quota(body) == Quota(
        "max",
        (
            QuotaWindow("5 hours", 0.25, T),
            QuotaWindow("7 days", 1.0),
            QuotaWindow("7 days, opus", 0.005),
            QuotaWindow("7 days, sonnet", None, T),
            QuotaWindow("other limit", 0.01),
        ),
    )


def test_limits_that_cannot_be_read_are_a_note() -> None:
    assert asked_quota({"five_hour": "much"}).notes
    with pytest.raises(FlowFailedError):
        asked_quota({"error": {"type": "permission_error"}}, 403)
    assert CLAUDE.quota(record(tokens=Tokens(None, Secret("fake"))), NOW) is None


def test_a_new_file_has_cliproxyapis_keys_in_its_order() -> None:
    facts = {"account_uuid": "u", "organization_uuid": "o", "organization_name": "Acme", "scope_kind": "full"}
    name, document = CLAUDE.create(record(facts=facts), CLIENT, NOW)
    assert name == "claude-a@example.com.json"
    assert document == {
        "id_token": "",
        "access_token": "fake-access",
        "refresh_token": "fake-refresh",
        "last_refresh": "2026-05-01T10:20:30Z",
        "email": "a@example.com",
        "account_uuid": "u",
        "organization_uuid": "o",
        "organization_name": "Acme",
        "type": "claude",
        "expired": "2026-05-01T18:20:30Z",
        "scope": "user:inference",
        "disabled": False,
    }


def test_a_login_that_never_ends_gets_no_end() -> None:
    bare = Record(AccountId("claude", "work"), Tokens(Secret("fake")), facts={"scope_kind": "full"})
    name, document = CLAUDE.create(bare, CLIENT, NOW)
    assert name == "claude-work.json"
    assert "expired" not in document
    assert "email" not in document
    nameless = Record(AccountId("claude", "..."), Tokens(Secret("fake")))
    assert CLAUDE.file_name(nameless, NOW) == "claude-account.json"
