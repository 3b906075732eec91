import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.providers.api_key import ANTHROPIC, ANTHROPIC_LIKE, GEMINI, OPENAI, OPENAI_LIKE, ApiKey
from broker.providers.base import Client, FormatError, Identity
from broker.providers.registry import build
from tests.fakes.canned import run_canned

NOW = Now(1_700_000_000, 100)
PROVIDER = ApiKey(GEMINI)
FILE = {"type": "api-key", "provider": "gemini-api", "api_key": "fake-key", "label": "work", "mine": {"kept": 1}}


def test_it_claims_its_own_files_only() -> None:
    assert PROVIDER.claims(FILE)
    assert not PROVIDER.claims({**FILE, "provider": "other"})
    assert not PROVIDER.claims({**FILE, "type": "gemini"})


def test_a_key_is_an_account_without_end_and_without_renewal() -> None:
    record = PROVIDER.read({**FILE, "base_url": "https://example.com", "disabled": True}, "x.json")
    assert record.account == AccountId("gemini-api", "work")
    assert record.tokens == Tokens(Secret("fake-key"))
    assert record.facts == {"base_url": "https://example.com"}
    assert record.disabled
    assert PROVIDER.flows == ()


def test_without_a_label_the_file_names_it() -> None:
    assert PROVIDER.read({k: v for k, v in FILE.items() if k != "label"}, "my-key.json").account.label == "my-key"


def test_a_file_without_a_key_is_refused() -> None:
    with pytest.raises(FormatError, match="api_key"):
        PROVIDER.read({**FILE, "api_key": ""}, "x.json")


def test_writing_keeps_what_is_not_ours() -> None:
    assert PROVIDER.write(FILE, Tokens(Secret("fake-new")), NOW) == {**FILE, "api_key": "fake-new"}
    record = Record(AccountId("gemini-api", "a b"), Tokens(Secret("fake-key")), facts={"base_url": "https://e.com"})
    name, made = PROVIDER.create(record, Client(""), NOW)
    assert name == "gemini-api-a_b.json"
    assert PROVIDER.claims(made)
    assert PROVIDER.read(made, name) == record
    odd = Record(AccountId("gemini-api", "..."), Tokens(Secret("fake-key")))
    assert PROVIDER.create(odd, Client(""), NOW)[0] == "gemini-api-key.json"


def test_there_is_nobody_behind_it_and_nothing_to_renew_or_revoke() -> None:
    record = PROVIDER.read(FILE, "x.json")
    assert run_canned(PROVIDER.identify(record.tokens, NOW), []) == ([], Identity())
    assert PROVIDER.client_of(FILE) is None
    assert PROVIDER.revoke(record, Client("")) is None
    with pytest.raises(FlowFailedError) as caught:
        run_canned(PROVIDER.refresh(record, Client(""), NOW), [])
    assert isinstance(caught.value.failure, Misconfigured)


# --- keys that say where they go ---

LIKE = ApiKey(OPENAI_LIKE, header="authorization")
OPEN = ApiKey(OPENAI, header="authorization")
KEY = Secret("fake-key")


def made(base_url: str | None = "https://llm.example.com/v1/", header: str | None = None, *models: str) -> Record:
    return LIKE.record(AccountId("openai-compatible", "team"), KEY, base_url, header, models)


def test_a_key_is_an_account_with_facts() -> None:
    record = made("https://llm.example.com/v1/", "X-Team-Key", "big", "small", "big")
    assert record.facts == {"base_url": "https://llm.example.com/v1", "header": "x-team-key", "models": "big,small"}
    name, document = LIKE.create(record, Client(""), NOW)
    assert name == "openai-compatible-team.json"
    assert document == {
        "type": "api-key", "provider": "openai-compatible", "label": "team", "base_url": "https://llm.example.com/v1", "header": "x-team-key",
        "models": ["big", "small"], "api_key": "fake-key",
    }  # fmt: skip
    assert LIKE.read(document, name) == record


def test_what_is_not_said_is_as_usual() -> None:
    assert made().facts == {"base_url": "https://llm.example.com/v1", "header": "authorization"}
    account = AccountId("openai-api", "key")
    facts = OPEN.record(account, KEY, None, None, ()).facts
    assert facts == {"base_url": "https://api.openai.com/v1", "header": "authorization"}
    bare = {"type": "api-key", "provider": "openai-api", "api_key": "fake-key"}
    assert OPEN.read(bare, "x.json").facts == facts


def test_accounts_are_named_by_their_host_where_only_that_tells_them_apart() -> None:
    assert LIKE.account(None, "https://llm.example.com:8443/v1").label == "llm.example.com:8443"
    assert LIKE.account(None, None).label == "key"
    assert LIKE.account(None, "nonsense").label == "key"
    assert LIKE.account("mine", "https://llm.example.com").label == "mine"
    assert OPEN.account(None, "https://llm.example.com").label == "key"
    with pytest.raises(BrokerError):
        LIKE.account("a/b", None)


@pytest.mark.parametrize(
    "base_url",
    [
        None,
        "",
        "http://llm.example.com",
        "ftp://x",
        "https://u:p@x.example",
        "https://x.example/?k=1",
        "https://x.example/#a",
        "https://x y",
        "llm",
    ],
)
def test_keys_go_over_tls_to_an_address_that_is_one(base_url: str | None) -> None:
    with pytest.raises(BrokerError, match="base_url") as caught:
        made(base_url)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    with pytest.raises(FormatError):
        LIKE.read({"api_key": "fake-key", "base_url": base_url}, "x.json")


def test_this_machine_may_speak_plain_http() -> None:
    assert made("http://127.0.0.1:8080").facts["base_url"] == "http://127.0.0.1:8080"


@pytest.mark.parametrize("header", ["two words", "x:y", "host", "Content-Length", "é", "x" * 65])
def test_a_header_is_one_that_may_carry_a_key(header: str) -> None:
    with pytest.raises(BrokerError, match="header"):
        made("https://llm.example.com", header)


@pytest.mark.parametrize("model", ["", "a b", "a,b", "x" * 201, "a\x07"])
def test_a_model_has_a_name(model: str) -> None:
    with pytest.raises(BrokerError, match="models"):
        made("https://llm.example.com", None, model)


@pytest.mark.parametrize("key", ["", " ", "two words", "line\nend", "tab\t", "é", "x" * 4097, "\x7f"])
def test_what_cannot_be_a_key_is_refused(key: str) -> None:
    with pytest.raises(BrokerError, match="key") as caught:
        OPEN.record(AccountId("openai-api", "key"), Secret(key), None, None, ())
    assert "two" not in str(caught.value)
    with pytest.raises(FormatError, match="api_key"):
        OPEN.read({"api_key": f"a{key}b" if key.strip() else ""}, "x.json")


def test_every_api_takes_keys_and_offers_no_login() -> None:
    for setup in (GEMINI, OPENAI, ANTHROPIC, OPENAI_LIKE, ANTHROPIC_LIKE):
        provider = build({}).get(setup.name)
        assert isinstance(provider, ApiKey)
        assert provider.flows == ()
        assert provider.needs_base_url is setup.name.endswith("-compatible")
