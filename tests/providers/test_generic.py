import base64
import json

import pytest

from broker.config import ProviderConfig
from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpResponse
from broker.providers.base import Client, FormatError, Identity, LoginFlow
from broker.providers.generic import build
from broker.providers.naming import new_record
from tests.fakes.canned import run_canned

T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)
TABLE = ProviderConfig(
    kind="oauth2",
    authorize_url="https://idp.example.com/a",
    token_url="https://idp.example.com/t",
    userinfo_url="https://idp.example.com/me",
    client_id="me",
    scopes=("openid", "email"),
)
ACME = build("acme", TABLE)
FILE: dict[str, object] = {
    "type": "acme",
    "access_token": "fake-access-1",
    "refresh_token": "fake-refresh-1",
    "token_type": "Bearer",
    "scope": "openid email",
    "email": "a@example.com",
    "sub": "42",
    "expired": "2026-05-01T10:20:30Z",
    "last_refresh": "2026-05-01T09:20:30Z",
    "disabled": False,
}
NEW = Tokens(Secret("fake-access-2"), Secret("fake-refresh-2"), expires_at=T + 3600)


def jwt(**claims: object) -> Secret:
    return Secret("f." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".f")


def ok(**body: object) -> HttpResponse:
    return HttpResponse(200, body=json.dumps(body).encode())


def who(tokens: Tokens, *answers: HttpResponse, project: str | None = None) -> Identity:
    return run_canned(ACME.identify(tokens, NOW, project), list(answers))[1]


def test_it_is_what_the_table_says() -> None:
    assert (ACME.name, ACME.title, ACME.client_id) == ("acme", "acme", "me")
    assert ACME.redirect.port == 0
    assert ACME.policy.rotates


def test_it_claims_files_of_its_name() -> None:
    assert ACME.claims({"type": "Acme"})
    assert not ACME.claims({"type": "gemini"})
    assert not ACME.claims({"type": 5})


def test_a_file_is_read_whole() -> None:
    record = ACME.read(FILE, "acme-x.json")
    assert record.account == AccountId("acme", "a@example.com")
    assert record.tokens == Tokens(
        Secret("fake-access-1"),
        Secret("fake-refresh-1"),
        expires_at=T,
        scopes=("openid", "email"),
        last_refresh=T - 3600,
    )
    assert (record.email, record.subject, record.facts, record.disabled) == ("a@example.com", "42", {}, False)


def test_a_nested_grant_is_read_and_kept_in_step_too() -> None:
    document = {"type": "acme", "token": {"access_token": "old", "refresh_token": "fake-r"}, "base-url": "https://x"}
    record = ACME.read(document, "acme-x.json")
    assert record.tokens.refresh_token == Secret("fake-r")
    assert record.account.label == "acme-x"
    assert record.facts == {"base_url": "https://x"}
    after = ACME.write(document, NEW, NOW)
    assert after["token"] == {"access_token": "fake-access-2", "refresh_token": "fake-refresh-2"}
    assert after["access_token"] == "fake-access-2"


def test_identity_is_read_from_the_id_token_of_a_file() -> None:
    document = {"type": "acme", "access_token": "fake", "id_token": jwt(email="id@example.com", sub="7").reveal()}
    record = ACME.read(document, "x.json")
    assert (record.email, record.subject) == ("id@example.com", "7")


def test_what_is_no_login_is_refused() -> None:
    with pytest.raises(FormatError):
        ACME.read({"type": "acme", "token": "text"}, "x.json")


def test_a_renewal_changes_the_grant_and_nothing_else() -> None:
    before = {**FILE, "mine": [1]}
    after = ACME.write(before, NEW, NOW)
    assert list(after) == list(before)
    assert after == {
        **before,
        "access_token": "fake-access-2",
        "refresh_token": "fake-refresh-2",
        "expired": "2026-05-01T11:20:30Z",
        "last_refresh": "2026-05-01T10:20:30Z",
    }


def test_a_new_file_reads_back_as_the_login_it_was_made_from() -> None:
    tokens = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"), jwt(sub="42"), expires_at=T, scopes=("openid",))
    made = new_record("acme", tokens, Identity("a@example.com", "42", {"project_id": "p", "odd": "x"}), None)
    name, document = ACME.create(made, Client("me", Secret("fake-secret")), NOW)
    assert name == "acme-a@example.com.json"
    assert "fake-secret" not in json.dumps(document)
    assert "odd" not in document
    assert list(document)[:3] == ["type", "access_token", "refresh_token"]
    record = ACME.read(document, name)
    assert record.account == made.account
    assert record.tokens == Tokens(
        tokens.access_token, tokens.refresh_token, tokens.id_token, expires_at=T, scopes=("openid",), last_refresh=T
    )
    assert record.facts == {"project_id": "p"}


def test_a_new_file_without_a_name_or_an_end_keeps_its_label() -> None:
    made = new_record("acme", Tokens(Secret("fake-a")), Identity(), "work")
    name, document = ACME.create(made, Client("me"), NOW)
    assert name == "acme-work.json"
    assert document["label"] == "work"
    assert "expired" not in document
    assert ACME.read(document, name).account == made.account


def test_the_registration_of_a_file() -> None:
    assert ACME.client_of(FILE) is None
    assert ACME.client_of({"client_id": "x", "client_secret": "fake"}) == Client("x", Secret("fake"))


def test_who_logged_in_comes_from_the_id_token() -> None:
    tokens = Tokens(Secret("fake-a"), id_token=jwt(email="id@example.com", sub="7"))
    assert who(tokens, project="p") == Identity("id@example.com", "7", {"project_id": "p"})


@pytest.mark.parametrize("name", ["sub", "id"])
def test_else_from_userinfo(name: str) -> None:
    assert who(Tokens(Secret("fake-a")), ok(**{name: "42", "email": "me@example.com"})) == Identity(
        "me@example.com", "42"
    )


def test_userinfo_about_somebody_else_is_not_used() -> None:
    tokens = Tokens(Secret("fake-a"), id_token=jwt(sub="7"))
    assert who(tokens, ok(sub="8", email="other@example.com")) == Identity(None, "7")
    assert who(tokens, ok(sub="7", email="me@example.com")) == Identity("me@example.com", "7")


@pytest.mark.parametrize(
    "answer", [HttpResponse(403), HttpResponse(200, body=b"[]"), HttpResponse(200, body=b"<html>")]
)
def test_userinfo_that_fails_is_forgiven_where_the_subject_is_known(answer: HttpResponse) -> None:
    found = who(Tokens(Secret("fake-a"), id_token=jwt(sub="7")), answer)
    assert found.subject == "7"
    assert found.notes
    with pytest.raises(FlowFailedError):
        who(Tokens(Secret("fake-a")), answer)


def test_without_id_token_and_userinfo_the_login_has_no_name() -> None:
    bare = build("acme", ProviderConfig(kind="oauth2", token_url="https://idp.example.com/t", client_id="me"))
    assert run_canned(bare.identify(Tokens(Secret("fake-a")), NOW), [])[1] == Identity()


# --- grants of the program's own ---

PROGRAM = build(
    "acme",
    ProviderConfig(
        kind="oauth2",
        token_url="https://idp.example.com/t",
        revoke_url="https://idp.example.com/r",
        client_id="program",
        client_secret_env="KEY",
        scopes=("read",),
        extra_params={"audience": "api"},
    ),
)
CLIENT = Client("program", Secret("fake-secret"))
ANSWER = HttpResponse(200, body=b'{"access_token":"fake-access-9","expires_in":600,"refresh_token":"fake-unwanted"}')


def granted() -> tuple[Record, dict[str, object]]:
    _, (tokens, identity) = run_canned(PROGRAM.grant_to_client(CLIENT, NOW), [ANSWER])
    record = new_record("acme", tokens, identity, None)
    name, document = PROGRAM.create(record, CLIENT, NOW)
    assert name == "acme-program.json"
    return record, document


def test_which_flows_there_are_follows_from_the_table() -> None:
    assert PROGRAM.flows == (LoginFlow.CLIENT_CREDENTIALS,)
    both = ProviderConfig(
        kind="oauth2", authorize_url="https://a", token_url="https://t", client_id="x", client_secret_file="f"
    )
    assert build("acme", both).flows == (LoginFlow.CODE, LoginFlow.CLIENT_CREDENTIALS)
    public = ProviderConfig(kind="oauth2", token_url="https://t", client_id="x")
    assert build("acme", public).flows == (LoginFlow.CODE,)
    found = ProviderConfig(kind="oauth2", issuer="https://i", client_id="x", client_secret_file="f")
    assert build("acme", found).flows == (LoginFlow.CODE, LoginFlow.CLIENT_CREDENTIALS)
    assert PROGRAM.policy.forgives_repeat
    assert not PROGRAM.policy.rotates
    assert not build("acme", both).policy.forgives_repeat


def test_a_grant_of_the_program_s_own_has_a_file_without_refresh_token() -> None:
    record, document = granted()
    assert record.account == AccountId("acme", "program")
    assert document == {
        "type": "acme", "access_token": "fake-access-9", "token_type": "Bearer", "scope": "read", "sub": "program",
        "expired": "2026-05-01T10:30:30Z", "last_refresh": "2026-05-01T10:20:30Z", "disabled": False, "grant_type": "client_credentials",
    }  # fmt: skip
    again = PROGRAM.read(document, "acme-program.json")
    assert (again.account, again.tokens.refresh_digest()) == (record.account, record.tokens.refresh_digest())
    assert again.facts == {"grant_type": "client_credentials"}


def test_it_is_renewed_by_asking_again() -> None:
    record, document = granted()
    foreign = {**document, "refreshToken": "fake-foreign", "note": 1}
    known = PROGRAM.read(foreign, "x.json")
    assert known.tokens.refresh_token == record.tokens.refresh_token
    [asked], tokens = run_canned(PROGRAM.refresh(known, CLIENT, NOW), [ANSWER])
    assert asked.spends
    assert asked.form is not None
    assert (asked.form["grant_type"], asked.form["audience"]) == ("client_credentials", "api")
    assert tokens.refresh_digest() == known.tokens.refresh_digest()
    assert tokens.scopes == ("read",)
    assert PROGRAM.write(foreign, tokens, NOW) == {**foreign, "access_token": "fake-access-9"}


def test_a_file_that_lost_its_token_is_still_renewed() -> None:
    record = PROGRAM.read({"type": "acme", "grant_type": "client_credentials"}, "x.json")
    assert record.tokens.access_token is None
    assert record.tokens.refresh_token


def test_only_its_access_token_can_be_revoked() -> None:
    record, _ = granted()
    request = PROGRAM.revoke(record, CLIENT)
    assert request is not None
    assert request.form is not None
    assert request.form["token"] == Secret("fake-access-9")
    person = ACME.read(FILE, "x.json")
    assert build("acme", TABLE).revoke(person, CLIENT) is None


def test_a_person_s_login_of_the_same_provider_is_renewed_as_ever() -> None:
    record = PROGRAM.read(FILE, "x.json")
    [asked], _ = run_canned(PROGRAM.refresh(record, CLIENT, NOW), [ANSWER])
    assert asked.form is not None
    assert asked.form["grant_type"] == "refresh_token"
    assert "refresh_token" in PROGRAM.create(record, CLIENT, NOW)[1]
