import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate.codecs import Dialect
from broker.translate.payload import Action, Rule, ruled
from tests.translate.test_paths import OBJECTS, PATHS, VALUES, naive

RULES = (
    Rule(Action.DEFAULT, ("temperature",), b"0.5"),
    Rule(Action.OVERRIDE, ("reasoning", "effort"), b'"low"'),
    Rule(Action.REMOVE, ("tools", "0")),
)


def test_rules_are_applied_one_after_another() -> None:
    body = b'{ "tools": [ {"a":1} , 2 ] , "temperature":1e0 , "reasoning":{"summary":"auto"}}'
    made = b'{ "tools": [ 2 ] , "temperature":1e0 , "reasoning":{"summary":"auto","effort":"low"}}'
    assert ruled(Dialect.RESPONSES, body, RULES) == made
    assert ruled(Dialect.GEMINI, b"{}", RULES[:2]) == b'{"temperature":0.5,"reasoning":{"effort":"low"}}'


@pytest.mark.parametrize("dialect", [Dialect.CODE_ASSIST, Dialect.ANTIGRAVITY])
def test_inside_an_envelope(dialect: Dialect) -> None:
    body = b'{"model":"m","project" : "p","request": {"contents":[]}}'
    made = b'{"model":"m","project" : "p","request": {"contents":[],"temperature":0.5}}'
    assert ruled(dialect, body, RULES[:1]) == made
    assert ruled(dialect, b'{"model":"m"}', RULES[:1]) == b'{"model":"m"}'


def test_what_is_no_object_is_refused() -> None:
    for body in (b"", b"7", b'{"a":}'):
        with pytest.raises(BrokerError):
            ruled(Dialect.CLAUDE, body, RULES)


@given(
    body=OBJECTS,
    rules=st.lists(st.tuples(st.sampled_from(Action), PATHS, VALUES), max_size=4),
    wrapped=st.booleans(),
    indent=st.sampled_from([None, 1]),
)
def test_over_random_bodies_and_rules(
    body: dict[str, object], rules: list[tuple[Action, list[str], object]], wrapped: bool, indent: int | None
) -> None:
    expected: object = body
    for action, path, told in rules:
        expected = naive(expected, path, action.value, told)
    made_of = [Rule(action, tuple(path), json.dumps(told).encode()) for action, path, told in rules]
    text = json.dumps(body, indent=indent, ensure_ascii=False)
    if wrapped:
        text = f'{{"model":"m","request" : {text} , "x":1e0 }}'
        made = ruled(Dialect.CODE_ASSIST, text.encode(), made_of).decode()
        assert made.startswith('{"model":"m","request" : ')
        assert made.endswith(' , "x":1e0 }')
        assert json.loads(made)["request"] == expected
    else:
        assert json.loads(ruled(Dialect.GEMINI, text.encode(), made_of)) == expected


@given(
    body=OBJECTS,
    rules=st.lists(st.tuples(st.sampled_from(Action), PATHS), max_size=4),
    spaces=st.text(" \t\n", max_size=3),
)
def test_members_that_no_rule_names_keep_their_bytes(
    body: dict[str, object], rules: list[tuple[Action, list[str]]], spaces: str
) -> None:
    kept = {f"kept {name}": json.dumps(value, ensure_ascii=False, indent=1) for name, value in body.items()}
    members = [f'{spaces}"{key}"{spaces}:{spaces}{value}' for key, value in kept.items() if '"' not in key]
    text = "{" + ",".join([*members, '"a":{"b":[1,{}]}']) + spaces + "}"
    made = ruled(Dialect.CLAUDE, text.encode(), [Rule(action, tuple(path), b"1e0") for action, path in rules]).decode()
    for member in members:
        assert member.strip() in made
