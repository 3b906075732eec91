"""Putting the units in place under a `systemd --user` manager.

Owns: which files go where and which systemctl commands follow. `broker.service.units` says what the files hold. Nothing here touches
auth files, state or config.
"""

from collections.abc import Mapping
from pathlib import Path

from broker.service import units
from broker.service.steps import Action, Step, Tool, UnitState, put, read, remove
from broker.service.units import Values

ALL_UNITS = (*units.SOCKET_UNITS, units.DAEMON_UNIT, units.PROXY_UNIT)

_SANDBOXES = (units.DAEMON_SANDBOX, units.PROXY_SANDBOX)
_REACHABLE = frozenset({"running", "degraded", "starting", "initializing", "maintenance"})
_JOURNAL = "Look at: journalctl --user -u ccs-broker -u ccs-broker-proxy"
_LATER = "systemctl --user daemon-reload && systemctl --user enable --now " + " ".join(ALL_UNITS)


class Systemd:
    """The user's systemd. `folder` is the unit folder, `environ` what systemctl needs to find the manager."""

    name = "systemd"

    def __init__(self, values: Values, folder: Path, environ: Mapping[str, str]) -> None:
        """Nothing is run yet."""
        self._values = values
        self._texts = {name: text.encode() for name, text in units.systemd_units(values).items()}
        self._folder = folder
        self._runtime = environ.get("XDG_RUNTIME_DIR") or "/run"
        self._systemctl = Tool("systemctl", environ)
        self._systemd_run = Tool("systemd-run", environ)

    def install(self, *, start: bool) -> tuple[Step, ...]:
        """Write the units, enable them, and with `start` (re)start what changed or does not run."""
        reachable = self._reachable()
        steps = self._put_files(sandbox=self._sandbox(reachable=reachable))
        if not reachable:
            why = (
                "not on this system" if not self._systemctl.exists else "the user's manager cannot be reached from here"
            )
            return (*steps, Step(Action.SKIPPED, "systemctl --user", f"{why}; in a login session run: {_LATER}"))
        changed = any(step.action in (Action.WROTE, Action.REMOVED) for step in steps)
        steps.append(self._run("daemon-reload"))
        steps.append(self._run("enable", *ALL_UNITS))
        if start and changed:
            # A socket unit is not started anew while its service runs, so everything stops first.
            steps.append(self._run("stop", *reversed(ALL_UNITS)))
        if start:
            steps.append(self._run("start", *ALL_UNITS))
        return tuple(steps)

    def uninstall(self) -> tuple[Step, ...]:
        """Stop and disable the units, and take the files away. Drop-ins of the user's own stay."""
        steps: list[Step] = []
        present = [name for name in ALL_UNITS if (self._folder / name).exists()]
        reachable = self._reachable()
        if reachable and present:
            steps.append(self._run("disable", "--now", *reversed(present)))
        links = [
            self._folder / f"{target}.wants" / name
            for target in ("default.target", "sockets.target")
            for name in ALL_UNITS
        ]
        # What `disable` removes; where the manager cannot be reached, the links would dangle.
        steps += [step for file in links if (step := remove(file))]
        steps += [step for name in self._texts if (step := remove(self._folder / name))]
        if reachable and present:
            steps.append(self._run("daemon-reload"))
        return tuple(steps)

    def status(self) -> tuple[UnitState, ...]:
        """Tell how each unit stands."""
        reachable = self._reachable()
        return tuple(self._state(name, reachable=reachable) for name in ALL_UNITS)

    def _state(self, name: str, *, reachable: bool) -> UnitState:
        file = self._folder / name
        text = read(file)
        shown: dict[str, str] = {}
        if reachable:
            ran = self._systemctl.try_run("--user", "show", "-p", "ActiveState,SubState,MainPID", name)
            shown = dict(line.split("=", 1) for line in ran.output.splitlines() if "=" in line)
        active, sub = shown.get("ActiveState"), shown.get("SubState")
        pid = int(shown.get("MainPID") or 0)
        return UnitState(
            name=name,
            file=str(file),
            installed=text is not None,
            current=text == self._texts[name],
            state=f"{active} ({sub})" if active else "manager not reachable",
            pid=pid or None,
        )

    def _put_files(self, *, sandbox: Step | None) -> list[Step]:
        steps = []
        for name, text in self._texts.items():
            if name not in _SANDBOXES or sandbox is None:
                steps.append(put(self._folder / name, text))
                continue
            if removed := remove(self._folder / name):
                steps.append(removed)
        return steps if sandbox is None else [*steps, sandbox]

    def _sandbox(self, *, reachable: bool) -> Step | None:
        """Try what the drop-ins ask for; None when it works, else the step that says why they are left out."""
        if not reachable:
            why = "no manager to try it with"
        else:
            if self._works_inside(units.daemon_sandbox(self._values), *map(_literal, self._values.writable)) and (
                self._works_inside(units.proxy_sandbox(self._values), *map(_literal, self._values.proxy_writable))
            ):
                return None
            why = "it cannot be made here, or would hide our files (are they below /tmp?)"
        return Step(Action.SKIPPED, " and ".join(_SANDBOXES), f"{why}; the services run without the stricter sandbox")

    def _works_inside(self, settings: tuple[str, ...], *folders: str) -> bool:
        """Tell whether, inside a sandbox of these settings, the program is there and the folders can be written."""
        # A transient unit's settings know no specifiers.
        known = [_literal(setting.replace("%t", self._runtime)) for setting in settings]
        options = [part for setting in known for part in ("-p", setting)]
        check = 'test -x "$0" || exit 1; for folder; do test -w "$folder" || exit 1; done'
        command = ("/bin/sh", "-c", check, _literal(self._values.executable), *folders)
        return self._systemd_run.try_run("--user", "--quiet", "--wait", "--collect", *options, *command).status == 0

    def _reachable(self) -> bool:
        return self._systemctl.try_run("--user", "is-system-running").output in _REACHABLE

    def _run(self, *arguments: str) -> Step:
        return self._systemctl.run("--user", *arguments, hint=_JOURNAL)


def _literal(path: str) -> str:
    # Values made for an installation hold no specifiers here, only escaped percent signs.
    return path.replace("%%", "%")
