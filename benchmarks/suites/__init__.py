"""One module a question: what does it cost, beside what it is compared with."""

from dataclasses import dataclass, field

from benchmarks import rig
from benchmarks.home import BenchError
from benchmarks.rig import Rig


class Absent(BenchError):  # noqa: N818 - it is no fault
    """A suite cannot be measured here as a peer is not there; the text says which."""


COMPILER = ": it is compiled by `make bench` where there is a C compiler (cc)"


@dataclass(slots=True)
class Context:
    """How a run is made. `peers` maps a peer's name to its path, None where it is not there. Close it."""

    quick: bool
    peers: dict[str, str | None]
    _rig: Rig | None = field(default=None, repr=False)

    def rounds(self, quick: int, full: int) -> int:
        """Choose a number of rounds."""
        return quick if self.quick else full

    def seconds(self, quick: float, full: float) -> float:
        """Choose a duration."""
        return quick if self.quick else full

    def has(self, peer: str) -> bool:
        """Tell whether a peer is installed."""
        return self.peers.get(peer) is not None

    def need(self, peer: str, why: str = "") -> str:
        """Return where a peer is.

        Raises:
            Absent: it is not there.
        """
        place = self.peers.get(peer)
        if place is None:
            raise Absent(f"{peer} is not there{why}")
        return place

    def loader(self) -> str:
        """Return the load generator in C.

        Raises:
            Absent: it is not compiled.
        """
        return self.need("loader", COMPILER)

    async def rig(self) -> Rig:
        """Return what the proxy's suites share, started on first use.

        Raises:
            Absent: there was no compiler.
            BenchError: something did not start.
        """
        if self._rig is None:
            self._rig = await rig.build(self.need("upstream", COMPILER), self.loader())
        return self._rig

    async def close(self) -> None:
        """Stop what was started."""
        if self._rig is not None:
            await self._rig.close()
            self._rig = None
