"""OpenAI's chat translated, whole answers: to Gemini, to Claude and to Code Assist, beside the proxy's own pass-through."""

from contextlib import AsyncExitStack

from benchmarks import bars, traffic
from benchmarks import rig as rigs
from benchmarks.harness import Contest, Outcome, Subject
from benchmarks.home import Home
from benchmarks.loaded import LOAD_METRICS, Server
from benchmarks.suites import Context
from benchmarks.suites.proxy_pass import BESIDE_NOTE

_CONNECTIONS = 32


async def run(context: Context) -> list[Outcome]:
    """Measure at 32 connections. Code Assist needs a home of its own: one with a Gemini CLI login."""
    rig = await context.rig()
    seconds = context.seconds(0.3, 1.2)
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)

        def subject(server: Server, asked: bytes) -> Subject:
            return rig.loaded(server, asked, _CONNECTIONS, seconds)

        subjects = {
            bars.DIRECT: subject(rig.direct(), traffic.gemini(traffic.WHOLE)),
            bars.OURS: subject(rig.ours(), traffic.gemini(traffic.WHOLE)),
            bars.TO_GEMINI: subject(rig.ours(), traffic.openai(f"gemini-{traffic.WHOLE}")),
            bars.TO_CLAUDE: subject(rig.ours(), traffic.openai(f"claude-{traffic.WHOLE}")),
        }
        if not context.quick:
            port = await rigs.start(home, rig.target, providers=("gemini",))
            logged_in = Server(("127.0.0.1", port), home.pid("proxy"), (rig.upstream.pid,))
            subjects["gemini to code assist"] = subject(logged_in, traffic.gemini(traffic.WHOLE))
            subjects["openai to code assist"] = subject(logged_in, traffic.openai(f"gemini-{traffic.WHOLE}"))
        contest = Contest(
            "translated_32",
            f"1 KiB chats translated, {_CONNECTIONS} connections; {bars.OURS} is the pass-through",
            LOAD_METRICS,
            subjects,
            bars.OURS,
            bars.of("translated_32"),
            [BESIDE_NOTE],
        )
        return [await contest.run(context.rounds(2, 4))]
