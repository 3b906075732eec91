"""Groups of tools in OpenAI Responses: a tool of a namespace is known by two names there, by one everywhere else.

Owns: the one name of each, and the way back. It must never make two tools one.

Source: platform.openai.com/docs/api-reference/responses, `tools` of type `namespace` and `namespace` of function calls. Codex offers its own so.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from broker.translate.responses_wire import WireTool

_BETWEEN: Final = "__"


class Spaces:
    """One request's namespaces. `back` holds namespace and name by a tool's one name, for those that have a namespace."""

    __slots__ = ("_next", "_one", "back", "tools")

    def __init__(self, tools: Sequence[WireTool]) -> None:
        """Know these; `tools` are then those of the namespaces, by their one name, among the others, each with its path in the request."""
        self.tools: list[tuple[str, WireTool]] = []
        self._one: dict[tuple[str, str], str] = {}
        self._next: dict[str, int] = {}  # by plain form: all numbers below are taken
        self.back: dict[str, tuple[str, str]] = {}
        taken = {tool.name for tool in tools if tool.type != "namespace"}
        for i, tool in enumerate(tools):
            if tool.type != "namespace":
                self.tools.append((f"tools[{i}]", tool))
                continue
            for j, inner in enumerate(tool.tools or ()):
                named = (
                    inner
                    if not inner.name
                    else msgspec.structs.replace(inner, name=self._add(tool.name, inner.name, taken))
                )
                self.tools.append((f"tools[{i}].tools[{j}]", named))

    def one(self, namespace: str | None, name: str) -> str:
        """Return the one name of a tool, also of one that is no longer offered."""
        return name if not namespace else self._one.get((namespace, name), namespace + _BETWEEN + name)

    def _add(self, namespace: str | None, name: str, taken: set[str | None]) -> str:
        if not namespace:
            return name
        one = plain = namespace + _BETWEEN + name
        number = self._next.get(plain, 2)
        while one in taken:
            one, number = f"{plain}_{number}", number + 1
        self._next[plain] = number
        taken.add(one)
        self._one[namespace, name] = one
        self.back[one] = (namespace, name)
        return one
