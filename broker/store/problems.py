"""What is wrong right now, said once in the log and for as long as it lasts in the health report.

Owns: the list of problems by what they are about. It must never hold content of a file.
"""

import logging
from collections.abc import Hashable

_log = logging.getLogger(__name__)


class Problems:
    """Sentences by subject."""

    def __init__(self) -> None:
        """Begin with none."""
        self._now: dict[Hashable, str] = {}

    def report(self, subject: Hashable, sentence: str, *, fault: str = "", file: str = "") -> None:
        """Say that something is wrong; the same sentence about the same subject is logged once."""
        if self._now.get(subject) != sentence:
            self._now[subject] = sentence
            _log.warning("store problem", extra={"problem": sentence, "fault": fault, "file": file})

    def clear(self, subject: Hashable) -> None:
        """Say that it is well again."""
        sentence = self._now.pop(subject, None)
        if sentence is not None:
            _log.info("store problem over", extra={"problem": sentence})

    def sentences(self) -> tuple[str, ...]:
        """Return all, oldest first."""
        return tuple(self._now.values())
