from datetime import date, time

import msgspec
import pytest

from broker.model.errors import BrokerError
from broker.model.policy import Payload, Policy, Removal, Setting, best, payload_faults, policy_faults

NAMES = ("fast", "claude-opus-4-6", "claude/claude-opus-4-6")


@pytest.mark.parametrize(
    ("globs", "found"),
    [
        ((), None),
        (("gpt-*",), None),
        (("*", "claude-*"), "claude-*"),
        (("claude-*", "claude-opus-*", "*"), "claude-opus-*"),
        (("claude/claude-*", "claude-opus-*"), "claude/claude-*"),
        (("claude-opus-4-*", "fast"), "fast"),
        (("fast", "claude-opus-4-6"), "claude-opus-4-6"),
    ],
)
def test_the_glob_that_says_most_counts(globs: tuple[str, ...], found: str | None) -> None:
    assert best(NAMES, globs, "tables") == found


def test_what_says_as_much_is_an_error_that_names_both() -> None:
    with pytest.raises(BrokerError, match=r"'fast' fits the tables \*-4-6\* and \*opus\* equally well"):
        best(NAMES, ("*opus*", "*-4-6*", "*"), "tables")


@pytest.mark.parametrize(
    ("glob", "policy", "keys"),
    [
        ("claude-*", Policy(thinking=0, prepend="", append="x"), []),
        ("claude-*", Policy(thinking="high"), []),
        (" ", Policy(), [()]),
        ("*", Policy(thinking=-1), [("thinking",)]),
        ("*", Policy(thinking=10**9), [("thinking",)]),
    ],
)
def test_policies_that_cannot_be(glob: str, policy: Policy, keys: list[tuple[str, ...]]) -> None:
    assert [key for key, _ in policy_faults(glob, policy)] == keys


def test_words_of_thinking_are_checked_by_their_type() -> None:
    assert msgspec.convert({"thinking": 8192}, Policy) == Policy(thinking=8192)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"thinking": "hard"}, Policy)


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ({"path": ""}, "path: is names with dots between them"),
        ({"path": "a..b"}, "path: is names with dots between them"),
        ({"path": ()}, "path: is names with dots between them"),
        ({"path": "model"}, "path: model is the proxy's to write"),
        ({"path": ("stream",)}, "path: stream is the proxy's to write"),
        ({"path": "Model.x"}, "path: Model is the proxy's to write"),
        ({"path": "api_key"}, "path: a rule cannot say a credential"),
        ({"path": "mcp_servers.0.authorization_token"}, "path: a rule cannot say a credential"),
        ({"path": "x.accessToken"}, "path: a rule cannot say a credential"),
        ({"path": "a", "models": ()}, "models: is a glob"),
        ({"path": "a", "models": ("x", "")}, "models: is a glob"),
        ({"path": "a", "provider": "Not One"}, "provider: 'Not One' is no name"),
        ({"path": "a", "value": {"b": [{"x-api-key": "k"}]}}, "value: a rule cannot say a credential"),
        ({"path": "a", "value": [float("nan")]}, "value: JSON has no such number"),
        ({"path": "a", "value": {"b": date(2026, 1, 1)}}, "value: JSON has no dates and times; write them as text"),
        ({"path": "a", "value": time(7)}, "value: JSON has no dates and times; write them as text"),
    ],
)
def test_rules_that_cannot_be(rule: dict[str, object], word: str) -> None:
    kind = Setting if "value" in rule else Removal
    payload = Payload(override=(kind(**rule),)) if kind is Setting else Payload(remove=(kind(**rule),))
    action = "override" if kind is Setting else "remove"
    told = [f"{key[2]}: {text}" for key, text in payload_faults(payload) if key[:2] == (action, "0")]
    assert len(told) == 1
    assert told[0].startswith(word)


def test_rules_that_can_be() -> None:
    fine = Setting(path="a.model", value={"max_tokens": 9, "b": [1.5, None]}, models=("a", "b"), provider="claude")
    fine_too = Removal(path=("a.b", "0"))
    assert list(payload_faults(Payload(default=(fine,), override=(fine,), remove=(fine_too,)))) == []
    assert fine.names == ("a", "model")
    assert fine.globs == ("a", "b")
    assert Removal(path=("a.b", "0")).names == ("a.b", "0")
    assert Removal(path="a").globs == ("*",)
