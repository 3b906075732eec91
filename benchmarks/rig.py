"""What the proxy's suites share: upstream, nginx, and the program with an account for each way.

Owns: starting them once a run and stopping them. Homes have one account a provider, so that there is nothing to choose, and all defaults.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks import peers, traffic
from benchmarks.harness import Subject
from benchmarks.home import API_KEY_PROVIDER, CLAUDE_PROVIDER, Home, free_port
from benchmarks.loaded import Cores, Loaded, Server, Streaming
from benchmarks.prepare import found


@dataclass(slots=True)
class Rig:
    """The upstream in C, nginx before it (None where there is none), and the daemon and the proxy."""

    home: Home
    upstream: peers.Peer
    nginx: peers.Peer | None
    port: int
    loader: str
    stack: AsyncExitStack = field(repr=False)

    @property
    def target(self) -> tuple[str, int]:
        """The upstream's address."""
        assert isinstance(self.upstream.target, tuple)
        return self.upstream.target

    def direct(self) -> Server:
        """The upstream, asked without anything between, on a core of its own: how much it can do."""
        return Server(self.upstream.target, self.upstream.pid)

    def undisturbed(self) -> Server:
        """The same where it is when something stands between, on the generator's core: how long the way takes without that."""
        return Server(self.upstream.target, self.upstream.pid, cores=Cores.SHARED)

    def behind_nginx(self) -> Server:
        """The same through nginx."""
        assert self.nginx is not None
        return Server(self.nginx.target, self.nginx.pid, (self.upstream.pid,))

    def ours(self) -> Server:
        """The same through the proxy."""
        return Server(("127.0.0.1", self.port), self.home.pid("proxy"), (self.upstream.pid,))

    def loaded(self, server: Server, request: bytes, connections: int, seconds: float, warm: float = 0.0) -> Subject:
        """Return a closed loop."""
        return Loaded(server, request, connections, seconds, self.loader, warm)

    def streaming(
        self, server: Server, request: bytes, model: str, streams: int, seconds: float, probe: bytes | None = None
    ) -> Subject:
        """Return streams with the pace of `model`."""
        return Streaming(server, request, streams, seconds, traffic.INTERVALS[model], self.loader, probe)

    async def close(self) -> None:
        """Stop all."""
        await self.stack.aclose()


async def build(program: str, loader: str) -> Rig:
    """Start all; `program` is the upstream in C, `loader` the generator.

    Raises:
        BenchError: something did not start.
    """
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)
        upstream = upstream_of(program, home)
        stack.callback(upstream.stop)
        assert isinstance(upstream.target, tuple)
        nginx = None
        if found()["nginx"] is not None:
            nginx = await peers.nginx_proxy(home.path, upstream.target)
            stack.callback(nginx.stop)
        port = await start(home, upstream.target)
        return Rig(home, upstream, nginx, port, loader, stack.pop_all())


def upstream_of(program: str, home: Home) -> peers.Peer:
    """Start the upstream in C; its answers' files are in `home`."""
    files: dict[str, str] = {}
    for name, text in traffic.answers().items():
        path = home.path / f"{name}.answer"
        path.write_bytes(text)
        files[name] = str(path)
    return peers.upstream(program, traffic.routes(files))


async def start(
    home: Home,
    upstream: tuple[str, int],
    *,
    scheme: str = "http",
    workers: int = 1,
    providers: tuple[str, ...] = (API_KEY_PROVIDER, CLAUDE_PROVIDER),
    more: str = "",
    proxy: bool = True,
) -> int:
    """Start the daemon and (but for `proxy` false) the proxy, with an account for each provider; return the proxy's port."""
    port = free_port()
    host = "localhost" if scheme == "https" else upstream[0]
    home.configure(upstream=f"{scheme}://{host}:{upstream[1]}", port=port, workers=workers, more=more)
    for number, provider in enumerate(providers):
        home.plant(number, provider=provider)
    await home.start("serve")
    if proxy:
        await home.start("proxy")
    return port
