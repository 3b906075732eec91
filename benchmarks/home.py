"""A temporary home and the program's processes in it.

Owns: the folder, its auth files (made-up tokens that end in a day), the config, starting with the readiness message the program sends, and stopping. It must
never touch the user's own home, sockets or ports.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

from broker.paths import CONTROL_SOCKET, TOKEN_SOCKET
from broker.sandbox.config_text import config_toml

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
_LOG_TAIL_LINES = 15
_TOKEN_HOURS = 24

API_KEY_PROVIDER = "gemini-api"
CLAUDE_PROVIDER = "anthropic-api"


class BenchError(Exception):
    """A suite cannot be measured; the text says why."""


@dataclass(slots=True)
class Home:
    """The place. Close it."""

    path: Path = field(
        default_factory=lambda: Path(tempfile.mkdtemp(prefix="ccsbb-"))
    )  # short: socket paths are limited
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    more_env: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """The environment of every process: the user's own, with every place moved into the home."""
        kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH"}}
        return kept | {
            "HOME": str(self.path),
            "CCS_BROKER_CONFIG": str(self.path / "config.toml"),
            "CCS_BROKER_RUNTIME_DIR": str(self.path / "run"),
            "XDG_STATE_HOME": str(self.path / "state"),
            "NOTIFY_SOCKET": str(self.path / "notify"),
            **self.more_env,
        }

    @property
    def auth_dir(self) -> Path:
        """Where the auth files are."""
        return self.path / ".ccs" / "cliproxy" / "auth"

    @property
    def token_socket(self) -> Path:
        """The data-plane socket."""
        return self.path / "run" / TOKEN_SOCKET

    @property
    def control_socket(self) -> Path:
        """The other one."""
        return self.path / "run" / CONTROL_SOCKET

    def configure(
        self, *, upstream: str = "http://127.0.0.1:9", port: int = 0, workers: int = 1, more: str = ""
    ) -> None:
        """Write a config: every upstream and OAuth server is `upstream`, the proxy's port is `port`. All else is as by default, but for what `more` says."""
        secret = self.path / "client-secret"
        secret.write_text("fake-client-secret")
        secret.chmod(0o600)
        text = config_toml(upstream, "fake-client", str(secret))
        (self.path / "config.toml").write_text(
            f"[proxy]\nport = {port}\nworkers = {workers}\n\n{text}\n[upstreams.anthropic]\nbase_url = {json.dumps(upstream)}\n\n{more}"
        )

    def plant(self, number: int, *, provider: str = "gemini") -> Path:
        """Put an auth file in place as careful programs do, by a rename; return its path."""
        path = self.auth_file(number, provider)
        self.prepare(number, token="first", provider=provider).replace(path)
        return path

    def auth_file(self, number: int, provider: str = "gemini") -> Path:
        """Return where an account's file is."""
        return self.auth_dir / f"{provider}-user{number}.json"

    def prepare(self, number: int, *, token: str, provider: str = "gemini") -> Path:
        """Write an auth file beside the place it belongs to, under a name nobody takes for one."""
        self.auth_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.auth_dir / f".tmp-{provider}-{number}"
        temporary.write_text(json.dumps(auth_document(number, token, provider), indent=2))
        temporary.chmod(0o600)
        return temporary

    async def start(self, command: str) -> float:
        """Start `serve` or `proxy`; return the seconds until it said it was ready.

        Raises:
            BenchError: it ended, or said nothing for a minute; with the end of its log.
        """
        notify = self.path / "notify"
        notify.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, (self.path / f"{command}.log").open("ab") as log:
            told.bind(str(notify))
            told.setblocking(False)
            began = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "broker", command], env=self.env, cwd=self.path, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            self.processes[command] = process
            return await self._ready(command, process, told, began)

    async def _ready(self, command: str, process: subprocess.Popen[bytes], told: socket.socket, began: float) -> float:
        loop = asyncio.get_running_loop()
        while time.perf_counter() - began < READY_SECONDS:
            with contextlib.suppress(TimeoutError):
                message = await asyncio.wait_for(loop.sock_recv(told, 4096), 0.2)
                if b"READY=1" in message:
                    return time.perf_counter() - began
            if process.poll() is not None:
                raise BenchError(f"`{command}` ended with code {process.returncode}:\n{self.tail()}")
        raise BenchError(f"`{command}` was not ready within {READY_SECONDS:g} s:\n{self.tail()}")

    def pid(self, command: str) -> int:
        """Return the process id of what was started."""
        return self.processes[command].pid

    async def stop(self, command: str) -> None:
        """Ask a process to end (SIGTERM) and wait; kill it where it does not."""
        process = self.processes.pop(command)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BenchError(f"`{command}` did not stop within {STOP_SECONDS:g} s") from None

    async def close(self) -> None:
        """Stop everything and remove the folder."""
        for command in reversed(list(self.processes)):
            with contextlib.suppress(BenchError):
                await self.stop(command)
        await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)

    def tail(self) -> str:
        """Return the last lines of each log."""
        logs = sorted(self.path.glob("*.log"))
        return "\n".join("\n".join(each.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]) for each in logs)


class UnixConnection(HTTPConnection):
    """The standard library's HTTP client over a Unix socket, kept alive."""

    def __init__(self, path: Path, seconds: float = 30.0) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

    def ask(self, path: str) -> tuple[int, bytes]:
        """GET a path; return status and body."""
        self.request("GET", path)
        answer = self.getresponse()
        return answer.status, answer.read()


def auth_document(number: int, token: str, provider: str) -> dict[str, object]:
    """Return a made-up account: a login of Gemini CLI as CLIProxyAPI writes it, or a key of the Gemini or the Anthropic API."""
    if provider in {API_KEY_PROVIDER, CLAUDE_PROVIDER}:
        key = f"fake-key-{number}-{token}"
        return {"type": "api-key", "provider": provider, "label": f"user{number}", "api_key": key}
    ends = (datetime.now(UTC) + timedelta(hours=_TOKEN_HOURS)).replace(microsecond=0).isoformat()
    held = {
        "access_token": f"fake-access-{number}-{token}-" + "x" * 160,  # as long as Google's
        "refresh_token": f"fake-refresh-{number}-" + "x" * 80,
        "token_type": "Bearer",
        "expiry": ends,
        "token_uri": "https://oauth2.example/token",
        "universe_domain": "googleapis.com",
    }
    return {
        "token": held, "project_id": f"fake-project-{number}", "email": f"user{number}@example.com", "auto": False, "checked": True,
        "type": "gemini", "disabled": False,
    }  # fmt: skip


def lease_path(number: int) -> str:
    """Return the path of the lease of a Gemini CLI account."""
    return f"/v1/lease/gemini/{quote(f'user{number}@example.com')}?min_validity=60&max_wait=10"


def free_port() -> int:
    """Return a TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
