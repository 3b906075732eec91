"""Why a config file is refused.

Owns: a fault with its place, and the error that carries all of them. Pure.
"""

from collections.abc import Mapping

import msgspec

from broker.model.errors import BrokerError, ErrorCode, SettingError
from broker.settings.checks import dotted
from broker.settings.lines import Key, line_of

_HINT = "docs/config.md lists every setting."


class Located(msgspec.Struct, frozen=True):
    """One fault of a file. `line` and `column` count from 1; a fault of TOML has both and no key, one of a setting has its line and its key."""

    text: str
    line: int | None = None
    column: int | None = None
    key: tuple[str, ...] = ()

    def said(self, file: str) -> str:
        """Say it as compilers do: file, line, what is wrong."""
        place = "".join(f":{number}" for number in (self.line, self.column) if number is not None)
        about = f"{dotted(self.key)}: " if self.key else ""
        return f"{file}{place}: {about}{self.text}"


def located(error: SettingError, file: str, lines: Mapping[Key, int]) -> "ConfigError":
    """Return what a part of the program says of a setting as a fault of the file it stands in."""
    return ConfigError(file, (Located(error.text, line_of(error.key, lines), key=error.key),))


class ConfigError(BrokerError):
    """A config file that cannot be used. `faults` are all that were found, in the order of the file; the detail tells the first, and how many more."""

    def __init__(self, file: str, faults: tuple[Located, ...]) -> None:
        """Refuse `file`, for at least one fault."""
        first, *more = sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0))
        rest = f" ({len(more)} more: ccs-broker config check)" if more else ""
        super().__init__(ErrorCode.BAD_REQUEST, first.said(file) + rest, hint=_HINT)
        self.file = file
        self.faults = (first, *more)
