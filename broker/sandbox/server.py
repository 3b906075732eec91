"""Starting and stopping a sandbox, in this process.

Owns: `Sandbox`, its listening socket and its configuration text. It binds 127.0.0.1 and nothing else.
"""

from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from broker.model.clock import Chance, Clock
from broker.model.secret import Secret
from broker.sandbox import wire
from broker.sandbox.auth_server import AuthServer
from broker.sandbox.config_text import config_toml
from broker.sandbox.control import Control
from broker.sandbox.faults import FaultQueue
from broker.sandbox.grants import Grants
from broker.sandbox.settings import SandboxSettings, changed
from broker.sandbox.stats import Stats
from broker.sandbox.upstream import Upstream
from broker.sandbox.world import CLIENT_ID, PUBLIC_CLIENT_ID, World, build
from broker.system import SystemChance, SystemClock

_HOST = "127.0.0.1"
_SHUTDOWN_SECONDS = 0.2  # hung and slow answers are cut, not waited for


class Sandbox:
    """A running OAuth server and upstream on loopback. Use `async with await Sandbox.start(...) as sandbox`."""

    def __init__(self, world: World, runner: web.AppRunner) -> None:
        """Wrap what `start` made."""
        self.world = world
        self._runner = runner

    @classmethod
    async def start(
        cls,
        settings: SandboxSettings | None = None,
        *,
        port: int = 0,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> Self:
        """Listen on 127.0.0.1 (port 0: any free one) and return the running sandbox.

        Raises:
            OSError: the port is taken.
        """
        world = build(settings or SandboxSettings(), clock or SystemClock(), chance or SystemChance())
        runner = web.AppRunner(
            application(world), access_log=None, handler_cancellation=True, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, port).start()
        except OSError:
            await runner.cleanup()
            raise
        world.url = f"http://{_HOST}:{runner.addresses[0][1]}"
        return cls(world, runner)

    async def close(self) -> None:
        """Stop listening, cut what is open. Calling it again does nothing."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The origin, without a slash at the end; also the issuer."""
        return self.world.url

    @property
    def client_id(self) -> str:
        """The confidential client's id."""
        return CLIENT_ID

    @property
    def client_secret(self) -> Secret:
        """The confidential client's secret, made at start."""
        return self.world.client_secret

    @property
    def public_client_id(self) -> str:
        """The id of the client that has no secret and must use PKCE."""
        return PUBLIC_CLIENT_ID

    @property
    def api_key(self) -> Secret:
        """The key the Gemini API side accepts, made at start."""
        return self.world.api_key

    @property
    def grants(self) -> Grants:
        """The authorization server's state."""
        return self.world.grants

    @property
    def faults(self) -> FaultQueue:
        """The faults that wait for requests."""
        return self.world.faults

    @property
    def stats(self) -> Stats:
        """What was seen so far."""
        return self.world.stats

    @property
    def settings(self) -> SandboxSettings:
        """The settings in force."""
        return self.world.settings

    def config_toml(self, client_secret_file: Path) -> str:
        """Return a broker configuration that points here; `client_secret_file` is where the caller put the secret."""
        return config_toml(self.url, self.client_id, str(client_secret_file))

    def change(self, **changes: object) -> None:
        """Change settings from now on.

        Raises:
            msgspec.ValidationError: an unknown field or a value out of range.
        """
        self.world.apply(changed(self.world.settings, changes))


def application(world: World) -> web.Application:
    """Return the web application over a world."""
    app = web.Application(client_max_size=wire.MAX_BODY_BYTES, middlewares=[wire.guard])
    app.on_response_prepare.append(wire.date_signal(world))
    app.add_routes(AuthServer(world).routes())
    app.add_routes(Upstream(world).routes())
    app.add_routes(Control(world).routes())
    return app
