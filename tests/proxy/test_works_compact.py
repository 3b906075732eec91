import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Combo, Names
from broker.proxy.naming import Served
from broker.proxy.relays import Untouched
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS, upstream_of
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works import Context
from broker.proxy.works_compact import CompactWork
from broker.translate.codecs import Dialect
from broker.translate.signatures import SignatureMemory
from tests.fakes.broker_socket import lease

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
