"""What the config tells the proxy to change of requests: how hard models think, what stands around instructions, the user's own rules for bodies.

Owns: the tables `[policies."GLOB"]` and `[payload]`, what of them cannot be, and which of several globs counts. Pure. How it is said to a vendor
`broker.translate` knows.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time
from typing import Final, Literal

import msgspec

from broker.model.account import valid_provider_name
from broker.model.naming import ambiguous, literal, matched

PASSTHROUGH: Final = "passthrough"
ADAPTIVE: Final = "adaptive"

_MOST_TOKENS: Final = 999_999_999
_SHOWN: Final = 60


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[policies."GLOB"]: what is done with requests for models whose names fit; None says nothing, so that a wider glob may.

    `thinking` is a level, or a number of tokens, in the place of what the client wishes, or one of the two words that are neither.
    """

    thinking: (
        int | Literal["passthrough", "adaptive", "none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    ) = None
    prepend: str | None = None
    append: str | None = None


class Removal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule that takes something out of bodies: of requests for `models`, to an upstream, in a dialect, for a provider; None means any.

    `path` is names with dots between them, or a list of names, where a name has dots.
    """

    path: str | tuple[str, ...]
    models: str | tuple[str, ...] = "*"
    provider: str | None = None
    upstream: str | None = None
    dialect: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The path, name by name."""
        return tuple(self.path.split(".")) if isinstance(self.path, str) else self.path

    @property
    def globs(self) -> tuple[str, ...]:
        """The globs of models."""
        return (self.models,) if isinstance(self.models, str) else self.models


class Setting(Removal, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule that puts a value into bodies; what TOML and JSON both have, it may be."""

    value: object


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[payload]: rules for the body that goes to an upstream, applied in this order."""

    default: tuple[Setting, ...] = ()
    override: tuple[Setting, ...] = ()
    remove: tuple[Removal, ...] = ()


def best(names: Sequence[str], globs: Iterable[str], called: str) -> str | None:
    """Return the glob that fits a model by one of its names and says most: one without `*`, else the one with most letters; None where none fits.

    Raises:
        BrokerError: `bad_request` where several say as much; the detail names them, as `called`.
    """
    found = [glob for glob in globs if any(matched(glob, name) is not None for name in names)]
    most = max(map(_weight, found), default=(False, 0))
    left = sorted(glob for glob in found if _weight(glob) == most)
    if len(left) > 1:
        both = " and ".join(left)
        raise ambiguous(f"{names[0][:_SHOWN]!r} fits the {called} {both} equally well; make one of them more specific")
    return left[0] if left else None


def policy_faults(glob: str, policy: Policy) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what cannot be of a policy, each with its key."""
    if not glob.strip():
        yield (), "a policy is named by a model, or a glob of models"
    if isinstance(policy.thinking, int) and not 0 <= policy.thinking <= _MOST_TOKENS:
        yield ("thinking",), f"must be from 0 to {_MOST_TOKENS} tokens"


def payload_faults(payload: Payload) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what cannot be of the rules, each with its key."""
    for action in payload.__struct_fields__:
        for number, rule in enumerate(getattr(payload, action)):
            for key, text in _rule(rule):
                yield (action, str(number), key), text


def _rule(rule: Removal) -> Iterator[tuple[str, str]]:
    names = rule.names
    if not names or "" in names:
        yield "path", "is names with dots between them, none of them empty"
    elif _plain(names[0]) in _OWN:
        yield "path", f"{names[0]} is the proxy's to write"
    elif any(_secret(name) for name in names):
        yield "path", "a rule cannot say a credential: those are borrowed from accounts"
    if not rule.globs or "" in rule.globs:
        yield "models", "is a glob of models, or a list of them"
    if rule.provider is not None and not valid_provider_name(rule.provider):
        yield "provider", f"{rule.provider[:_SHOWN]!r} is no name of a provider"
    if isinstance(rule, Setting):
        for text in _value(rule.value):
            yield "value", text


# By the model requests find their accounts, and by the other the proxy reads the answer.
_OWN: Final = frozenset({"model", "stream"})
_SECRETS: Final = frozenset(
    {
        "accesstoken",
        "refreshtoken",
        "idtoken",
        "bearertoken",
        "token",
        "password",
        "secret",
        "clientsecret",
        "credentials",
    }
)


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _secret(name: str) -> bool:
    plain = _plain(name)
    return plain in _SECRETS or "apikey" in plain or "authorization" in plain


def _value(value: object) -> Iterator[str]:
    match value:
        case dict():
            if any(_secret(name) for name in value):
                yield "a rule cannot say a credential: those are borrowed from accounts"
            for inner in value.values():
                yield from _value(inner)
        case list():
            for inner in value:
                yield from _value(inner)
        case float() if not math.isfinite(value):
            yield "JSON has no such number"
        case date() | time():
            yield "JSON has no dates and times; write them as text"
        case _:
            pass


def _weight(glob: str) -> tuple[bool, int]:
    return "*" not in glob, literal(glob)
