"""Function names an upstream accepts, and the way back.

Owns: the map between a client's tool names and those sent upstream, for the length of one exchange. It must never lose a name: two
tools that look alike after mending stay two tools.
"""

import re
from collections.abc import Iterable
from typing import Final, Self

from broker.translate.ir import FunctionTool, Request, ToolCall

MAX_LENGTH: Final = 64
"""Google's and OpenAI's limit for a function name (Gemini API reference, FunctionDeclaration.name; OpenAI API reference, tools); Anthropic's is longer."""

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
_FORBIDDEN_BY_GOOGLE = re.compile(r"[^A-Za-z0-9_.:-]")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")  # what mending leaves as it is
_PLAIN_TO_GOOGLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


class ToolNames:
    """One exchange's names. Give all known names at once: what stands first keeps its plain form in a collision."""

    __slots__ = ("_back", "_forbidden", "_next", "_out")

    def __init__(self, names: Iterable[str] = (), *, dotted: bool = False) -> None:
        """Know these names; already acceptable ones are never renamed by a collision with a mended one. `dotted`: dots and colons are taken, as Google does."""
        self._forbidden = _FORBIDDEN_BY_GOOGLE if dotted else _FORBIDDEN
        plain = _PLAIN_TO_GOOGLE if dotted else _PLAIN
        self._out: dict[str, str] = {}
        self._back: dict[str, str] = {}
        self._next: dict[str, int] = {}  # by plain form: all numbers below are taken
        known = list(dict.fromkeys(names))
        for name in known:
            if plain.fullmatch(name):
                self._add(name, name)
        for name in known:
            self.outward(name)

    @classmethod
    def of(cls, request: Request, *, dotted: bool = False) -> Self:
        """Know the names a request offers or has called; those it offers stand first."""
        names = [tool.name for tool in request.tools if isinstance(tool, FunctionTool)]
        for message in request.messages:
            names.extend([part.name for part in message.parts if type(part) is ToolCall])
        return cls(names, dotted=dotted)

    def outward(self, name: str) -> str:
        """Return what the upstream shall call this tool; the same every time."""
        known = self._out.get(name)
        if known is not None:
            return known
        base = self._mended(name)
        mended, number = base, self._next.get(base, 2)
        while mended in self._back:
            tail = f"_{number}"
            mended, number = base[: MAX_LENGTH - len(tail)] + tail, number + 1
        self._next[base] = number
        self._add(name, mended)
        return mended

    def inward(self, name: str) -> str:
        """Return the client's name for what the upstream called; a name never sent out is returned as it is."""
        return self._back.get(name, name)

    def _add(self, name: str, mended: str) -> None:
        self._out[name] = mended
        self._back[mended] = name

    def _mended(self, name: str) -> str:
        mended = self._forbidden.sub("_", name)
        if not mended or not (mended[0].isalpha() or mended[0] == "_"):
            mended = "_" + mended
        return mended[:MAX_LENGTH]
