"""1 KiB through the proxy to an upstream that speaks TLS, beside nginx to the same one. Certificates are verified by both."""

from contextlib import AsyncExitStack

from benchmarks import bars, machine, peers, rig, traffic
from benchmarks.certificates import certificate
from benchmarks.harness import Contest, Measures, Outcome, Subject
from benchmarks.home import Home
from benchmarks.loaded import LOAD_METRICS, Loaded, Server
from benchmarks.suites import Context
from benchmarks.suites.proxy_pass import BESIDE_NOTE

_CONNECTIONS = 32


async def run(context: Context) -> list[Outcome]:
    """Measure at 32 connections. The upstream is a second nginx; it is asked directly by wrk, as our generator speaks no TLS."""
    context.need("nginx", ", the upstream of this suite")
    loader = context.loader()
    seconds = context.seconds(0.3, 1.2)
    asked = traffic.gemini(traffic.WHOLE)
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)
        trusted, pem = certificate(home.path, "localhost")
        home.more_env["SSL_CERT_FILE"] = str(trusted)
        upstream = await peers.nginx_tls(home.path, pem, traffic.gemini_answer())
        stack.callback(upstream.stop)
        assert isinstance(upstream.target, tuple)
        between = await peers.nginx_proxy(home.path, upstream.target, trusted=trusted)
        stack.callback(between.stop)
        port = await rig.start(home, upstream.target, scheme="https")

        def behind(target: tuple[str, int], pid: int) -> Subject:
            return Loaded(Server(target, pid, (upstream.pid,)), asked, _CONNECTIONS, seconds, loader)

        assert isinstance(between.target, tuple)
        subjects: dict[str, Subject] = {}
        if context.has("wrk"):
            subjects[f"{bars.DIRECT}, wrk"] = _wrk(upstream)
        subjects[bars.NGINX] = behind(between.target, between.pid)
        subjects[bars.OURS] = behind(("127.0.0.1", port), home.pid("proxy"))
        contest = Contest(
            "tls_32",
            f"1 KiB to a TLS upstream, {_CONNECTIONS} connections",
            LOAD_METRICS,
            subjects,
            bars.NGINX,
            bars.of("tls_32"),
            [BESIDE_NOTE],
        )
        return [await contest.run(context.rounds(2, 4))]


def _wrk(upstream: peers.Peer) -> Subject:
    assert isinstance(upstream.target, tuple)
    url = f"https://localhost:{upstream.target[1]}{traffic.gemini_path(traffic.WHOLE)}"

    async def measure() -> Measures:
        machine.apart(upstream.pid)
        try:
            asked = (traffic.HEADERS, traffic.gemini_body())
            return {"rate": await peers.wrk_rate(url, asked, connections=_CONNECTIONS, seconds=1)}
        finally:
            machine.together(upstream.pid)

    return measure
