"""What the config changes of requests: which of its policies and rules a request falls under, and the changing.

Owns: `Policies`, one a config, and `Edits`, one a request that anything is changed of. Pure. What is written where in a body `translate` knows.

Each attempt is made from what the client sent, so nothing is said twice however often a request is tried, and in a chain every model gets what is meant for
it. A request falls under a glob by the name it asks for, by what the model is called at its upstream, or by `provider/model`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from broker.model.naming import matched
from broker.model.policy import ADAPTIVE, PASSTHROUGH, Payload, Policy, Removal, Setting, best
from broker.proxy.naming import Wanted
from broker.proxy.upstreams.base import Kind, Sent, Upstream
from broker.proxy.upstreams.table import PROVIDERS
from broker.translate.codecs import Dialect
from broker.translate.effort import of_budget
from broker.translate.ir import Effort, Reasoning, Request
from broker.translate.limits import UNTOLD, Limits
from broker.translate.payload import Action, Rule, ruled
from broker.translate.prompts import Prompt, prompted, with_prompt
from broker.translate.thinking import unsuffixed, with_thinking

_CALLED: Final = "[policies] tables"


class Policies:
    """All there is in a config. It never changes: other settings are another value."""

    __slots__ = ("_append", "_prepend", "_rules", "_thinking")

    def __init__(self, policies: Mapping[str, Policy], payload: Payload) -> None:
        """Take the tables of the config."""
        self._thinking = {glob: _wish(told.thinking) for glob, told in policies.items() if told.thinking is not None}
        self._prepend = {glob: told.prepend for glob, told in policies.items() if told.prepend is not None}
        self._append = {glob: told.append for glob, told in policies.items() if told.append is not None}
        self._rules = tuple((rule, _rule(Action(name), rule)) for name, _, rule in _numbered(payload))

    @classmethod
    def of(cls, policies: Mapping[str, Policy], payload: Payload) -> "Policies | None":
        """Return what there is; None where there is nothing."""
        return cls(policies, payload) if policies or payload != Payload() else None

    def thinking(self, names: tuple[str, ...]) -> Reasoning | None:
        """Return how hard a model that goes by these names shall think; None leaves it to the client. Raises as `model.policy.best`."""
        glob = best(names, self._thinking, _CALLED)
        return self._thinking[glob] if glob is not None else None

    def prompt(self, names: tuple[str, ...]) -> Prompt | None:
        """Return what stands around the instructions of a model that goes by these names; raises as `model.policy.best`."""
        before, after = best(names, self._prepend, _CALLED), best(names, self._append, _CALLED)
        if before is None and after is None:
            return None
        return Prompt(self._prepend[before] if before else "", self._append[after] if after else "")

    def rules(self, names: tuple[str, ...], upstream: Upstream, provider: str) -> list[Rule]:
        """Return the rules for bodies that go to an upstream, in the order to apply them."""
        return [rule for told, rule in self._rules if _falls(told, names, upstream, provider)]


def edits_of(policies: Policies | None, wanted: Wanted, suffix: Reasoning | None, *, count: bool) -> "Edits | None":
    """Return what is changed of a request; None where nothing can be. `suffix` is how hard to think by the name that the client wrote."""
    if policies is None and suffix is None and not wanted.own:
        return None  # only the user's own names can wish something
    wishes = _wishes(wanted)
    if policies is None and suffix is None and not wishes:
        return None
    return Edits(policies, wanted.name, suffix, wishes, count=count)


def _wishes(wanted: Wanted) -> dict[tuple[str, str], Reasoning]:
    """Return how hard each provider's models shall think by the user's names; of members that are the same otherwise the first counts."""
    found: dict[tuple[str, str], Reasoning | None] = {}
    for goal in wanted.goals:
        for provider in goal.providers:
            found.setdefault((provider, goal.model), goal.wish)
    return {key: wish for key, wish in found.items() if wish is not None}


class Edits:
    """What is changed of one request, whoever it goes to. `count` says that it asks for a count of tokens: that is told instructions, and nothing else."""

    __slots__ = ("_asked", "_count", "_policies", "_suffix", "_wishes")

    def __init__(
        self,
        policies: Policies | None,
        asked: str,
        suffix: Reasoning | None,
        wishes: Mapping[tuple[str, str], Reasoning],
        *,
        count: bool,
    ) -> None:
        """Hold it. A client's own suffix comes first, then one of the user's names (`wishes`, by provider and model), then the policies, then the body."""
        self._policies = policies
        self._asked = asked
        self._suffix = suffix
        self._wishes = wishes
        self._count = count

    def passed(self, client: Dialect, body: bytes, provider: str, model: str, told: Limits = UNTOLD) -> bytes:
        """Return the body for an upstream that speaks the client's dialect, in an envelope or not.

        Raises:
            BrokerError: `bad_request` where it is no JSON object, or the model's name falls under two policies that say as much.
        """
        names = self._names(provider, model)
        wish = self._suffix or self._thinks(names, provider, model)
        if wish is not None:
            body = with_thinking(client, body, wish, model, told, count=self._count)
        if self._suffix is not None and client is Dialect.GEMINI:
            body = unsuffixed(body, model)
        prompt = self._prompt(names)
        return with_prompt(client, body, prompt, count=self._count) if prompt is not None else body

    def understood(self, request: Request, provider: str, model: str) -> Request:
        """Return the request for an upstream that speaks another dialect; its suffix has been read with it. Raises as `passed`."""
        names = self._names(provider, model)
        wish = self._thinks(names, provider, model) if self._suffix is None else None
        if wish is not None:
            visible = request.reasoning.visible if request.reasoning is not None else None
            request = msgspec.structs.replace(request, reasoning=msgspec.structs.replace(wish, visible=visible))
        prompt = self._prompt(names)
        return prompted(request, prompt) if prompt is not None else request

    def sent(self, sent: Sent, upstream: Upstream, provider: str, model: str) -> Sent:
        """Return what goes out, after the rules; what asks for a count stays as it is. Raises BrokerError `bad_request` where it is no JSON object."""
        if self._policies is None or self._count:
            return sent
        rules = self._policies.rules(self._names(provider, model), upstream, provider)
        return msgspec.structs.replace(sent, body=ruled(upstream.dialect, sent.body, rules)) if rules else sent

    def _thinks(self, names: tuple[str, ...], provider: str, model: str) -> Reasoning | None:
        wish = self._wishes.get((provider, model))
        if wish is not None or self._policies is None or self._count:
            return wish
        return self._policies.thinking(names)

    def _prompt(self, names: tuple[str, ...]) -> Prompt | None:
        return self._policies.prompt(names) if self._policies is not None else None

    def _names(self, provider: str, model: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._asked, model, f"{provider}/{model}")))


def unknown(payload: Payload) -> Iterator[tuple[str, str]]:
    """Yield the rules that can never apply, as the proxy knows nothing of the name they give: the key, and what is known."""
    for name, number, rule in _numbered(payload):
        told = (
            ("provider", rule.provider, PROVIDERS),
            ("upstream", rule.upstream, Kind),
            ("dialect", rule.dialect, Dialect),
        )
        for key, value, known in told:
            if value is not None and value not in set(known):
                yield f"payload.{name}.{number}.{key}", f"Known are: {', '.join(sorted(known))}."


def _numbered(payload: Payload) -> Iterator[tuple[str, int, Removal]]:
    for name in payload.__struct_fields__:
        for number, rule in enumerate(getattr(payload, name)):
            yield name, number, rule


def _rule(action: Action, told: Removal) -> Rule:
    value = msgspec.json.encode(told.value) if isinstance(told, Setting) else b"null"
    return Rule(action, told.names, value)


def _falls(told: Removal, names: tuple[str, ...], upstream: Upstream, provider: str) -> bool:
    if told.provider not in (None, provider) or told.upstream not in (None, upstream.kind):
        return False
    if told.dialect not in (None, upstream.dialect):
        return False
    return any(matched(glob, name) is not None for glob in told.globs for name in names)


def _wish(told: int | str) -> Reasoning | None:
    if told == PASSTHROUGH:
        return None
    if told == ADAPTIVE:
        return Reasoning(effort=Effort.AUTO)
    return of_budget(told) if isinstance(told, int) else Reasoning(effort=Effort(told))
