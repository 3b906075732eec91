import base64
import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client, Endpoints, FormatError, Identity, LoginFlow, SecretSource, SourceKind
from broker.providers.gemini import CLIENT_ID, DEFAULTS, Gemini
from broker.providers.google import READING
from broker.providers.naming import new_record
from tests.fakes.canned import run_canned

GEMINI = Gemini(DEFAULTS, READING)
T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)
NEW = Tokens(Secret("fake-access-2"), Secret("fake-refresh-2"), expires_at=T + 3600)
CLIENT = Client(CLIENT_ID, Secret("fake-secret"))
SCOPES = list(DEFAULTS.scopes)


def file(**changes: object) -> dict[str, object]:
    """A file as CLIProxyAPI 7.2.19 wrote it."""
    return {
        "token": {
            "access_token": "fake-access-1",
            "token_type": "Bearer",
            "refresh_token": "fake-refresh-1",
            "expiry": "2026-05-01T12:20:30.123456789+02:00",
            "token_uri": "https://oauth2.googleapis.com/token",
            "client_id": CLIENT_ID,
            "client_secret": "fake-secret",
            "scopes": SCOPES,
            "universe_domain": "googleapis.com",
        },
        "project_id": "my-project-123456",
        "email": "user@example.com",
        "auto": False,
        "checked": True,
        "type": "gemini",
        "disabled": False,
        **changes,
    }


def token_of(document: dict[str, object]) -> dict[str, object]:
    token = document["token"]
    assert isinstance(token, dict)
    return token


def read(document: dict[str, object], name: str = "gemini-x.json") -> Record:
    return GEMINI.read(document, name)


def test_what_it_is() -> None:
    assert (GEMINI.name, GEMINI.title, GEMINI.client_id) == ("gemini", "Gemini CLI", CLIENT_ID)
    assert (GEMINI.redirect.host, GEMINI.redirect.port, GEMINI.redirect.path) == ("localhost", 8085, "/oauth2callback")
    assert GEMINI.extra_params == {"access_type": "offline", "prompt": "consent"}
    assert GEMINI.flows == (LoginFlow.CODE,)
    assert GEMINI.needs_secret
    assert GEMINI.google
    assert not GEMINI.policy.rotates
    assert GEMINI.scopes == tuple(SCOPES)
    assert GEMINI.endpoints_needed() is None


@pytest.mark.parametrize("kind", ["gemini", "gemini-cli", "Gemini", " gemini "])
def test_it_claims_both_types(kind: str) -> None:
    assert GEMINI.claims({"type": kind})


@pytest.mark.parametrize("kind", ["antigravity", "", None, 5, ["gemini"]])
def test_it_claims_no_other(kind: object) -> None:
    assert not GEMINI.claims({"type": kind})
    assert not GEMINI.claims({})


# --- reading ---


def test_a_file_is_read_whole() -> None:
    assert read(file()) == Record(
        account=AccountId("gemini", "user@example.com"),
        tokens=Tokens(
            access_token=Secret("fake-access-1"),
            refresh_token=Secret("fake-refresh-1"),
            expires_at=pytest.approx(T + 0.123456789),
            scopes=tuple(SCOPES),
        ),
        email="user@example.com",
        facts={"project_id": "my-project-123456"},
    )


def test_the_nested_grant_counts_where_both_are_there() -> None:
    record = read(file(access_token="fake-mirror", expiry="2026-05-01T09:00:00Z", refresh_token="fake-mirror-r"))
    assert record.tokens.access_token == Secret("fake-access-1")
    assert record.tokens.refresh_token == Secret("fake-refresh-1")
    assert record.tokens.expires_at == pytest.approx(T + 0.123456789)


def test_a_flat_file_is_read_too() -> None:
    record = read(
        {"type": "gemini", "accessToken": "fake-a", "refreshToken": "fake-r", "expiry_date": 1_777_630_830_000}
    )
    assert record.tokens == Tokens(Secret("fake-a"), Secret("fake-r"), expires_at=T)


@pytest.mark.parametrize(
    ("expiry", "expires_at"),
    [
        ("2026-05-01T10:20:30Z", T), ("2026-05-01 10:20:30", T), ("2026-05-01 10:20", T - 30), (1_777_630_830, T),
        (1_777_630_830_000, T), ("1777630830", T), ("1777630830000", T), ("0001-01-01T00:00:00Z", 0.0), ("", 0.0), ("soon", 0.0), (None, 0.0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("key", ["expired", "expire", "expires_at", "expiresAt", "expiry", "expires", "expiry_date"])
def test_every_expiry(key: str, expiry: object, expires_at: float) -> None:
    document = {"type": "gemini", "token": {"access_token": "fake-a", "refresh_token": "fake-r", key: expiry}}
    assert read(document).tokens.expires_at == expires_at


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"label": "work"}, "work"),
        ({}, "user@example.com"),
        ({"email": ""}, "my-project-123456"),
        ({"email": None, "project_id": ""}, "gemini-x"),
        ({"label": "a/b"}, "a-b"),
        ({"label": 5}, "user@example.com"),
    ],
)
def test_labels(changes: dict[str, object], label: str) -> None:
    assert read(file(**changes)).account.label == label


def test_a_file_with_no_name_at_all_still_has_a_label() -> None:
    assert read(file(email="", project_id=""), ".json").account.label == "account"


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"project_id": "a,b, c"}, {"project_id": "a", "projects": "a,b,c"}),
        ({"project_id": "ALL"}, {}),
        ({"project_id": "", "project_ids": ["a", "b"]}, {"project_id": "a", "projects": "a,b"}),
        ({"project_id": "a", "project_ids": ["a"]}, {"project_id": "a"}),
        ({"project-id": "k", "project_id": None}, {"project_id": "k"}),
        ({"project_id": "a", "base-url": "https://x.example"}, {"project_id": "a", "base_url": "https://x.example"}),
        ({"project_id": None}, {}),
    ],
)
def test_facts(changes: dict[str, object], facts: dict[str, str]) -> None:
    assert read(file(**changes)).facts == facts


def test_identity_comes_from_the_id_token_where_the_file_has_no_email() -> None:
    claims = (
        base64.urlsafe_b64encode(json.dumps({"email": "id@example.com", "sub": "42"}).encode()).decode().rstrip("=")
    )
    document = file(email=None)
    token_of(document)["id_token"] = f"fake.{claims}.fake"
    record = read(document)
    assert (record.email, record.subject, record.account.label) == ("id@example.com", "42", "id@example.com")


def test_a_disabled_file_is_read_as_such() -> None:
    assert read(file(disabled=True)).disabled


def test_a_plugin_file_is_read() -> None:
    record = read(
        {
            "type": "gemini-cli", "email": "user@example.com", "project_id": "p", "project_ids": ["p", "q"], "access_token": "fake-a",
            "refresh_token": "fake-r", "token_type": "Bearer", "expiry": "2026-05-01T10:20:30Z",
            "token": {"access_token": "fake-a", "refresh_token": "fake-r", "expiry": "2026-05-01T10:20:30Z"},
        }
    )  # fmt: skip
    assert record.account == AccountId("gemini", "user@example.com")
    assert record.facts == {"project_id": "p", "projects": "p,q"}


def test_an_access_token_alone_has_no_known_end() -> None:
    assert read({"type": "gemini", "token": {"access_token": "fake-a"}}).tokens.expires_at is None


@pytest.mark.parametrize(
    "document",
    [
        {"type": "gemini"},
        {"type": "gemini", "token": {}},
        {"type": "gemini", "token": "fake"},
        {"type": "gemini", "token": {"access_token": 5}},
        {"type": "gemini", "token": {"access_token": "a"}, "email": 5},
    ],
)
def test_what_is_no_login_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        read(document)


def test_the_registration_of_a_file() -> None:
    assert GEMINI.client_of(file()) == CLIENT
    assert GEMINI.client_of({"client_id": "flat", "client_secret": "fake"}) == Client("flat", Secret("fake"))
    assert GEMINI.client_of({"token": {"client_id": "public"}}) == Client("public")
    assert GEMINI.client_of({"token": {}}) is None


# --- writing ---


def test_a_renewal_changes_the_grant_and_nothing_else() -> None:
    before = file(note="mine", priority=3, unknown={"deep": [1, None]})
    untouched = copy.deepcopy(before)
    after = GEMINI.write(before, NEW, NOW)
    assert before == untouched
    assert list(after) == list(before)
    assert list(token_of(after)) == list(token_of(before))
    expected = copy.deepcopy(before)
    token_of(expected).update(
        access_token="fake-access-2", refresh_token="fake-refresh-2", expiry="2026-05-01T13:20:30.000000000+02:00"
    )
    assert after == expected


def test_a_flat_mirror_is_kept_in_step() -> None:
    before = file(
        access_token="old", refresh_token="old", expiry="2026-05-01T09:00:00Z", expired=1, email="user@example.com"
    )
    after = GEMINI.write(before, NEW, NOW)
    assert (after["access_token"], after["refresh_token"]) == ("fake-access-2", "fake-refresh-2")
    assert after["expiry"] == "2026-05-01T11:20:30Z"
    assert after["expired"] == 1_777_634_430
    assert token_of(after)["access_token"] == "fake-access-2"


def test_a_file_without_mirror_gets_none() -> None:
    assert set(GEMINI.write(file(), NEW, NOW)) == set(file())


def test_a_flat_file_stays_flat() -> None:
    after = GEMINI.write({"type": "gemini", "access_token": "old", "refresh_token": "old"}, NEW, NOW)
    assert after == {
        "type": "gemini", "access_token": "fake-access-2", "refresh_token": "fake-refresh-2", "expiry": "2026-05-01T11:20:30Z",
    }  # fmt: skip


def test_a_refresh_token_is_never_blanked() -> None:
    after = GEMINI.write(file(), Tokens(Secret("fake-access-2"), None, expires_at=T + 1), NOW)
    assert token_of(after)["refresh_token"] == "fake-refresh-1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "access_token",
        "refreshToken",
        "expiry",
        "expired",
        "expires_in",
        "token",
        "Token",
        "email",
        "label",
        "project_id",
        "scopes",
        "last_refresh",
        "disabled",
    ]
)
DOCUMENTS = st.dictionaries(KEYS | st.text(max_size=6), JSON | st.text(min_size=1, max_size=8), max_size=8)


@given(DOCUMENTS, DOCUMENTS | st.none())
def test_any_document_is_read_or_refused_and_survives_a_renewal(
    top: dict[str, object], nested: dict[str, object] | None
) -> None:
    document = {**top, "type": "gemini", **({} if nested is None else {"token": nested})}
    before = copy.deepcopy(document)
    try:
        GEMINI.read(document, "x.json")
    except FormatError:
        return
    after = GEMINI.write(document, NEW, NOW)
    assert document == before
    again = GEMINI.read(after, "x.json")
    assert again.tokens.access_token == NEW.access_token
    assert again.tokens.refresh_token == NEW.refresh_token
    assert again.tokens.expires_at == NEW.expires_at
    assert set(before) <= set(after)


# --- new files ---


def test_a_new_file_is_cliproxyapi_s() -> None:
    tokens = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"), expires_at=T, scopes=tuple(SCOPES))
    identity = Identity("user@example.com", facts={"project_id": "my-project-123456"})
    name, document = GEMINI.create(new_record("gemini", tokens, identity, None), CLIENT, NOW)
    assert name == "gemini-user@example.com-my-project-123456.json"
    expected = file(checked=False)
    token_of(expected)["expiry"] = "2026-05-01T10:20:30Z"
    assert document == expected
    assert list(document) == list(expected)
    assert list(token_of(document)) == list(token_of(expected))


def test_a_new_file_with_an_id_token_a_label_and_several_projects() -> None:
    tokens = Tokens(Secret("fake-a"), Secret("fake-r"), Secret("fake.id.token"))
    facts = {"project_id": "p", "projects": "p,q", "base_url": "https://x.example"}
    name, document = GEMINI.create(
        new_record("gemini", tokens, Identity("user@example.com", facts=facts), "work"), Client(CLIENT_ID), NOW
    )
    assert name == "gemini-user@example.com-all.json"
    assert document["label"] == "work"
    assert document["project_id"] == "p,q"
    assert document["base_url"] == "https://x.example"
    assert token_of(document)["id_token"] == "fake.id.token"
    assert "client_secret" not in token_of(document)
    assert "expiry" not in token_of(document)
    record = GEMINI.read(document, name)
    assert record.account == AccountId("gemini", "work")
    assert record.facts == facts


def test_a_new_file_without_project_or_email() -> None:
    tokens = Tokens(Secret("fake-a"), Secret("fake-r"), expires_at=T)
    name, document = GEMINI.create(
        new_record("gemini", tokens, Identity(), "../evil label".replace("/", "-")), CLIENT, NOW
    )
    assert name == "gemini--evil_label.json"
    assert "email" not in document
    assert GEMINI.read(document, name).account.label == "..-evil label"


# --- requests ---


def test_a_refresh_has_no_new_refresh_token_and_a_default_life() -> None:
    asked, tokens = run_canned(
        GEMINI.refresh(read(file()), CLIENT, NOW), [HttpResponse(200, body=b'{"access_token":"fake-access-2"}')]
    )
    assert asked[0].url == "https://oauth2.googleapis.com/token"
    assert asked[0].spends
    assert tokens.refresh_token == Secret("fake-refresh-1")
    assert tokens.expires_at == T + 3600


def test_revocation() -> None:
    request = GEMINI.revoke(read(file()), CLIENT)
    assert request is not None
    assert request.url == "https://oauth2.googleapis.com/revoke"
    assert request.form == {"token": Secret("fake-refresh-1")}


def test_identify_asks_code_assist() -> None:
    claims = base64.urlsafe_b64encode(b'{"email":"id@example.com"}').decode().rstrip("=")
    tokens = Tokens(Secret("fake-a"), id_token=Secret(f"f.{claims}.f"))
    bare = replace(GEMINI, setup=replace(DEFAULTS, endpoints=Endpoints()))
    assert run_canned(bare.identify(tokens, NOW, "mine"), [])[1] == Identity(
        "id@example.com", facts={"project_id": "mine"}
    )


# --- the client secret ---


def test_where_the_secret_is_looked_for() -> None:
    sources = GEMINI.secret_sources
    assert sources[0] == SecretSource(SourceKind.AUTH_FILES, "*.json")
    assert SecretSource(SourceKind.GLOB, "{npm-root}/@google/gemini-cli/bundle/*.js") in sources
    assert SecretSource(SourceKind.ENV, "GEMINI_OAUTH_CLIENT_SECRET") in sources


def test_variables_named_after_the_vendor_say_nothing_about_another_client() -> None:
    own = replace(GEMINI, setup=replace(DEFAULTS, client_id="mine", own_client=False))
    assert SourceKind.ENV not in {source.kind for source in own.secret_sources}


def test_the_secret_is_found_in_each_kind_of_source() -> None:
    key = "GOC" + "SPX-" + "k" * 28
    env, files, programs = (SecretSource(kind, "") for kind in (SourceKind.ENV, SourceKind.AUTH_FILES, SourceKind.GLOB))
    assert GEMINI.find_secret(env, " fake-secret\n") == Secret("fake-secret")
    assert GEMINI.find_secret(env, " ") is None
    assert GEMINI.find_secret(files, json.dumps(file())) == Secret("fake-secret")
    assert GEMINI.find_secret(
        programs, f'const OAUTH_CLIENT_ID = "{CLIENT_ID}";\nconst OAUTH_CLIENT_SECRET = "{key}";'
    ) == Secret(key)


def test_limits_are_those_of_the_first_project() -> None:
    record = read(file(project_id="a,b"))
    flow = GEMINI.quota(record, NOW)
    assert flow is not None
    [asked], told = run_canned(flow, [HttpResponse(200, body=b'{"buckets":[{"modelId":"m"}]}')])
    assert (asked.url, asked.json) == (
        "https://cloudcode-pa.googleapis.com/v1internal:retrieveUserQuota",
        {"project": "a"},
    )
    assert told.windows[0].name == "m"
    assert replace(GEMINI, setup=replace(DEFAULTS, endpoints=Endpoints())).quota(record, NOW) is None


def test_the_code_can_be_pasted_from_a_page() -> None:
    assert GEMINI.for_login({}, Secret("s" * 43)).redirect == DEFAULTS.redirect
    login = GEMINI.for_login({"paste": "true"}, Secret("s" * 43))
    assert (login.redirect.manual_uri, login.redirect.loopback) == ("https://codeassist.google.com/authcode", False)
    assert set(GEMINI.options) == {"paste"}
