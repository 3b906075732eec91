"""Homes with a real daemon process each, and a sandbox in this process that sees every refresh token presented.

The sandbox is in its strictest mode: a refresh token is good once, and one presented again revokes its whole family.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.ipc.client import BrokerClient
from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError
from broker.model.secret import Digest, Secret
from broker.providers import registry
from broker.providers.base import Client
from broker.sandbox.grants import Alive, Grants, Issued
from broker.sandbox.grants import Client as Registered
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.settings.reading import parse
from broker.system import SystemClock

ROOT = Path(__file__).parents[3]
PROVIDER = "sandbox"
START_SECONDS = 30.0
FIELDS = {"x_mine": {"deep": [1, None, "kept – as it is"]}, "priority": 7, "big": 123456789012345678901234567890}


class Witness(Grants):
    """The sandbox's grants, with a memory of every refresh: what was presented, and what followed."""

    def __init__(self, base: Grants) -> None:
        super().__init__(**{each.name: getattr(base, each.name) for each in dataclasses.fields(Grants)})
        self.current: dict[str, Digest] = {}
        self.replays: list[tuple[str, Digest]] = []
        self.rotations = 0
        self.moments: list[float] = []
        self.at_rotation: dict[str, Callable[[], None]] = {}

    def refresh(self, client: Registered, token: Secret, now: Now, scopes: tuple[str, ...] = ()) -> Issued:
        known = self._refresh.get(token.digest())
        if known is not None and known.spent_at is not None:
            self.replays.append((self._families[known.family].user, token.digest()))
        issued = super().refresh(client, token, now, scopes)
        assert issued.refresh_token is not None
        self.rotations += 1
        self.moments.append(now.boot)
        self.current[issued.user] = issued.refresh_token.digest()
        if (strike := self.at_rotation.pop(issued.user, None)) is not None:
            strike()
        return issued


@dataclass
class Truth:
    """The authorization server, and what it knows."""

    sandbox: Sandbox
    witness: Witness
    clock: SystemClock = field(default_factory=SystemClock)

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, **settings: object) -> AsyncIterator["Truth"]:
        async with await Sandbox.start(SandboxSettings(**settings)) as sandbox:  # type: ignore[arg-type]
            witness = Witness(sandbox.world.grants)
            sandbox.world.grants = witness
            yield cls(sandbox, witness)

    @property
    def posts(self) -> int:
        return self.sandbox.stats.refresh_posts

    def accepts(self, access: Secret) -> bool:
        return isinstance(self.witness.introspect(access, self.clock.now()), Alive)


@dataclass
class Home:
    """A folder with a config and an auth file, and the daemon that runs there."""

    truth: Truth
    user: str
    folder: Path
    auth: Path
    process: asyncio.subprocess.Process | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def made(
        cls, truth: Truth, user: str = "ann@example.com", *, config: str = "", auth: Path | None = None
    ) -> AsyncIterator["Home"]:
        # Not pytest's tmp_path: socket paths must stay short.
        folder = Path(tempfile.mkdtemp(prefix="ccsb-"))
        home = cls(truth, user, folder, auth or folder / "auth")
        home.auth.mkdir(0o700, exist_ok=True)
        secret = folder / "secret"
        secret.touch(0o600)
        secret.write_text(truth.sandbox.client_secret.reveal())
        text = truth.sandbox.config_toml(secret)
        home.config_file.write_text(f'[store]\ndirectories = ["{home.auth}"]\n\n{config}\n\n{text}')
        try:
            yield home
        finally:
            await home.kill()
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def account(self) -> AccountId:
        return AccountId(PROVIDER, self.user)

    @property
    def config_file(self) -> Path:
        return self.folder / "config.toml"

    @property
    def file(self) -> Path:
        return self.auth / f"{PROVIDER}-{self.user}.json"

    @property
    def journal(self) -> Path:
        return self.auth / ".ccs-broker" / "journal" / f"{self.file.name}.rotation"

    @property
    def control(self) -> Path:
        return self.folder / "run" / "broker.sock"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "CCS_BROKER_CONFIG": str(self.config_file),
            "CCS_BROKER_RUNTIME_DIR": str(self.folder / "run"),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }

    def client(self) -> BrokerClient:
        return BrokerClient(self.control, timeout=30.0)

    # --- the login ---

    def plant(self, left: float = 3600.0, path: Path | None = None) -> None:
        """Log in: write a file with a grant of its own whose access token has `left` seconds, as a careful program does."""
        now, settings = self.truth.clock.now(), self.truth.sandbox.settings
        then = Now(now.wall + left - settings.access_lifetime, now.boot + left - settings.access_lifetime)
        issued = self.truth.witness.issue(self.truth.sandbox.client_id, self.user, ("openid",), then)
        assert issued.refresh_token is not None
        tokens = Tokens(issued.access_token, issued.refresh_token, expires_at=now.wall + left, scopes=("openid",))
        provider = registry.build(parse(self.config_file.read_bytes()).providers).get(PROVIDER)
        _, document = provider.create(
            Record(self.account, tokens, email=self.user), Client(self.truth.sandbox.client_id), then
        )
        place = path or self.file
        temporary = place.with_name(".planting")
        temporary.touch(0o600)
        temporary.write_text(json.dumps({**document, **FIELDS}))
        temporary.replace(place)
        self.truth.witness.current[self.user] = issued.refresh_token.digest()

    def document(self) -> dict[str, object]:
        """The auth file; raises where it is torn."""
        found = json.loads(self.file.read_bytes())
        assert isinstance(found, dict)
        return found

    def refresh_digest(self) -> Digest:
        return Secret(str(self.document()["refresh_token"])).digest()

    # --- the daemon ---

    async def spawn(self, prefix: Sequence[str] = (), env: dict[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start `python -m broker serve`."""
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *prefix, sys.executable, "-m", "broker", "serve", env={**self.environ, **(env or {})}, cwd=self.folder,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self.process

    async def start(self, prefix: Sequence[str] = (), env: dict[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start it, and wait until it answers."""
        process = await self.spawn(prefix, env)
        assert await self.answering(lambda: process.returncode is None), self.log()
        return process

    async def answering(self, alive: Callable[[], bool]) -> bool:
        """Wait until the daemon answers; false where it died first."""
        async with asyncio.timeout(START_SECONDS), self.client() as client:
            while alive():
                try:
                    await client.health()
                except BrokerError:
                    await asyncio.sleep(0.01)
                else:
                    return True
        return False

    async def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()

    def log(self) -> str:
        path = self.folder / "daemon.log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""


async def until(seen: Callable[[], object], *, within: float = 10.0, step: float = 0.02) -> None:
    """Wait until `seen()` (awaited where it is a coroutine) is true."""
    async with asyncio.timeout(within):
        while True:
            said = seen()
            if asyncio.iscoroutine(said):
                said = await said
            if said:
                return
            await asyncio.sleep(step)
