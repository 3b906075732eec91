import json
from typing import get_args, get_type_hints

import msgspec
import pytest

from broker.model.errors import BrokerError
from broker.model.policy import ADAPTIVE, PASSTHROUGH, Payload, Policy, Removal, Setting
from broker.proxy.naming import Goal, Wanted
from broker.proxy.policies import Edits, Policies, edits_of, unknown
from broker.proxy.upstreams.base import Kind, Sent
from broker.proxy.upstreams.table import UPSTREAMS
from broker.translate.codecs import Dialect
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort, Message, Reasoning, Request, Role, Text
from broker.translate.limits import Limits
from broker.translate.prompts import Prompt

HIGH, LOW = Reasoning(effort=Effort.HIGH), Reasoning(effort=Effort.LOW)
WANTED = Wanted("fast", (Goal("gemini-3-pro", ("gemini",)),))
NAMES = ("fast", "gemini-3-pro", "gemini/gemini-3-pro")
REQUEST = Request("m", (Message(Role.USER, (Text("hi"),)),), "m")


def policies(payload: Payload | None = None, **tables: Policy) -> Policies:
    return Policies(
        {name.replace("_", "-").replace("ANY", "*"): told for name, told in tables.items()}, payload or Payload()
    )


def edits(
    made: Policies | None, suffix: Reasoning | None = None, wanted: Wanted = WANTED, *, count: bool = False
) -> Edits:
    found = edits_of(made, wanted, suffix, count=count)
    assert found is not None
    return found


def passed(found: Edits, body: str = "{}") -> object:
    return json.loads(found.passed(Dialect.GEMINI, body.encode(), "gemini", "gemini-3-pro"))


def thinking(level: str) -> object:
    return {"generationConfig": {"thinkingConfig": {"thinkingLevel": level}}}


def test_nothing_in_the_config_is_nothing() -> None:
    assert Policies.of({}, Payload()) is None
    assert Policies.of({"*": Policy()}, Payload()) is not None
    assert Policies.of({}, Payload(remove=(Removal(path="a"),))) is not None
    assert edits_of(None, WANTED, None, count=False) is None
    assert edits_of(None, msgspec.structs.replace(WANTED, own=True), None, count=False) is None


def test_every_word_of_thinking_is_understood() -> None:
    hints = get_type_hints(Policy)["thinking"]
    words = {word for part in get_args(hints) for word in get_args(part)}
    assert words == {PASSTHROUGH, ADAPTIVE, *Effort} - {Effort.AUTO}
    for word in words:
        told = policies(ANY=Policy(thinking=word)).thinking(NAMES)
        assert (told is None) is (word == PASSTHROUGH)
    assert policies(ANY=Policy(thinking=ADAPTIVE)).thinking(NAMES) == Reasoning(effort=Effort.AUTO)
    assert policies(ANY=Policy(thinking=0)).thinking(NAMES) == Reasoning(effort=Effort.NONE)
    assert policies(ANY=Policy(thinking=9)).thinking(NAMES) == Reasoning(budget=9)


def test_each_setting_comes_from_the_glob_that_says_most_of_it() -> None:
    made = policies(
        ANY=Policy(thinking="low", prepend="P", append="A"),
        gemini_ANY=Policy(thinking="passthrough"),
        fast=Policy(append=""),
    )
    assert made.thinking(NAMES) is None
    assert made.prompt(NAMES) == Prompt("P", "")
    assert policies(ANY=Policy(append="A")).prompt(NAMES) == Prompt("", "A")
    assert policies(gpt=Policy(append="A")).prompt(NAMES) is None
    with pytest.raises(BrokerError, match=r"gem\* and \*pro equally|\*pro\* and gem\*|\[policies\] tables"):
        Policies({"*pro": Policy(thinking=1), "gem*": Policy(thinking=1)}, Payload()).thinking(NAMES)


def test_a_suffix_comes_before_the_users_own_name_and_that_before_policies() -> None:
    made = policies(ANY=Policy(thinking="high"))
    named = Wanted("fast", (Goal("gemini-3-pro", ("gemini",), wish=LOW),), own=True)
    assert passed(edits(made)) == thinking("high")
    assert passed(edits(made, None, named)) == thinking("low")
    assert passed(edits(made, HIGH, named)) == thinking("high")
    assert passed(edits(None, HIGH)) == thinking("high")
    assert passed(edits(None, None, named)) == thinking("low")


def test_each_member_of_a_chain_thinks_as_it_says() -> None:
    goals = (
        Goal("gemini-3-pro", ("gemini-api",)),
        Goal("gemini-3-pro", ("gemini",), wish=LOW),
        Goal("gemini-3-pro", ("gemini", "vertex"), wish=HIGH),
    )
    made = edits(None, None, Wanted("chain", goals, own=True))
    asked = msgspec.structs.replace(REQUEST, reasoning=Reasoning(effort=Effort.MAX))
    told = [
        made.understood(asked, provider, "gemini-3-pro").reasoning for provider in ("gemini-api", "gemini", "vertex")
    ]
    assert told == [Reasoning(effort=Effort.MAX), LOW, HIGH]


def test_the_body_of_gemini_does_not_keep_the_suffix() -> None:
    assert passed(edits(None, HIGH), '{"model":"gemini-3-pro(high)"}') == {"model": "gemini-3-pro", **thinking("high")}  # type: ignore[dict-item]


def test_prompts_are_put_around() -> None:
    made = edits(policies(ANY=Policy(prepend="P", append="A")))
    assert passed(made) == {"systemInstruction": {"parts": [{"text": "P"}, {"text": "A"}]}}
    understood = made.understood(REQUEST, "gemini", "gemini-3-pro")
    assert understood.system == (Text("P"), Text("A"))
    assert understood.reasoning is None


def test_a_request_that_was_understood_thinks_as_it_shall() -> None:
    made = edits(policies(ANY=Policy(thinking="high")))
    asked = msgspec.structs.replace(REQUEST, reasoning=Reasoning(effort=Effort.LOW, visible=True))
    assert made.understood(REQUEST, "p", "m").reasoning == HIGH
    assert made.understood(asked, "p", "m").reasoning == Reasoning(effort=Effort.HIGH, visible=True)
    assert edits(policies(ANY=Policy(thinking="high")), LOW).understood(asked, "p", "m") == asked
    assert edits(None, LOW).understood(asked, "p", "m") == asked


def test_what_the_config_says_of_the_model_counts() -> None:
    told = Limits(ThinkingLimits(ThinkingClass.BUDGET, low=1, high=77))
    body = edits(None, HIGH).passed(Dialect.GEMINI, b"{}", "gemini", "gemini-3-pro", told)
    assert json.loads(body) == {"generationConfig": {"thinkingConfig": {"thinkingBudget": 77}}}


def test_counts_are_told_instructions_and_a_suffix() -> None:
    payload = Payload(override=(Setting(path="x", value=1),))
    made = policies(payload, ANY=Policy(thinking="high", prepend="P"))
    body = b'{"generateContentRequest":{}}'
    counted = edits(made, count=True)
    system = {"systemInstruction": {"parts": [{"text": "P"}]}}
    assert passed(counted, body.decode()) == {"generateContentRequest": system}
    suffixed = passed(edits(made, HIGH, count=True), body.decode())
    assert suffixed == {"generateContentRequest": {**system, **thinking("high")}}  # type: ignore[dict-item]
    sent = Sent(b"/", [], b"{}")
    assert counted.sent(sent, UPSTREAMS[Kind.GEMINI], "gemini-api", "gemini-3-pro") is sent


@pytest.mark.parametrize(
    ("where", "applies"),
    [
        ({}, True),
        ({"models": "gemini-*"}, True),
        ({"models": ("gpt-*", "gemini-api/*")}, True),
        ({"models": "gpt-*"}, False),
        ({"provider": "gemini-api"}, True),
        ({"provider": "gemini"}, False),
        ({"upstream": "gemini"}, True),
        ({"upstream": "vertex"}, False),
        ({"dialect": "gemini"}, True),
        ({"dialect": "claude"}, False),
    ],
)
def test_a_rule_applies_where_all_it_says_fits(where: dict[str, object], applies: bool) -> None:
    payload = Payload(override=(msgspec.convert({"path": "x.0", "value": [1.5], **where}, Setting),))
    sent = Sent(b"/", [(b"a", b"b")], b'{ "y":1e0 }')
    found = edits(policies(payload)).sent(sent, UPSTREAMS[Kind.GEMINI], "gemini-api", "gemini-3-pro")
    assert found.body == (b'{ "y":1e0,"x":{"0":[1.5]} }' if applies else sent.body)
    assert (found is sent) is not applies
    assert (found.target, found.headers) == (sent.target, sent.headers)


def test_without_policies_nothing_goes_out_otherwise() -> None:
    sent = Sent(b"/", [], b"{}")
    assert edits(None, HIGH).sent(sent, UPSTREAMS[Kind.GEMINI], "gemini-api", "m") is sent


def test_rules_are_applied_defaults_first_and_removals_last() -> None:
    payload = Payload(
        default=(Setting(path="a", value=1),),
        override=(Setting(path="a", value=2), Setting(path="b", value="é")),
        remove=(Removal(path="a"),),
    )
    found = edits(policies(payload)).sent(Sent(b"/", [], b"{}"), UPSTREAMS[Kind.CODEX], "codex", "gpt-5")
    assert json.loads(found.body) == {"b": "é"}


def test_names_that_nothing_goes_by_are_told() -> None:
    payload = Payload(
        default=(Setting(path="a", value=1, provider="claude", upstream="gemini", dialect="claude"),),
        remove=(Removal(path="a"), Removal(path="a", provider="me", upstream="nowhere", dialect="latin")),
    )
    assert [key for key, _ in unknown(payload)] == [
        f"payload.remove.1.{key}" for key in ("provider", "upstream", "dialect")
    ]
