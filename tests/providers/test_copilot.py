import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.oauth.device import DENIED, DeviceCode
from broker.oauth.failures import FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client, FormatError, LoginFlow
from broker.providers.copilot import DEFAULTS, READING, Copilot
from tests.fakes.canned import run_canned
from tests.fakes.vendors.copilot import NO_LICENCE

COPILOT = Copilot(DEFAULTS, READING)
T = 1_777_636_800.0  # 2026-05-01T12:00:00Z
DATE = {"date": "Fri, 01 May 2026 12:00:00 GMT"}
NOW = Now(T, 1.0)
CLIENT = Client(DEFAULTS.client_id)
SEED = Secret("s" * 43)
GITHUB = Secret("fake-github")
API = "https://api.individual.githubcopilot.com"
RECORD = Record(AccountId("github-copilot", "octocat"), Tokens(None, GITHUB), facts={"host": "github.com"})
GIVEN = DeviceCode(Secret("fake-device"), "WDJB-MJHT", "https://github.com/login/device", None, 900.0, 5.0)


def reply(status: int, body: object, **headers: str) -> HttpResponse:
    return HttpResponse(status, {**DATE, **headers}, json.dumps(body).encode())


def minted(**changes: object) -> HttpResponse:
    body = {"token": "fake-copilot", "expires_at": int(T) + 1800, "refresh_in": 1500, "endpoints": {"api": API}}
    return reply(200, {**body, **changes})


def renewed(answer: HttpResponse, record: Record = RECORD) -> Tokens:
    return run_canned(COPILOT.refresh(record, CLIENT, NOW), [answer])[1]


def failure(answer: HttpResponse) -> object:
    with pytest.raises(FlowFailedError) as caught:
        renewed(answer)
    return caught.value.failure


def test_what_it_is() -> None:
    assert (COPILOT.name, COPILOT.title, COPILOT.flows) == ("github-copilot", "GitHub Copilot", (LoginFlow.DEVICE,))
    assert not COPILOT.policy.rotates
    assert COPILOT.policy.forgives_repeat
    assert COPILOT.claims({"type": "copilot"})
    assert COPILOT.client_of({"client_id": "x"}) is None
    assert COPILOT.revoke(RECORD, CLIENT) is None


# --- hosts ---


@pytest.mark.parametrize(
    ("host", "device", "api"),
    [
        ("github.com", "https://github.com/login/device/code", "https://api.github.com"),
        ("https://Acme.ghe.com/", "https://acme.ghe.com/login/device/code", "https://api.acme.ghe.com"),
        ("github.acme.example", "https://github.acme.example/login/device/code", "https://github.acme.example/api/v3"),
        ("git.acme.example:8443", "https://git.acme.example:8443/login/device/code", "https://git.acme.example:8443/api/v3"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9/login/device/code", "http://127.0.0.1:9/api/v3"),
    ],
)  # fmt: skip
def test_the_host_of_a_login_decides_where_it_goes(host: str, device: str, api: str) -> None:
    made = COPILOT.for_login({"host": host}, SEED)
    assert (made.endpoints.device_url, made.endpoints.api_url) == (device, api)


@pytest.mark.parametrize(
    "host",
    ["", "acme", "acme.ghe.com/x", "http://acme.ghe.com", "http://127.0.0.1:9/x", "a@b.example", "-a.example", "a..b", "x.y#z", "ftp://a.example"],
)  # fmt: skip
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(BrokerError):
        COPILOT.for_login({"host": host}, SEED)


def test_a_url_of_the_config_counts_before_the_host() -> None:
    ours = replace(
        DEFAULTS.endpoints,
        api_url="https://mine.example/v3",
        device_url="https://mine.example/d",
        token_url="https://mine.example/t",
    )
    made = Copilot(replace(DEFAULTS, endpoints=ours), READING).for_login({"host": "acme.ghe.com"}, SEED)
    assert made.endpoints == ours


def test_a_login_is_renewed_where_it_was_made() -> None:
    record = replace(RECORD, facts={"host": "acme.ghe.com"})
    [asked], _ = run_canned(COPILOT.refresh(record, CLIENT, NOW), [minted()])
    assert asked.url == "https://api.acme.ghe.com/copilot_internal/v2/token"


def test_a_file_that_names_no_host_at_all_gets_no_token() -> None:
    record = replace(RECORD, facts={"host": "evil.example/?"})
    with pytest.raises(FlowFailedError) as caught:
        next(COPILOT.refresh(record, CLIENT, NOW))
    assert isinstance(caught.value.failure, Misconfigured)


# --- the second token ---


def test_the_second_token_is_asked_for_with_the_first() -> None:
    [asked], tokens = run_canned(COPILOT.refresh(RECORD, CLIENT, NOW), [minted()])
    assert (asked.method, asked.url) == ("GET", "https://api.github.com/copilot_internal/v2/token")
    assert (asked.bearer, asked.scheme, asked.spends) == (GITHUB, "token", True)
    assert asked.headers == {
        "User-Agent": "GithubCopilot/1.0",
        "Accept": "application/json",
        "Editor-Version": "vscode/1.100.0",
        "Editor-Plugin-Version": "copilot/1.300.0",
    }
    assert tokens == Tokens(Secret("fake-copilot"), GITHUB, expires_at=T + 1800, last_refresh=T)
    assert tokens.facts == {"api_url": API}


def test_the_end_is_measured_by_githubs_clock_and_counted_on_ours() -> None:
    late = {"date": "Fri, 01 May 2026 12:10:00 GMT"}
    assert renewed(replace(minted(), headers=late)).expires_at == T + 1200
    assert renewed(replace(minted(), headers={})).expires_at == T + 1800
    assert renewed(minted(expires_at=int(T) - 5)).expires_at == T


def test_without_an_end_the_token_lives_until_github_wants_it_renewed() -> None:
    assert renewed(minted(expires_at=None)).expires_at == T + 1500
    assert renewed(minted(expires_at=None, refresh_in=600)).expires_at == T + 600
    assert renewed(minted(expires_at=None, refresh_in="soon")).expires_at == T + 1500


@pytest.mark.parametrize("endpoints", [None, [], {}, {"api": 5}, {"api": "http://evil.example"}])
def test_an_address_that_is_none_is_left_out(endpoints: object) -> None:
    assert renewed(minted(endpoints=endpoints)).facts == {}


def test_a_login_without_a_github_token_is_told_without_a_request() -> None:
    with pytest.raises(FlowFailedError) as caught:
        next(COPILOT.refresh(replace(RECORD, tokens=Tokens(Secret("fake"))), CLIENT, NOW))
    assert isinstance(caught.value.failure, Permanent)


# --- refusals ---


def test_bad_credentials_are_final() -> None:
    told = failure(reply(401, {"message": "Bad credentials", "status": "401"}))
    assert isinstance(told, Permanent)
    assert "Bad credentials" in told.reason


def test_another_401_may_pass() -> None:
    assert isinstance(failure(reply(401, {"message": "Requires authentication"})), Transient)


def test_a_missing_licence_is_neither_the_tokens_fault_nor_hidden() -> None:
    told = failure(HttpResponse(403, DATE, NO_LICENCE.encode()))
    assert told == Misconfigured(
        "no_licence",
        "GitHub does not let this login use Copilot: Contact Support. No access to Copilot found. see https://github.com/settings/copilot",
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "Resource not accessible by integration"}, "Resource not accessible by integration"),
        ({"error_details": {"title": "No seat", "url": "javascript:x"}}, "No seat"),
        ({"error_details": "x", "other": 1}, "no reason given"),
    ],
)
def test_a_403_is_told_with_what_github_says(body: object, said: str) -> None:
    told = failure(reply(403, body))
    assert isinstance(told, Misconfigured)
    assert told.reason.endswith(said)


@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        ({"message": "no"}, {"retry-after": "60"}, 60.0),
        ({"message": "no"}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(T) + 90)}, 90.0),
        ({"message": "no"}, {"x-ratelimit-remaining": "0"}, None),
        ({"message": "You have exceeded a secondary rate limit."}, {}, None),
    ],
)
def test_a_403_of_a_rate_limit_is_one(body: object, headers: dict[str, str], wait: float | None) -> None:
    told = failure(reply(403, body, **headers))
    assert isinstance(told, RateLimited)
    assert told.retry_after == wait


def test_other_refusals_may_pass() -> None:
    assert isinstance(failure(reply(404, {"message": "Not Found"})), Misconfigured)
    for answer in (HttpResponse(403, {}, b"<html>"), HttpResponse(404, {}, b""), HttpResponse(502, {}, b"x")):
        assert isinstance(failure(answer), Transient)


# --- login ---


def polled(*answers: HttpResponse) -> Tokens:
    granted = reply(200, {"access_token": "fake-github", "token_type": "bearer", "scope": "read:user"})
    return run_canned(COPILOT.poll(GIVEN, CLIENT, lambda: NOW), [granted, *answers])[1]


def test_a_login_ends_with_both_tokens() -> None:
    tokens = polled(minted())
    assert (tokens.refresh_token, tokens.access_token) == (GITHUB, Secret("fake-copilot"))
    assert tokens.scopes == ("read:user",)


def test_the_second_token_is_asked_for_again_and_can_wait() -> None:
    assert polled(HttpResponse(502), minted()).access_token
    assert polled(HttpResponse(502), HttpResponse(429), HttpResponse(502)) == Tokens(
        None, GITHUB, scopes=("read:user",)
    )


@pytest.mark.parametrize(
    "answer", [HttpResponse(403, {}, NO_LICENCE.encode()), reply(401, {"message": "Bad credentials"})]
)
def test_a_login_that_is_of_no_use_ends_as_refused(answer: HttpResponse) -> None:
    with pytest.raises(FlowFailedError) as caught:
        polled(answer)
    assert isinstance(caught.value.failure, Permanent)
    assert caught.value.failure.code == DENIED


def test_polling_knows_githubs_words() -> None:
    for word, kind in (("incorrect_device_code", Permanent), ("device_flow_disabled", Misconfigured)):
        with pytest.raises(FlowFailedError) as caught:
            run_canned(COPILOT.poll(GIVEN, CLIENT, lambda: NOW), [reply(200, {"error": word})])
        assert isinstance(caught.value.failure, kind)


TOKENS = Tokens(Secret("fake-copilot"), GITHUB, facts={"api_url": API})


def test_who_logged_in() -> None:
    answers = [reply(200, {"login": "octocat"}), reply(200, {"copilot_plan": "business"})]
    asked, identity = run_canned(COPILOT.identify(TOKENS, NOW), answers)
    assert [each.url for each in asked] == [
        "https://api.github.com/user",
        "https://api.github.com/copilot_internal/user",
    ]
    assert all((each.bearer, each.scheme) == (GITHUB, "token") for each in asked)
    assert (identity.email, identity.subject, identity.notes) == (None, "octocat", ())
    assert identity.facts == {"host": "github.com", "api_url": API, "plan": "business"}


def test_on_another_host_the_name_says_so_and_the_address_may_come_from_the_plan() -> None:
    made = COPILOT.for_login({"host": "acme.ghe.com"}, SEED)
    answers = [reply(200, {"login": "octocat"}), reply(200, {"endpoints": {"api": "https://copilot.acme.ghe.com"}})]
    _, identity = run_canned(made.identify(Tokens(None, GITHUB), NOW), answers)
    assert identity.subject == "octocat@acme.ghe.com"
    assert identity.facts == {"host": "acme.ghe.com", "api_url": "https://copilot.acme.ghe.com"}
    assert identity.notes


def test_the_plan_is_nothing_a_login_fails_for_and_the_name_is() -> None:
    _, identity = run_canned(COPILOT.identify(TOKENS, NOW), [reply(200, {"login": "octocat"}), HttpResponse(404)])
    assert "plan" not in identity.facts
    for answer in (HttpResponse(502), reply(200, {})):
        with pytest.raises(FlowFailedError):
            run_canned(COPILOT.identify(TOKENS, NOW), [answer])


def test_who_it_is_may_be_asked_elsewhere() -> None:
    elsewhere = replace(DEFAULTS, endpoints=replace(DEFAULTS.endpoints, userinfo_url="https://mine.example/me"))
    asked, _ = run_canned(
        Copilot(elsewhere, READING).identify(TOKENS, NOW), [reply(200, {"login": "o"}), reply(200, {})]
    )
    assert asked[0].url == "https://mine.example/me"


# --- limits ---


def test_limits() -> None:
    snapshots = {
        "premium_interactions": {"entitlement": 300, "remaining": 75, "percent_remaining": 25.0},
        "chat": {"unlimited": True},
        "completions": {"entitlement": 200, "remaining": 50},
    }
    body = {"copilot_plan": "individual", "quota_reset_date": "2026-06-01", "quota_snapshots": snapshots}
    _, quota = run_canned(COPILOT.quota(RECORD, NOW), [reply(200, body)])
    assert quota.plan == "individual"
    assert [(w.name, w.used, w.resets_at, w.note) for w in quota.windows] == [
        ("premium requests", 0.75, T + 30.5 * 86_400, "75 of 300 left"),
        ("chat", None, None, "unlimited"),
        ("completions", 0.75, T + 30.5 * 86_400, "50 of 200 left"),
    ]
    assert quota.notes == ()


@pytest.mark.parametrize(
    ("snapshot", "used"),
    [
        ({"percent_remaining": -5.0}, 1.0),
        ({"percent_remaining": 120.0}, 0.0),
        ({}, None),
        ({"remaining": 5, "entitlement": 0}, None),
        ({"percent_remaining": True}, None),
    ],
)
def test_odd_limits(snapshot: dict[str, object], used: float | None) -> None:
    _, quota = run_canned(COPILOT.quota(RECORD, NOW), [reply(200, {"quota_snapshots": {"chat": snapshot}})])
    assert quota.windows[0].used == used


def test_limits_that_cannot_be_read_are_a_note_and_a_refusal_is_one() -> None:
    for answer in (HttpResponse(200, {}, b"no"), reply(200, []), reply(200, {"quota_snapshots": [], "x": 1})):
        _, quota = run_canned(COPILOT.quota(RECORD, NOW), [answer])
        assert quota.notes
    with pytest.raises(FlowFailedError):
        run_canned(COPILOT.quota(RECORD, NOW), [HttpResponse(401)])


# --- the file ---


def test_a_file_of_plus_is_read_without_a_copilot_token() -> None:
    document = {
        "access_token": "fake-github",
        "token_type": "bearer",
        "scope": "user:email",
        "username": "octocat",
        "type": "github-copilot",
    }
    record = COPILOT.read(document, "github-copilot-octocat.json")
    assert str(record.account) == "github-copilot/octocat"
    assert record.tokens == Tokens(None, GITHUB, scopes=("user:email",))
    assert record.facts == {"host": "github.com"}


def test_a_file_without_a_name_is_called_by_its_own() -> None:
    assert COPILOT.read({"access_token": "fake"}, "copilot-x.json").account.label == "copilot-x"
    assert COPILOT.read({"access_token": "fake", "username": "a", "label": "work"}, "x.json").account.label == "work"


@pytest.mark.parametrize("document", [{}, {"access_token": ""}, {"access_token": 5}])
def test_a_file_without_a_github_token_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        COPILOT.read(document, "x.json")


def test_the_copilot_token_never_takes_the_github_tokens_place() -> None:
    document: dict[str, object] = {"access_token": "fake-github", "timestamp": 5, "host": "acme.ghe.com"}
    after = COPILOT.write(document, replace(TOKENS, expires_at=T, facts={"api_url": API, "x": "y"}), NOW)
    assert (after["access_token"], after["timestamp"], after["api_url"]) == ("fake-github", 5, API)
    assert "x" not in after
    assert COPILOT.read(after, "x.json").tokens.access_token == Secret("fake-copilot")


def test_a_new_github_token_makes_the_old_copilot_token_void() -> None:
    after = COPILOT.write({"access_token": "fake-github"}, replace(TOKENS, expires_at=T), NOW)
    assert COPILOT.read({**after, "access_token": "fake-other"}, "x.json").tokens.access_token is None


@pytest.mark.parametrize(
    ("record", "name"),
    [
        (Record(AccountId("github-copilot", "octocat"), TOKENS, None, "octocat", {"host": "github.com"}), "github-copilot-octocat.json"),
        (
            Record(AccountId("github-copilot", "work"), TOKENS, None, "octocat@acme.ghe.com", {"host": "acme.ghe.com"}, disabled=True),
            "github-copilot-octocat@acme.ghe.com.json",
        ),
        (Record(AccountId("github-copilot", "nobody"), TOKENS, facts={"host": "github.com"}), "github-copilot-nobody.json"),
    ],
)  # fmt: skip
def test_a_new_file_reads_back(record: Record, name: str) -> None:
    made, document = COPILOT.create(record, CLIENT, NOW)
    assert made == name
    again = COPILOT.read(document, made)
    assert (again.account, again.disabled) == (record.account, record.disabled)
    assert again.facts == {**record.facts, "api_url": API}
    assert again.subject == record.subject or record.subject is None
    assert document["scope"] == "read:user"
    assert ("host" in document) is (record.facts["host"] != "github.com")
