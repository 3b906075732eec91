"""The user's own rules for the body that goes to an upstream.

Owns: `Rule`, and applying rules in their order, inside the envelope where the dialect has one. It must never decide which rules apply to a request.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, assert_never

from broker.translate.codecs import Dialect
from broker.translate.envelopes import ENVELOPES
from broker.translate.ir import Value
from broker.translate.passage import with_member
from broker.translate.paths import put, put_default, removed

_INSIDE: Final = "request"


class Action(StrEnum):
    """What a rule does: says what nobody said, says it whatever was said, or takes away what was."""

    DEFAULT = "default"
    OVERRIDE = "override"
    REMOVE = "remove"


class Rule(Value, frozen=True):
    """One rule. `told` is the JSON of its value, of no use to REMOVE."""

    action: Action
    path: tuple[str, ...]
    told: bytes = b"null"


def ruled(dialect: Dialect, body: bytes, rules: Sequence[Rule]) -> bytes:
    """Return a body of a dialect after these rules, one after another.

    Raises:
        BrokerError: `bad_request` where it is no JSON object.
    """
    if dialect not in ENVELOPES:
        return _applied(body, rules)
    return with_member(body, _INSIDE, lambda inner: None if inner is None else _applied(inner, rules))


def _applied(body: bytes, rules: Sequence[Rule]) -> bytes:
    for rule in rules:
        match rule.action:
            case Action.DEFAULT:
                body = put_default(body, rule.path, rule.told)
            case Action.OVERRIDE:
                body = put(body, rule.path, rule.told)
            case Action.REMOVE:
                body = removed(body, rule.path)
            case _:
                assert_never(rule.action)
    return body
