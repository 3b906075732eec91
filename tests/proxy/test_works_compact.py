import json

import pytest
from aiohttp import web

from broker.config import UpstreamConfig
from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Combo, Names
from broker.proxy.context import Context
from broker.proxy.naming import Served
from broker.proxy.relays import Untouched
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS, upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works_compact import CompactWork
from broker.translate.codecs import Dialect
from broker.translate.signatures import SignatureMemory
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.proxy.conftest import MakeProxy

BODY = b'{ "model" : "gpt-5-codex", "input":[{"type":"message"}], "instructions": "x", "tools":[] }'
CODEX, OPENAI = upstream_of(Kind.CODEX, Dialect.RESPONSES), upstream_of(Kind.OPENAI, Dialect.RESPONSES)


def work(body: bytes = BODY, names: Names | None = None) -> CompactWork:
    context = Context("r-1", 0, SignatureMemory(), False, Served(PROVIDERS), names or Names(), lambda _: 0)
    head = RequestHead("POST", "/v1/responses/compact", "a=1&key=k", [(b"session-id", b"s-1")], True, True)
    return CompactWork(head, body, context)


def test_it_goes_to_openai_s_own_and_nobody_else_untouched() -> None:
    made = work()
    assert made.wanted.providers == ("codex", "openai-api")
    sent = made.sent(CODEX, lease("codex/me", facts={"account_id": "acc"}), "gpt-5-codex")
    assert (sent.target, sent.body) == (b"/responses/compact?a=1", BODY)
    assert (b"accept", b"application/json") in sent.headers
    assert (b"chatgpt-account-id", b"acc") in sent.headers
    sent = made.sent(OPENAI, lease("openai-api/key"), "gpt-5-codex")
    assert (sent.target, sent.body) == (b"/responses/compact?a=1", BODY)
    assert isinstance(made.relay(CODEX, ResponseHead(200, [], None)), Untouched)
    assert made.session() == "s-1"


def test_only_the_model_s_name_is_replaced() -> None:
    made = work(BODY.replace(b"gpt-5-codex", b"codex/gpt-5"))
    (goal,) = made.wanted.goals
    sent = made.sent(CODEX, lease("codex/me"), goal.model)
    assert sent.body == BODY.replace(b"gpt-5-codex", b"gpt-5")


@pytest.mark.parametrize("model", ["kimi-k2.5", "openai-compatible/x", "gemini-2.5-pro", "grok-4"])
def test_elsewhere_it_is_said_what_to_do(model: str) -> None:
    with pytest.raises(BrokerError, match=r"cannot compact; only OpenAI .* \[model_providers.X\]") as caught:
        work(json.dumps({"model": model, "input": []}).encode())
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_of_a_chain_those_who_can_are_left() -> None:
    made = work(b'{"model":"best"}', Names(combos={"best": Combo(("kimi-k2.5", "gpt-5"))}))
    assert [goal.model for goal in made.wanted.goals] == ["gpt-5"]
    with pytest.raises(BrokerError) as caught:
        work(b'{"model":"mystery"}')
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_errors_in_openai_s_words_pass() -> None:
    told = b'{"error":{"message":"no","type":"x"}}'
    assert work().own_error(UPSTREAMS[Kind.CODEX], told) == told
    assert work().own_error(UPSTREAMS[Kind.CODEX], b"<html>") is None


async def test_through_a_whole_worker(proxy: MakeProxy) -> None:
    seen: list[tuple[str, bytes, str | None]] = []
    compacted = b'{ "object":"response.compaction", "output":[{"type":"compaction","encrypted_content":"RU5D"}] }'

    async def compact(request: web.Request) -> web.Response:
        seen.append((request.path, await request.read(), request.headers.get("accept")))
        return web.Response(body=compacted, content_type="application/json")

    app = web.Application()
    app.router.add_post("/{tail:.*}", compact)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there = UpstreamConfig(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}/codex")
    daemon = FakeDaemon()
    daemon.put(account("codex/me", lease("codex/me", facts={"account_id": "a"})), account("kimi/x", lease("kimi/x")))
    try:
        async with proxy(daemon, upstreams={"codex": there}) as p:
            answer = await p.ask("POST", "/v1/responses/compact", BODY)
            assert (answer.status, answer.body) == (200, compacted)
            assert seen == [("/codex/responses/compact", BODY, "application/json")]
            refused = await p.ask("POST", "/v1/responses/compact", {"model": "kimi-k2.5", "input": []})
            assert refused.status == 400
            assert "[model_providers.X]" in refused.json()["error"]["message"]
            assert (await p.ask("GET", "/v1/responses/compact")).status == 405
    finally:
        await runner.cleanup()
