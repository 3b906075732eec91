"""A real daemon in this process: real sockets, real files in a temporary folder, and the sandbox as its provider.

Accounts are of the generic provider `sandbox`, planted as files with grants the sandbox knows.
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from broker.config import Config
from broker.daemon.assembly import Daemon, Sockets, build, open_sockets
from broker.ipc.client import BrokerClient
from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers import registry
from broker.providers.base import Client
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.settings.reading import parse
from broker.system import SystemClock

PROVIDER = "sandbox"
ANN = AccountId(PROVIDER, "ann@example.com")
BOB = AccountId(PROVIDER, "bob@example.com")


@dataclass
class Running:
    """What a test works with. `client` speaks to the control socket, `token_client` to the other."""

    folder: Path
    config: Config
    sandbox: Sandbox
    keepalive_seconds: float
    clock: SystemClock = field(default_factory=SystemClock)
    _daemon: Daemon | None = None
    _sockets: Sockets | None = None
    _clients: list[BrokerClient] = field(default_factory=list)

    @property
    def token_path(self) -> Path:
        return self.folder / "run" / "token.sock"

    @property
    def control_path(self) -> Path:
        return self.folder / "run" / "broker.sock"

    @property
    def auth(self) -> Path:
        return self.folder / "auth"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def daemon(self) -> Daemon:
        assert self._daemon is not None
        return self._daemon

    @property
    def client(self) -> BrokerClient:
        return self._connected(self.control_path)

    @property
    def token_client(self) -> BrokerClient:
        return self._connected(self.token_path)

    def _connected(self, path: Path) -> BrokerClient:
        self._clients.append(BrokerClient(path))
        return self._clients[-1]

    def plant(self, account: AccountId = ANN, *, lifetime: float = 3600.0) -> Path:
        """Write an auth file whose access token ends in `lifetime` seconds, as a login of that long ago would have."""
        now = self.clock.now()
        granted = self.sandbox.settings.access_lifetime
        then = Now(now.wall + lifetime - granted, now.boot + lifetime - granted)
        issued = self.sandbox.grants.issue(self.sandbox.client_id, account.label, ("openid",), then)
        tokens = Tokens(issued.access_token, issued.refresh_token, expires_at=now.wall + lifetime, scopes=("openid",))
        provider = registry.build(self.config.providers).get(account.provider)
        record = Record(account, tokens, email=account.label)
        name, document = provider.create(record, Client(self.sandbox.client_id), then)
        path = self.auth / name
        path.write_text(json.dumps(document))
        path.chmod(0o600)
        return path

    def owns(self, token: Secret) -> str | None:
        """Whose access token this is, if the sandbox accepts it."""
        alive = self.sandbox.grants.introspect(token, self.clock.now())
        return getattr(alive, "user", None)

    async def start(self) -> None:
        self._sockets = open_sockets(self.folder / "run", {}, 0)
        self._daemon = build(
            self.config,
            state_dir=self.state,
            env={"HOME": str(self.folder)},
            socket_paths=self._sockets.paths,
            keepalive_seconds=self.keepalive_seconds,
        )
        await self._daemon.start()
        self._daemon.server.start(self._sockets.token, self._sockets.control)

    async def stop(self) -> None:
        daemon, sockets = self._daemon, self._sockets
        self._daemon = self._sockets = None
        try:
            if daemon is not None:
                await daemon.stop()
        finally:
            if sockets is not None:
                sockets.close()

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        await self.stop()


@contextlib.asynccontextmanager
async def running_daemon(
    *accounts: AccountId,
    config: str = "",
    settings: SandboxSettings | None = None,
    lifetime: float = 3600.0,
    keepalive_seconds: float = 15.0,
) -> AsyncIterator[Running]:
    """A daemon with `accounts`; `config` is TOML added to the sandbox's."""
    # Not pytest's tmp_path: socket paths must stay short.
    folder = Path(tempfile.mkdtemp(prefix="ccsb-"))
    try:
        async with await Sandbox.start(settings) as sandbox:
            secret = folder / "secret"
            secret.touch(0o600)
            secret.write_text(sandbox.client_secret.reveal())
            (folder / "auth").mkdir(0o700)
            text = f'[store]\ndirectories = ["{folder}/auth"]\n{sandbox.config_toml(secret)}\n{config}'
            running = Running(folder, parse(text.encode()), sandbox, keepalive_seconds)
            for account in accounts:
                running.plant(account, lifetime=lifetime)
            try:
                await running.start()
                yield running
            finally:
                await running.close()
    finally:
        shutil.rmtree(folder)
