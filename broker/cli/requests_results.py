"""What `requests list` and `requests show` return.

Owns: the shapes, as `broker.cli.results` does for the others.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A request in the log. `began` is UTC (ISO 8601), `accounts` are those that were asked, in order, by their names in logs."""

    id: str
    began: str
    seconds: float
    route: str
    model: str | None
    opened_by: str | None
    status: int
    outcome: str
    accounts: tuple[str, ...]
    attempts: int
    folder: str


@dataclass(frozen=True, slots=True)
class RequestList:
    """`requests list`: newest first. `enabled` says whether the config has the log switched on."""

    directory: str
    enabled: bool
    requests: tuple[RequestLine, ...]


@dataclass(frozen=True, slots=True)
class RequestShown:
    """`requests show`: the text of each file, in the order in which they passed."""

    folder: str
    files: dict[str, str]
