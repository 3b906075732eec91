from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.secret import Secret
from broker.providers.identity import same_login

ALICE = "alice@example.com"


def record(provider: str = "acme", label: str = ALICE, **changes: object) -> Record:
    made = Record(AccountId(provider, label), Tokens(Secret("fake-access-1")), email=ALICE)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "provider", ["gemini-api", "openai-api", "anthropic-api", "openai-compatible", "anthropic-compatible"]
)
def test_keys_are_told_by_their_names_alone(provider: str) -> None:
    moved = record(provider, "team", email=None, facts={"base_url": "https://b.example"})
    assert same_login(record(provider, "team", email=None, facts={"base_url": "https://a.example"}), moved)
    assert not same_login(record(provider, "other", email=None), moved)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (record(), record(), True),
        (record(), record(email="ALICE@example.com"), True),
        (record(), record(label="work"), True),  # a name somebody chose says nothing
        (record(), record(email="bob@example.com"), False),
        (record("acme"), record("other"), False),
        (record(subject="a"), record(subject="b"), False),
        (record(subject="a"), record(subject="a", email="new@example.com"), True),  # the address changed, the person did not
        (record(subject="a"), record(), True),
        (record(email=None), record(), True),  # nothing is known of both but the name
        (record(email=None), record(label="x"), False),
        (record(facts={"project_id": "a"}), record(facts={"project_id": "b"}), False),
        (record(facts={"project_id": "a"}), record(), True),
        (record(facts={"base_url": "a"}), record(facts={"base_url": "b"}), False),
    ],
)  # fmt: skip
def test_in_general(one: Record, other: Record, same: bool) -> None:
    assert same_login(one, other) is same
    assert same_login(other, one) is same


@pytest.mark.parametrize(
    ("provider", "mine", "theirs", "same"),
    [
        ("gemini", {"project_id": "a"}, {"project_id": "b"}, False),
        ("gemini", {"project_id": "a", "base_url": "x"}, {"project_id": "a", "base_url": "y"}, True),
        ("claude", {"organization_uuid": "a"}, {"organization_uuid": "b"}, False),
        ("claude", {"account_uuid": "a"}, {"account_uuid": "b"}, False),
        ("codex", {"account_id": "a"}, {"account_id": "b"}, False),
        ("codex", {"account_id": "a"}, {"account_id": "a"}, True),
        ("qwen", {"base_url": "a"}, {"base_url": "b"}, True),
        ("kimi", {"device_id": "a"}, {"device_id": "b"}, True),
        ("github-copilot", {"host": "github.com"}, {"host": "corp.example"}, False),
        ("kiro", {"start_url": "a"}, {"start_url": "b"}, False),
        ("vertex", {"project_id": "a", "client_email": "x"}, {"project_id": "a", "client_email": "y"}, False),
    ],
)
def test_by_vendor(provider: str, mine: dict[str, str], theirs: dict[str, str], same: bool) -> None:
    one, other = record(provider, facts=mine), record(provider, facts=theirs)
    assert same_login(one, other) is same
    assert same_login(other, one) is same


def test_an_account_that_kept_its_id_is_the_same_under_another_address() -> None:
    one = record("claude", facts={"account_uuid": "a"})
    assert same_login(one, record("claude", email="new@example.com", facts={"account_uuid": "a"}))


def test_members_of_one_codex_workspace_are_two() -> None:
    one = record("codex", facts={"account_id": "a"}, subject="s")
    assert not same_login(one, record("codex", email="bob@example.com", facts={"account_id": "a"}))
    assert same_login(one, record("codex", facts={"account_id": "a"}, subject="by-another-way-of-signing-in"))
