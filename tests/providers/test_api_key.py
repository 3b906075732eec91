import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.oauth.messages import run_canned
from broker.providers.api_key import GEMINI, ApiKey
from broker.providers.base import Client, FormatError, Identity

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
