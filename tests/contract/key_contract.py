"""What every provider of API keys must do: a key is added, kept, replaced and handed out, and never sent anywhere by us.

A subclass of `KeyContract` names its provider, and where such keys go.
"""

import copy
import json
from dataclasses import replace
from typing import ClassVar

import pytest

from broker.model.account import Record
from broker.model.clock import Now
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.providers.api_key import ApiKey
from broker.providers.base import Client, FormatError
from broker.providers.registry import build
from tests.fakes.canned import run_canned

KEY = Secret("fake-key-1")
NOW = Now(1_777_636_800.0, 1.0)
NOBODY = Client("")


class KeyContract:
    """The suite."""

    name: ClassVar[str]
    base_url: ClassVar[str | None] = None
    """What an account must say; None where the provider knows."""

    @property
    def provider(self) -> ApiKey:
        found = build({}).get(self.name)
        assert isinstance(found, ApiKey)
        return found

    def added(self, label: str | None = "work", models: tuple[str, ...] = ("a", "b")) -> Record:
        account = self.provider.account(label, self.base_url)
        return self.provider.record(account, KEY, self.base_url, None, models)

    def test_a_new_file_reads_back_as_the_account(self) -> None:
        record = self.added()
        name, document = self.provider.create(record, NOBODY, NOW)
        assert name == f"{self.name}-work.json"
        document = json.loads(json.dumps(document))
        assert [each.name for each in build({}) if each.claims(document)] == [self.name]
        assert self.provider.read(document, name) == record

    def test_without_a_label_there_is_a_name(self) -> None:
        assert self.added(None).account.label

    def test_another_key_changes_nothing_else(self) -> None:
        name, document = self.provider.create(self.added(), NOBODY, NOW)
        before: dict[str, object] = {"note": "mine", **document, "x-unknown": {"deep": [1, None]}}
        kept = copy.deepcopy(before)
        tokens = replace(self.added().tokens, access_token=Secret("fake-key-2"))
        after = self.provider.write(before, tokens, NOW)
        assert before == kept
        assert list(after) == list(before)
        assert {key: value for key, value in after.items() if key != "api_key"} == {
            key: value for key, value in before.items() if key != "api_key"
        }
        assert self.provider.read(after, name).tokens.access_token == Secret("fake-key-2")

    @pytest.mark.parametrize("wrong", [{"api_key": ""}, {"api_key": 5}, {"api_key": None}, {"api_key": "two words"}])
    def test_a_file_whose_key_is_none_is_refused(self, wrong: dict[str, object]) -> None:
        name, document = self.provider.create(self.added(), NOBODY, NOW)
        with pytest.raises(FormatError) as caught:
            self.provider.read({**document, **wrong}, name)
        assert "two words" not in str(caught.value)

    def test_a_key_goes_nowhere_but_over_tls(self) -> None:
        with pytest.raises(BrokerError):
            self.provider.record(self.added().account, KEY, "http://api.example.com", None, ())

    def test_there_is_nothing_to_renew_to_ask_or_to_revoke(self) -> None:
        record = self.added()
        with pytest.raises(FlowFailedError) as caught:
            run_canned(self.provider.refresh(record, NOBODY, NOW), [])
        assert isinstance(caught.value.failure, Misconfigured)
        assert self.provider.quota(record, NOW) is None
        assert self.provider.revoke(record, NOBODY) is None
        assert not record.tokens.refresh_token
        assert record.tokens.expires_at is None

    def test_nothing_shown_holds_the_key(self) -> None:
        record = self.added()
        assert KEY.reveal() not in f"{record!r} {record.account} {dict(record.facts)} {self.provider!r}"
