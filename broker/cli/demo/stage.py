"""The demo's stage: a temporary home and the processes that run in it.

Owns: starting, watching and stopping them, and the folder. It must never touch the user's own home, sockets or ports.
"""

import asyncio
import json
import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from broker.cli.demo.child import Child
from broker.config import INTERNAL_KEY
from broker.ipc.client import BrokerClient
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.paths import CONTROL_SOCKET, TOKEN_SOCKET
from broker.sandbox.config_text import config_toml

START_SECONDS = 30.0
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_LOG_TAIL_LINES = 15


class DemoFailedError(Exception):
    """A step did not show what it should; the text says what was seen instead."""


@dataclass(slots=True)
class Stage:
    """A running demo. `home` holds everything it makes."""

    home: Path
    clock: Clock
    processes: dict[str, Child] = field(default_factory=dict)
    extra_env: dict[str, str] = field(default_factory=dict)
    sandbox_url: str = ""
    proxy_url: str = ""

    @classmethod
    def build(cls, clock: Clock) -> "Stage":
        """Make the temporary home, for this user only."""
        # Socket paths are limited to about a hundred bytes, so the folder's name is kept short.
        return cls(Path(tempfile.mkdtemp(prefix="ccsb-")), clock)

    @property
    def env(self) -> dict[str, str]:
        """The environment of every process of the demo: the user's own, with every place moved into the temporary home."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if key in {"PATH", "LANG", "LC_ALL", "TERM", "COVERAGE_PROCESS_START"}
        }
        return kept | self.extra_env | self.places

    @property
    def places(self) -> dict[str, str]:
        """The variables that move every place into the temporary home."""
        return {
            "HOME": str(self.home),
            "CCS_BROKER_CONFIG": str(self.config_file),
            "CCS_BROKER_RUNTIME_DIR": str(self.home / "run"),
            "XDG_STATE_HOME": str(self.home / "state"),
        }

    @property
    def config_file(self) -> Path:
        """The demo's config."""
        return self.home / "config.toml"

    @property
    def auth_dir(self) -> Path:
        """Where the demo's auth files are."""
        return self.home / ".ccs" / "cliproxy" / "auth"

    @property
    def token_socket(self) -> Path:
        """The data-plane socket."""
        return self.home / "run" / TOKEN_SOCKET

    def client(self) -> BrokerClient:
        """Return a client of the daemon that may do everything."""
        return BrokerClient(self.home / "run" / CONTROL_SOCKET, timeout=30.0)

    async def start_sandbox(self, access_lifetime: float, **settings: object) -> None:
        """Start the OAuth server and upstream, and write the config that points at it; `settings` as docs/sandbox.md lists them."""
        secret_file, chosen = self.home / "client-secret", self.home / "sandbox.json"
        chosen.write_text(json.dumps({"access_lifetime": access_lifetime, "rotate": "strict", **settings}))
        process = self._spawn(
            "sandbox",
            "--client-secret-file",
            str(secret_file),
            "--api-key-file",
            str(self.home / "api-key"),
            "--settings-file",
            str(chosen),
            piped=True,
        )
        line = await asyncio.wait_for(process.first_line(), START_SECONDS)
        if not line:
            raise DemoFailedError("the sandbox did not start")
        told = json.loads(line)
        self.sandbox_url = told["url"]
        self._write_config(told["client_id"], secret_file)

    def _write_config(self, client_id: str, secret_file: Path) -> None:
        port = _free_port()
        self.proxy_url = f"http://127.0.0.1:{port}"
        self.config_file.write_text(
            # Renewal on demand: the demo wants to show a token's real end, which the daemon normally never lets happen.
            f"[refresh]\nahead = false\n\n[proxy]\nport = {port}\n\n{config_toml(self.sandbox_url, client_id, str(secret_file))}"
        )

    async def start_daemon(self) -> None:
        """Start the daemon and wait until it answers."""
        process = self._spawn("serve")
        async with self.client() as client:
            await self._until("daemon", process, client.health)

    async def start_proxy(self) -> None:
        """Start the proxy and wait until it listens."""
        process = self._spawn("proxy")
        host, port = self.proxy_url.removeprefix("http://").split(":")

        async def connect() -> None:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()

        await self._until("proxy", process, connect)

    async def stop(self, name: str) -> int:
        """Ask a process to stop (SIGTERM) and wait; returns its exit code."""
        process = self.processes.pop(name)
        if process.returncode is None:
            process.terminate()
        try:
            return await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise DemoFailedError(f"the {name} did not stop within {STOP_SECONDS:g} s") from None

    async def close(self) -> None:
        """Stop everything and remove the folder."""
        for name in reversed(list(self.processes)):
            try:
                await self.stop(name)
            except DemoFailedError:
                continue
        await asyncio.to_thread(shutil.rmtree, self.home, ignore_errors=True)

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command of the program in the demo's home; return its exit code and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "broker", *arguments, env=self.env, cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        written, _ = await asyncio.wait_for(process.communicate(), START_SECONDS)
        return process.returncode or 0, written.decode(errors="replace")

    def tail(self) -> str:
        """Return the last log lines of each process."""
        parts = []
        for log in sorted(self.home.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
            parts.append("\n".join([f"--- {log.name}", *lines]))
        return "\n".join(parts)

    def _spawn(self, name: str, *arguments: str, piped: bool = False) -> Child:
        with (self.home / f"{name}.log").open("ab") as log:
            child = Child.start((name, *arguments), self.env, self.home, log, piped=piped)
        self.processes["daemon" if name == "serve" else name] = child
        return child

    async def _until(self, name: str, process: Child, probe: Callable[[], Awaitable[object]]) -> None:
        deadline = self.clock.now().boot + START_SECONDS
        while True:
            try:
                await probe()
            except (BrokerError, OSError) as error:
                if process.returncode is not None:
                    raise DemoFailedError(f"the {name} ended with code {process.returncode}") from None
                if self.clock.now().boot > deadline:
                    raise DemoFailedError(f"the {name} did not answer within {START_SECONDS:g} s: {error}") from None
                await self.clock.sleep(_POLL_SECONDS)
            else:
                return


def mode_of(path: Path) -> str:
    """Return a file's permission bits as `0600`."""
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def headers() -> dict[str, str]:
    """Return what a client that CCS configured sends."""
    return {"Authorization": f"Bearer {INTERNAL_KEY}"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
