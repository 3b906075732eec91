import json

from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer
from tests.proxy.conftest import MakeProxy

GEMINI = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello there"}]}, "finishReason": "STOP"}]}


async def test_smoke(proxy: MakeProxy) -> None:
    daemon = FakeDaemon()
    daemon.put(account("gemini-api/k", lease("gemini-api/k", "fake-key-1")))
    async with (
        RawUpstream([answer(json.dumps(GEMINI).encode(), "200 OK", "Content-Type: application/json")]) as upstream,
        proxy(daemon, upstream.url) as p,
    ):
        got = await p.chat()
        print(got)
        got = await p.ask("POST", "/v1beta/models/gemini-2.5-pro:generateContent", {"contents": []})
        print(got)
        print(await p.ask("GET", "/health"))
        print(await p.ask("GET", "/docs"))
        print(await p.ask("GET", "/v1/models"))
        print((await p.ask("GET", "/metrics")).body.decode())
        print(upstream.requests)
