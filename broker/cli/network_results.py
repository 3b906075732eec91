"""What the commands about outbound proxies return, as `broker.cli.results` has it for the others. It must never print, and never hold a password."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.ipc.network_schema import NetworkRoute, NetworkTestAnswer


@dataclass(frozen=True, slots=True)
class Ways:
    """`network show`."""

    routes: "tuple[NetworkRoute, ...]"


@dataclass(frozen=True, slots=True)
class WayTried:
    """`network test`."""

    answer: "NetworkTestAnswer"
