"""A lease over the Unix socket, 32 kept connections, beside servers that answer the same bytes without thinking."""

import json

from benchmarks import bars, load, peers
from benchmarks.harness import Contest, Outcome, Subject
from benchmarks.home import BenchError, Home, UnixConnection, lease_path
from benchmarks.loaded import LOAD_METRICS, Loaded, Server
from benchmarks.suites import Context

_CONNECTIONS = 32
_ACCOUNTS = 10


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
        seconds = context.seconds(0.3, 1.2)

        def subject(target: load.Target, pid: int) -> Subject:
            return Loaded(Server(target, pid), asked, _CONNECTIONS, seconds, context.peers["loader"])

        subjects: dict[str, Subject] = {
            "httptools fixed answer": subject(others[0].target, others[0].pid),
            bars.DAEMON: subject(home.token_socket, home.pid("serve")),
        }
        if context.has("nginx"):
            others.append(await peers.nginx_fixed(home.path, home.path / "nginx.sock", with_body))
            subjects[bars.FIXED] = subject(others[1].target, others[1].pid)
        best = bars.FIXED if context.has("nginx") else "httptools fixed answer"
        contest = Contest(
            "lease_socket",
            f"leases over the Unix socket, {_CONNECTIONS} connections, closed loop",
            LOAD_METRICS,
            subjects,
            best,
            bars.of("lease_socket"),
            [
                "latency in a closed loop is connections / rate: at 32 connections a p99 of 2 ms needs more than 16,000/s"
            ],
        )
        return [await contest.run(context.rounds(2, 4)), await _gentle(context, home, others[0])]
    finally:
        for other in others:
            other.stop()
        await home.close()


async def _gentle(context: Context, home: Home, other: peers.Peer) -> Outcome:
    """One connection: what a lease costs a program that asks now and then."""
    asked = load.request("GET", lease_path(0), host="localhost")
    seconds, generator = context.seconds(0.3, 1.0), context.peers["loader"]
    contest = Contest(
        "lease_socket_single",
        "leases over the Unix socket, one connection",
        LOAD_METRICS,
        {
            "httptools fixed answer": Loaded(Server(other.target, other.pid), asked, 1, seconds, generator),
            bars.DAEMON: Loaded(Server(home.token_socket, home.pid("serve")), asked, 1, seconds, generator),
        },
        "httptools fixed answer",
    )
    return await contest.run(context.rounds(2, 4))


def _body(home: Home) -> str:
    """Return the daemon's own answer, which the others will give."""
    status, body = UnixConnection(home.token_socket).ask(lease_path(0))
    if status != 200 or not json.loads(body)["access_token"].startswith("fake-access-0-first-"):
        raise BenchError(f"no lease: {status} {body[:300]!r}")
    return body.decode()
