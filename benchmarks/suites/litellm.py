"""OpenAI's chat translated to Gemini: the proxy beside LiteLLM, whole answers and streams of 50 chunks that come at once."""

import os
import subprocess
import time
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

from benchmarks import bars, traffic
from benchmarks.harness import Contest, Outcome
from benchmarks.home import BenchError, Home, free_port
from benchmarks.loaded import LOAD_METRICS, Server
from benchmarks.peers import Peer
from benchmarks.prepare import LITELLM_VERSION
from benchmarks.rig import Rig
from benchmarks.suites import Absent, Context

# Few: at the end of a measurement as many requests are under way, and LiteLLM answers no more than some dozens in it.
_CONNECTIONS = {traffic.WHOLE: 8, traffic.BURST: 4}
_START_SECONDS = 120.0
_KEY = "sk-fake-bench-key"  # LiteLLM's keys begin like this


async def run(context: Context) -> list[Outcome]:
    """Measure at few connections. Takes part where BENCH_PEERS names it."""
    if "litellm" not in os.environ.get("BENCH_PEERS", ""):
        raise Absent("LiteLLM takes part with BENCH_PEERS=litellm")
    program = context.need("litellm")
    rig = await context.rig()
    async with AsyncExitStack() as stack:
        home = Home()
        stack.push_async_callback(home.close)
        peer = _start(program, home.path, rig.target)
        stack.callback(peer.stop)
        await _ready(peer)
        return [
            await _contest(context, rig, peer, "litellm_whole", traffic.WHOLE, stream=False),
            await _contest(context, rig, peer, "litellm_streams", traffic.BURST, stream=True),
        ]


async def _contest(context: Context, rig: Rig, peer: Peer, name: str, model: str, *, stream: bool) -> Outcome:
    seconds, warm = context.seconds(1.5, 6.0), context.seconds(0.5, 3.0)
    asked, connections = traffic.openai(f"gemini-{model}", stream=stream), _CONNECTIONS[model]
    theirs = asked.replace(traffic.HEADERS["Authorization"].encode(), f"Bearer {_KEY}".encode())
    contest = Contest(
        name,
        f"OpenAI chat to Gemini, {f'streams of {traffic.BURST_CHUNKS} chunks' if stream else 'whole'}, {connections} connections",
        LOAD_METRICS,
        {
            bars.DIRECT: rig.loaded(rig.direct(), traffic.gemini(model, stream=stream), connections, seconds / 4),
            bars.LITELLM: rig.loaded(
                Server(peer.target, peer.pid, (rig.upstream.pid,)), theirs, connections, seconds, warm
            ),
            bars.TO_GEMINI: rig.loaded(rig.ours(), asked, connections, seconds, warm),
        },
        bars.LITELLM,
        bars.of(name),
        [f"LiteLLM {LITELLM_VERSION}, one worker, with its key check and without a database"],
    )
    return await contest.run(context.rounds(1, 3))


def _start(program: str, folder: Path, upstream: tuple[str, int]) -> Peer:
    models = "".join(
        f"  - model_name: gemini-{model}\n"
        f"    litellm_params: {{model: gemini/gemini-{model}, api_key: fake-key, api_base: 'http://{upstream[0]}:{upstream[1]}/v1beta'}}\n"
        for model in (traffic.WHOLE, traffic.BURST)
    )
    config = folder / "litellm.yaml"
    config.write_text(f"model_list:\n{models}general_settings:\n  master_key: {_KEY}\n")
    # Nothing of the user's; prices from the package, as it has no network to fetch them from; no debug log.
    environment = {
        "HOME": str(folder), "PATH": os.environ["PATH"], "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MODE": "PRODUCTION",
    }  # fmt: skip
    port = free_port()
    command = [program, "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]  # fmt: skip
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    return Peer(process, ("127.0.0.1", port))


async def _ready(peer: Peer) -> None:
    assert isinstance(peer.target, tuple)
    deadline = time.perf_counter() + _START_SECONDS
    async with aiohttp.ClientSession() as session:
        while time.perf_counter() < deadline and peer.process.poll() is None:
            try:
                async with session.get(f"http://127.0.0.1:{peer.target[1]}/health/liveliness") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                time.sleep(0.2)
    raise BenchError("LiteLLM did not start")
