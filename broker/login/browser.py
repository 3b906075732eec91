"""Opening a browser, or knowing better.

Owns: telling whether a browser can open here, opening one, and the ssh command that brings the callback to a machine that has one.
"""

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

Env = Mapping[str, str]

_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_OPENERS_LINUX = (("wslview",), ("xdg-open",), ("gio", "open"))
_OPENERS_MAC = (("open",),)
_OPEN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Headless:
    """Why no browser can open here. `tunnel` is the command that brings the callback over, to be run where the browser is; None where there is none."""

    reason: str
    tunnel: str | None = None


def headless(port: int | None, env: Env = os.environ, platform: str = sys.platform) -> Headless | None:
    """Tell whether a browser can open; `port` is where the callback is waited for, None where nothing listens. None where one can."""
    if env.get("SSH_CONNECTION") or env.get("SSH_TTY"):
        return Headless("this is an ssh session", _over_ssh(port, env))
    if _in_container(env):
        # No way in: what listens on loopback in a container is not reached by a published port.
        return Headless("this is a container")
    if platform.startswith("linux") and not any(
        env.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    ):
        return Headless("there is no graphical session", _over_ssh(port, env))
    return None


async def open_browser(url: str, env: Env = os.environ, platform: str = sys.platform) -> bool:
    """Open `url` in the person's browser; tell whether a program took it. Never raises, never waits for long, never writes to the terminal."""
    command = _opener(env, platform)
    return command is not None and await asyncio.to_thread(_run_opener, (*command, url), env)


def _run_opener(command: tuple[str, ...], env: Env) -> bool:
    # Not asyncio's: it kills what still runs when its loop ends, and some openers stay as long as the browser does.
    try:
        process = subprocess.Popen(  # noqa: S603 - the person's own opener, and an argument that cannot be an option
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=dict(env),
        )
    except OSError:
        return False
    try:
        return process.wait(_OPEN_SECONDS) == 0
    except subprocess.TimeoutExpired:
        process.returncode = 0  # it is the person's now: without this, dropping the object warns
        return True


def _opener(env: Env, platform: str) -> tuple[str, ...] | None:
    candidates = _OPENERS_MAC if platform == "darwin" else _OPENERS_LINUX
    chosen = [(name,) for name in env.get("BROWSER", "").split(":") if name and "%" not in name]
    for program, *arguments in (*chosen, *candidates):
        if found := shutil.which(program, path=env.get("PATH", os.defpath)):
            return (found, *arguments)
    return None


def _in_container(env: Env) -> bool:
    return bool(env.get("container")) or any(mark.exists() for mark in _CONTAINER_MARKS)


def _over_ssh(port: int | None, env: Env) -> str | None:
    if port is None:
        return None
    # "client address, client port, server address, server port"
    parts = env.get("SSH_CONNECTION", "").split()
    host = parts[2] if len(parts) == 4 else socket.gethostname()
    user = env.get("USER") or getpass.getuser()
    other = f" -p {parts[3]}" if len(parts) == 4 and parts[3] != "22" else ""
    return f"ssh{other} -L {port}:localhost:{port} {user}@{host}"
