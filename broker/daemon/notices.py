"""Telling a person: the hook command, and a notice on the desktop.

Owns: running both, with a limit on time and nothing of theirs kept. It must never pass a secret, put an account's name (an e-mail address) where other users
of the machine see it (arguments, environment), use a shell, or raise: a notice that fails is a line in the log.

The hook reads one JSON object from its standard input: `account`, `provider`, `state`, `reason`, `hint`, `since` (seconds since the epoch).
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence

from broker.config import NotifyConfig
from broker.model.account import StateName
from broker.observe.redact import redact
from broker.refresh.incidents import Incident

_log = logging.getLogger(__name__)

LIMIT_SECONDS = 10.0

# Enough to find programs and a desktop; the rest of the daemon's environment may hold what is nobody's business.
_PASSED = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_MESSAGES", "TZ", "TMPDIR",
        "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
    }
)  # fmt: skip

_TITLES = {
    StateName.NEEDS_LOGIN: "{provider}: log in again",
    StateName.UNSAVED: "{provider}: a login cannot be saved",
    StateName.AMBIGUOUS: "{provider}: a login may be lost",
}
# The text is an argument of the script, never part of it.
_OSASCRIPT = (
    "-e", "on run argv",
    "-e", "display notification (item 2 of argv) with title (item 1 of argv)",
    "-e", "end run",
)  # fmt: skip


class Notices:
    """Runs what the config asks for. `env` is the daemon's environment."""

    def __init__(self, config: NotifyConfig, env: Mapping[str, str], *, limit_seconds: float = LIMIT_SECONDS) -> None:
        """Run nothing yet."""
        self.config = config
        """May be replaced at any time."""
        self._env = {name: value for name, value in env.items() if name in _PASSED}
        self._limit = limit_seconds

    async def tell(self, incident: Incident) -> None:
        """Tell of one incident, and return when that is done or was given up. Never raises."""
        if self.config.command:
            failure = await self._run(self.config.command, document(incident))
            if failure is not None:
                _log.warning("notify.command failed", extra={"reason": failure})
        argv = self._desktop(incident) if self.config.desktop else None
        if argv is not None and (failure := await self._run(argv, b"")) is not None:
            # No desktop may be running: nothing is wrong with that.
            _log.debug("no desktop notice", extra={"reason": failure})

    def _desktop(self, incident: Incident) -> Sequence[str] | None:
        title = _TITLES[incident.told.kind].format(provider=incident.account.provider)
        text = f"{redact(incident.reason)}. {incident.hint} See also: ccs-broker status"
        path = self._env.get("PATH", os.defpath)
        if sys.platform == "darwin" and (found := shutil.which("osascript", path=path)):
            return (found, *_OSASCRIPT, "--", title, text)
        if found := shutil.which("notify-send", path=path):
            return (found, "--app-name=ccs-broker", "--", title, text)
        return None

    async def _run(self, argv: Sequence[str], said: bytes) -> str | None:
        """Run a program; return why it failed, None where it did not."""
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._env,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"it cannot be started: {getattr(error, 'strerror', None) or error}"
        try:
            async with asyncio.timeout(self._limit):
                # A program that ends without reading has closed the pipe already: asyncio forgives that, uvloop calls it a RuntimeError.
                with contextlib.suppress(RuntimeError):
                    await process.communicate(said)
                await process.wait()
        except TimeoutError:
            return f"it did not end within {self._limit:g} s"
        finally:
            await _end(process)
        return None if process.returncode == 0 else f"it ended with code {process.returncode}"


def document(incident: Incident) -> bytes:
    """Return what the hook reads."""
    told = {
        "account": str(incident.account),
        "provider": incident.account.provider,
        "state": incident.told.kind.value,
        "reason": redact(incident.reason),
        "hint": incident.hint,
        "since": round(incident.since, 3),
    }
    return json.dumps(told, ensure_ascii=False).encode(errors="replace") + b"\n"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave nothing running: its whole session, as a hook may have started more."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
