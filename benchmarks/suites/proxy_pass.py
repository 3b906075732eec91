"""Requests through the proxy: passed on untouched, and translated.

Homes with one account each, so that there is nothing to choose: one with an API key (Gemini clients pass untouched), the same without counting usage, to see
what that costs, and one with a Gemini CLI login (everything is put into Code Assist's envelope; OpenAI's chat is translated). The upstream is the fixed-answer
server, so `direct` is the ceiling.
"""

import json
from contextlib import AsyncExitStack

from benchmarks import load, machine, peers
from benchmarks.harness import Bar, Contest, Measures, Outcome, Subject
from benchmarks.home import API_KEY_PROVIDER, Home, free_port
from benchmarks.suites import Context
from benchmarks.suites.lease_socket import LOAD_METRICS, Loaded
from broker.config import INTERNAL_KEY

MODEL = "gemini-2.5-flash"
_SIZE = 1024
_CONNECTIONS = (1, 32)
_GEMINI = f"/v1beta/models/{MODEL}:generateContent"
_PASSED, _UNCOUNTED, _ENVELOPED, _TRANSLATED = (
    "pass-through",
    "pass-through, usage off",
    "gemini to code assist",
    "openai to code assist",
)


async def run(context: Context) -> list[Outcome]:
    """Measure each way at 1 and at 32 connections."""
    async with AsyncExitStack() as stack:
        homes = passing, uncounted, logged_in = Home(), Home(), Home()
        for home in homes:
            stack.push_async_callback(home.close)
        upstream = peers.fixed(passing.path, _answers())
        stack.callback(upstream.stop)
        assert isinstance(upstream.target, tuple)
        ports = (
            await _start(passing, API_KEY_PROVIDER, upstream.target),
            await _start(uncounted, API_KEY_PROVIDER, upstream.target, more="[usage]\nenabled = false\n"),
            await _start(logged_in, "gemini", upstream.target),
        )
        nginx = None
        if context.has("nginx"):
            nginx = await peers.nginx_proxy(passing.path, upstream.target, free_port())
            stack.callback(nginx.stop)
        outcomes = [await _contest(context, connections, upstream, nginx, homes, ports) for connections in _CONNECTIONS]
        if context.has("wrk"):
            outcomes.append(await _generators(context, upstream))
        return outcomes


async def _start(home: Home, provider: str, upstream: tuple[str, int], *, more: str = "") -> int:
    port = free_port()
    home.configure(upstream=f"http://{upstream[0]}:{upstream[1]}", port=port, more=more)
    home.plant(0, provider=provider)
    await home.start("serve")
    await home.start("proxy")
    return port


async def _contest(
    context: Context,
    connections: int,
    upstream: peers.Peer,
    nginx: peers.Peer | None,
    homes: tuple[Home, Home, Home],
    ports: tuple[int, int, int],
) -> Outcome:
    seconds = context.seconds(0.5, 1.2)

    def behind(target: load.Target, asked: bytes, pid: int) -> Subject:
        return Loaded(target, asked, pid, connections, seconds, beside=(upstream.pid,))

    def own(home: Home, port: int, asked: bytes) -> Subject:
        return behind(("127.0.0.1", port), asked, home.pid("proxy"))

    subjects: dict[str, Subject] = {"direct": Loaded(upstream.target, _gemini(), upstream.pid, connections, seconds)}
    if nginx is not None:
        subjects["nginx proxy_pass"] = behind(nginx.target, _gemini(), nginx.pid)
    names = (
        (_PASSED, 0, _gemini()),
        (_UNCOUNTED, 1, _gemini()),
        (_ENVELOPED, 2, _gemini()),
        (_TRANSLATED, 2, _openai()),
    )
    subjects |= {name: own(homes[number], ports[number], asked) for name, number, asked in names}
    contest = Contest(
        f"proxy_pass_{connections}",
        f"1 KiB JSON through the proxy, {connections} connection{'s' * (connections > 1)}",
        LOAD_METRICS,
        subjects,
        "direct" if nginx is None else "nginx proxy_pass",
        _bars(connections),
        [
            "`cpu` and `busy` are those of the server that is asked; the upstream shares the generator's core, but for `direct`"
        ],
    )
    return await contest.run(context.rounds(3, 5))


def _bars(connections: int) -> tuple[Bar, ...]:
    if connections == 1:
        return (Bar(_PASSED, "p50", 1.5, "nginx proxy_pass"),)
    return (
        Bar(_PASSED, "rate", 0.5, "nginx proxy_pass"),
        Bar(_PASSED, "cpu", 2.0, "nginx proxy_pass"),
        Bar(_TRANSLATED, "rate", 0.25, _PASSED),
    )


async def _generators(context: Context, upstream: peers.Peer) -> Outcome:
    """Our load generator beside wrk on the same server: how far ours is from being the bottleneck."""
    assert isinstance(upstream.target, tuple)
    target = upstream.target
    seconds = 1 if context.quick else 2

    async def wrk() -> Measures:
        machine.apart(upstream.pid)  # wrk takes over this process's core
        try:
            return {"rate": await peers.wrk_rate(target, _GEMINI, connections=32, seconds=seconds)}
        finally:
            machine.together(upstream.pid)

    asked = load.request("GET", _GEMINI, host="localhost")
    contest = Contest(
        "load_generator",
        "the same server, asked by wrk and by our own generator",
        LOAD_METRICS,
        {"wrk": wrk, "own": Loaded(target, asked, upstream.pid, 32, seconds)},
        "wrk",
    )
    return await contest.run(3)


def _gemini() -> bytes:
    bare = {"contents": [{"role": "user", "parts": [{"text": ""}]}], "generationConfig": {"temperature": 0.5}}
    bare["contents"][0]["parts"][0]["text"] = _filling(bare)  # type: ignore[index]
    return _post(_GEMINI, bare)


def _openai() -> bytes:
    bare = {"model": MODEL, "messages": [{"role": "user", "content": ""}], "temperature": 0.5}
    bare["messages"][0]["content"] = _filling(bare)  # type: ignore[index]
    return _post("/v1/chat/completions", bare)


def _post(path: str, document: object) -> bytes:
    headers = {"Authorization": f"Bearer {INTERNAL_KEY}", "Content-Type": "application/json", "Accept": "*/*"}
    return load.request("POST", path, host="localhost", headers=headers, body=json.dumps(document).encode())


def _answers() -> list[tuple[str, str]]:
    whole = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 200, "candidatesTokenCount": 150, "totalTokenCount": 350},
        "modelVersion": MODEL,
        "responseId": "fake-response",
    }
    whole["candidates"][0]["content"]["parts"][0]["text"] = _filling(whole)  # type: ignore[index]
    return [("/v1internal", json.dumps({"response": whole})), ("/", json.dumps(whole))]


def _filling(document: object) -> str:
    """Return text that makes a JSON document 1 KiB long."""
    return ("All work and no play makes a dull benchmark. " * 30)[: _SIZE - len(json.dumps(document))]
