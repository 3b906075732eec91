"""A lease over the Unix socket, 32 kept connections, beside servers that answer the same bytes without thinking."""

import json
import time

from benchmarks import load, machine, peers
from benchmarks.harness import Bar, Better, Contest, Metric, Outcome, Subject
from benchmarks.home import BenchError, Home, UnixConnection, lease_path
from benchmarks.suites import Context

_CONNECTIONS = 32
_ACCOUNTS = 10

LOAD_METRICS = (
    Metric("rate", "1/s", Better.HIGHER),
    Metric("p50", "µs"),
    Metric("p99", "µs"),
    Metric("cpu", "µs/request"),
    Metric("busy", "cores", compared=False),
    Metric("generator", "cores", compared=False),
    Metric("others", "cores", compared=False),
)


async def run(context: Context) -> list[Outcome]:
    """Measure the daemon, the fixed-answer server, and nginx where there is one."""
    home = Home()
    others: list[peers.Peer] = []
    try:
        home.configure()
        for number in range(_ACCOUNTS):
            home.plant(number)
        await home.start("serve")
        with_body = _body(home)
        others.append(peers.fixed(home.path, [("/", with_body)], unix=home.path / "fixed.sock"))
        asked = load.request("GET", lease_path(0), host="localhost")

        def subject(target: load.Target, pid: int) -> Subject:
            return Loaded(target, asked, pid, _CONNECTIONS, context.seconds(0.5, 1.5))

        subjects: dict[str, Subject] = {
            "httptools fixed answer": subject(others[0].target, others[0].pid),
            "daemon": subject(home.token_socket, home.pid("serve")),
        }
        if context.has("nginx"):
            others.append(await peers.nginx_fixed(home.path, home.path / "nginx.sock", with_body))
            subjects["nginx fixed answer"] = subject(others[1].target, others[1].pid)
        best = "nginx fixed answer" if context.has("nginx") else "httptools fixed answer"
        contest = Contest(
            "lease_socket",
            f"leases over the Unix socket, {_CONNECTIONS} connections, closed loop",
            LOAD_METRICS,
            subjects,
            best,
            (Bar("daemon", "rate", 0.15, best), Bar("daemon", "p99", plus=2000.0)),
            [
                "latency in a closed loop is connections / rate: at 32 connections a p99 of 2 ms needs more than 16,000/s"
            ],
        )
        return [await contest.run(context.rounds(3, 7)), await _gentle(context, home, others[0])]
    finally:
        for other in others:
            other.stop()
        await home.close()


async def _gentle(context: Context, home: Home, other: peers.Peer) -> Outcome:
    """One connection: what a lease costs a program that asks now and then."""
    asked = load.request("GET", lease_path(0), host="localhost")
    seconds = context.seconds(0.4, 1.0)
    contest = Contest(
        "lease_socket_single",
        "leases over the Unix socket, one connection",
        LOAD_METRICS,
        {
            "httptools fixed answer": Loaded(other.target, asked, other.pid, 1, seconds),
            "daemon": Loaded(home.token_socket, asked, home.pid("serve"), 1, seconds),
        },
        "httptools fixed answer",
    )
    return await contest.run(context.rounds(3, 6))


class Loaded:
    """A server under load, on a core of its own. `beside` are other processes that work for it."""

    def __init__(
        self,
        target: load.Target,
        request: bytes,
        pid: int,
        connections: int,
        seconds: float,
        beside: tuple[int, ...] = (),
    ) -> None:
        self._target = target
        self._request = request
        self._pid = pid
        self._connections = connections
        self._seconds = seconds
        self._beside = beside

    async def __call__(self) -> dict[str, float]:
        """Load it once."""
        pids = (self._pid, *self._beside)
        machine.apart(*pids)
        began, busy, known = time.perf_counter(), machine.busy_seconds(), _taken(pids)
        try:
            done = await load.load(
                self._target,
                self._request,
                connections=self._connections,
                seconds=self._seconds,
                server_cpu=lambda: machine.cpu_seconds(self._pid),
            )
        finally:
            machine.together(*pids)
        others = machine.busy_seconds() - busy - (_taken(pids) - known)
        return {**done.measures(), "others": max(0.0, others / (time.perf_counter() - began))}


def _taken(pids: tuple[int, ...]) -> float:
    return time.process_time() + sum(machine.cpu_seconds(pid) for pid in pids)


def _body(home: Home) -> str:
    """Return the daemon's own answer, which the others will give."""
    status, body = UnixConnection(home.token_socket).ask(lease_path(0))
    if status != 200 or not json.loads(body)["access_token"].startswith("fake-access-0-first-"):
        raise BenchError(f"no lease: {status} {body[:300]!r}")
    return body.decode()
