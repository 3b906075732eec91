"""Which providers there are.

Owns: the table of built-in vendors, applying the config to it, and looking a provider up. Adding a vendor is one line here and one file beside.
"""

from collections.abc import Callable, Iterator, Mapping

from broker.model.errors import BrokerError, ErrorCode, SettingError
from broker.providers import (
    antigravity,
    api_key,
    claude,
    codex,
    copilot,
    gemini,
    generic,
    iflow,
    kimi,
    kiro,
    qwen,
    vertex,
    xai,
)
from broker.providers.base import Document, Provider
from broker.providers.google import READING as GOOGLE
from broker.providers.setup import Settings, Setup

BUILT_IN: Mapping[str, tuple[Setup, Callable[[Setup], Provider]]] = {
    "anthropic-api": (api_key.ANTHROPIC, lambda setup: api_key.ApiKey(setup, header="x-api-key")),
    "anthropic-compatible": (api_key.ANTHROPIC_LIKE, lambda setup: api_key.ApiKey(setup, header="x-api-key")),
    "antigravity": (antigravity.DEFAULTS, lambda setup: antigravity.Antigravity(setup, GOOGLE)),
    "claude": (claude.DEFAULTS, lambda setup: claude.Claude(setup, claude.READING)),
    "codex": (codex.DEFAULTS, lambda setup: codex.Codex(setup, codex.READING)),
    "gemini": (gemini.DEFAULTS, lambda setup: gemini.Gemini(setup, GOOGLE)),
    "gemini-api": (api_key.GEMINI, api_key.ApiKey),
    "openai-api": (api_key.OPENAI, lambda setup: api_key.ApiKey(setup, header="authorization")),
    "openai-compatible": (api_key.OPENAI_LIKE, lambda setup: api_key.ApiKey(setup, header="authorization")),
    "github-copilot": (copilot.DEFAULTS, lambda setup: copilot.Copilot(setup, copilot.READING)),
    "iflow": (iflow.DEFAULTS, iflow.IFlow),
    "kimi": (kimi.DEFAULTS, lambda setup: kimi.Kimi(setup, kimi.READING)),
    "kiro": (kiro.DEFAULTS, lambda setup: kiro.Kiro(setup, kiro.READING)),
    "vertex": (vertex.DEFAULTS, lambda setup: vertex.Vertex(setup, vertex.READING)),
    "xai": (xai.DEFAULTS, lambda setup: xai.Xai(setup, xai.READING)),
    "qwen": (qwen.DEFAULTS, lambda setup: qwen.Qwen(setup, qwen.READING)),
}
"""Name to default settings and the way from settings to a provider."""

_RESERVED = frozenset({"gemini-cli", api_key.TYPE})  # the `type` of files a built-in provider claims


class Registry:
    """The providers of a config."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        """Hold `providers` by name."""
        self._providers = dict(providers)

    def __iter__(self) -> Iterator[Provider]:
        return iter(self._providers.values())

    def __contains__(self, name: object) -> bool:
        return name in self._providers

    @property
    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._providers))

    def get(self, name: str) -> Provider:
        """Return a provider by name.

        Raises:
            BrokerError: `unknown_provider`, listing those there are.
        """
        found = self._providers.get(name)
        if found is None:
            listed = ", ".join(self.names)
            raise BrokerError(ErrorCode.UNKNOWN_PROVIDER, f"no provider {name[:60]!r}; there are: {listed}")
        return found

    def of_document(self, document: Document) -> Provider | None:
        """Return the provider that claims an auth file by its `type`; None where none does."""
        kind = document.get("type")
        if isinstance(kind, str) and kind in BUILT_IN:  # nobody else claims what is called like one of these
            named = self._providers.get(kind)
            if named is not None and named.claims(document):
                return named
        return next((provider for provider in self if provider.claims(document)), None)

    def renew(self, other: "Registry") -> None:
        """Become `other`, for everybody who holds this; a provider it does not have stays, as there may be accounts of it."""
        self._providers = {**self._providers, **other._providers}  # noqa: SLF001 - of the same class

    def replaced(self, provider: Provider) -> "Registry":
        """Return a registry with `provider` in the place of the one of its name."""
        return Registry({**self._providers, provider.name: provider})


def build(tables: Mapping[str, Settings]) -> Registry:
    """Return the registry of a config's `[providers.*]` tables.

    Raises:
        SettingError: for a table that is neither a built-in provider nor `kind = "oauth2"`, or that is both.
    """
    providers: dict[str, Provider] = {}
    for name, (defaults, make) in BUILT_IN.items():
        table = tables.get(name)
        providers[name] = make(defaults.overridden(table) if table is not None else defaults)
    for name, table in tables.items():
        if name in _RESERVED or (name in BUILT_IN and table.kind is not None):
            raise _fault(name, "this name belongs to a built-in provider: choose another one")
        if name not in BUILT_IN and table.kind is None:
            listed = ", ".join(sorted(BUILT_IN))
            raise _fault(
                name, f'not a built-in provider (those are: {listed}): set kind = "oauth2" for one of your own'
            )
        if name not in BUILT_IN:
            providers[name] = generic.build(name, table)
        if unknown := sorted(table.options.keys() - providers[name].options.keys()):
            there = ", ".join(sorted(providers[name].options)) or "none"
            raise _fault(name, f"there is no {unknown[0][:60]!r}; there are: {there}", "options")
    return Registry(providers)


def _fault(name: str, text: str, *below: str) -> SettingError:
    return SettingError(("providers", name, *below), text, hint="docs/providers.md says what can be set.")
