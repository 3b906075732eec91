"""Putting the plists in place for launchd, on macOS.

Owns: which files go where and which launchctl commands follow. `broker.service.units` says what the files hold. Nothing here touches
auth files, state or config.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from broker.service import units
from broker.service.steps import Action, Step, Tool, UnitState, put, read, remove
from broker.service.units import Values

LABELS = (units.DAEMON_LABEL, units.PROXY_LABEL)

_STATE = re.compile(r"^\s*state = (.+)$", re.MULTILINE)
_PID = re.compile(r"^\s*pid = (\d+)$", re.MULTILINE)


class Launchd:
    """The user's launchd domain. `folder` is ~/Library/LaunchAgents."""

    name = "launchd"

    def __init__(self, values: Values, folder: Path, environ: Mapping[str, str], uid: int) -> None:
        """Nothing is run yet."""
        self._texts = units.launchd_plists(values)
        self._folder = folder
        self._launchctl = Tool("launchctl", environ)
        self._domain = f"gui/{uid}"
        self._hint = f"Look at: {values.log_dir}" if values.log_dir else "Look at: launchctl print " + self._domain

    def install(self, *, start: bool) -> tuple[Step, ...]:
        """Write the plists; with `start` load what changed or is not loaded."""
        steps: list[Step] = []
        for label in LABELS:
            wrote = put(self._file(label), self._texts[f"{label}.plist"])
            steps.append(wrote)
            loaded = self._loaded(label)
            if not start or (loaded and wrote.action is Action.UNCHANGED):
                continue
            if loaded:
                steps.append(self._run("bootout", f"{self._domain}/{label}"))
            steps.append(self._run("bootstrap", self._domain, str(self._file(label))))
        return tuple(steps)

    def uninstall(self) -> tuple[Step, ...]:
        """Unload the jobs and take the files away."""
        steps: list[Step] = []
        for label in reversed(LABELS):
            if self._loaded(label):
                steps.append(self._run("bootout", f"{self._domain}/{label}"))
            if removed := remove(self._file(label)):
                steps.append(removed)
        return tuple(steps)

    def status(self) -> tuple[UnitState, ...]:
        """Tell how each job stands."""
        return tuple(self._state(label) for label in LABELS)

    def _state(self, label: str) -> UnitState:
        file = self._file(label)
        text = read(file)
        ran = self._launchctl.try_run("print", f"{self._domain}/{label}")
        state, pid = _STATE.search(ran.output), _PID.search(ran.output)
        return UnitState(
            name=label,
            file=str(file),
            installed=text is not None,
            current=text == self._texts[f"{label}.plist"],
            state=state[1] if ran.status == 0 and state else "not loaded",
            pid=int(pid[1]) if pid else None,
        )

    def _loaded(self, label: str) -> bool:
        return self._launchctl.try_run("print", f"{self._domain}/{label}").status == 0

    def _file(self, label: str) -> Path:
        return self._folder / f"{label}.plist"

    def _run(self, *arguments: str) -> Step:
        return self._launchctl.run(*arguments, hint=self._hint)
