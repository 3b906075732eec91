"""One module a question: what does it cost, beside what it is compared with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Context:
    """How a run is made. `peers` maps a peer's name to its path, None where it is not installed."""

    quick: bool
    peers: dict[str, str | None]

    def rounds(self, quick: int, full: int) -> int:
        """Choose a number of rounds."""
        return quick if self.quick else full

    def seconds(self, quick: float, full: float) -> float:
        """Choose a duration."""
        return quick if self.quick else full

    def has(self, peer: str) -> bool:
        """Tell whether a peer is installed."""
        return self.peers.get(peer) is not None
