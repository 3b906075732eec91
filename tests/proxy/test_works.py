import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.relays import Listed, Translated, Untouched, Unwrapped, Whole
from broker.proxy.routes import CountTokens, Generate
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works import ChatWork, Context, GeminiWork
from broker.translate.signatures import SignatureMemory

API, ASSIST = UPSTREAMS[Kind.GEMINI], UPSTREAMS[Kind.CODE_ASSIST]
LEASE = Lease(
    account="gemini/a",
    provider="gemini",
    generation=1,
    access_token=Secret("fake-access-1"),
    facts={"project_id": "p-1"},
)
HEAD = ResponseHead(200, [(b"content-type", b"application/json")], 2)
BODY = b'{ "contents" : [] , "odd": 1e0 }'


def context(*, safety_off: bool = False) -> Context:
    return Context("r-1", 1_750_000_000, SignatureMemory(), safety_off, PROVIDERS)


def gemini(route: Generate | CountTokens, query: str = "", body: bytes = BODY) -> GeminiWork:
    headers = [(b"user-agent", b"GeminiCLI"), (b"x-goog-api-key", b"ours"), (b"content-encoding", b"identity")]
    return GeminiWork(route, RequestHead("POST", "/x", query, headers), body, context())


def chat(*, safety_off: bool = False, **fields: object) -> ChatWork:
    body = {"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": "hi"}], **fields}
    return ChatWork(json.dumps(body).encode(), context(safety_off=safety_off))


def test_the_same_dialect_keeps_its_bytes() -> None:
    work = gemini(Generate("gemini/m", True, "v1", True), "alt=sse&key=ours&x=1")
    sent = work.sent(API, LEASE)
    assert sent.body is BODY
    assert sent.target == b"/v1/models/m:streamGenerateContent?alt=sse&x=1"
    assert dict(sent.headers)[b"x-goog-api-key"] == b"fake-access-1"
    assert dict(sent.headers)[b"user-agent"] == b"GeminiCLI"
    assert isinstance(work.relay(API, HEAD), Untouched)
    assert work.events


def test_code_assist_gets_an_envelope() -> None:
    work = gemini(Generate("gemini-2.5-pro", False, "v1beta"))
    sent = work.sent(ASSIST, LEASE)
    body = json.loads(sent.body)
    assert (body["model"], body["project"], body["user_prompt_id"]) == ("gemini-2.5-pro", "p-1", "r-1")
    assert BODY.strip() in sent.body
    assert b"content-encoding" not in dict(sent.headers)
    assert isinstance(work.relay(ASSIST, HEAD), Whole)
    assert not work.events


@pytest.mark.parametrize(("sse", "relay"), [(True, Unwrapped), (False, Listed)])
def test_both_forms_of_a_stream(sse: bool, relay: type) -> None:
    work = gemini(Generate("gemini-2.5-pro", True, "v1", sse))
    assert work.sent(ASSIST, LEASE).target == b"/v1internal:streamGenerateContent?alt=sse"
    assert isinstance(work.relay(ASSIST, HEAD), relay)
    assert work.events is sse


def test_counting() -> None:
    work = gemini(CountTokens("gemini-2.5-pro", "v1beta"))
    assert json.loads(work.sent(ASSIST, LEASE).body) == {"request": {"model": "models/gemini-2.5-pro", "contents": []}}
    assert work.sent(API, LEASE).target == b"/v1beta/models/gemini-2.5-pro:countTokens"
    assert not work.events


def test_what_cannot_be_wrapped() -> None:
    with pytest.raises(BrokerError) as caught:
        gemini(Generate("gemini-2.5-pro", False, "v1"), body=b"[]").sent(ASSIST, LEASE)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    with pytest.raises(BrokerError) as caught:
        gemini(Generate("gpt-4o", False, "v1"))
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_errors_of_google_are_readable_as_they_are() -> None:
    assert gemini(Generate("gemini-2.5-pro", False, "v1")).own_error(ASSIST, b'[{"error":{}}]') == b'{"error":{}}'
    assert chat().own_error(API, b"{}") is None


@pytest.mark.parametrize(("upstream", "inner"), [(API, ()), (ASSIST, ("request",))])
def test_a_chat_is_translated(upstream: object, inner: tuple[str, ...]) -> None:
    work = chat()
    assert upstream in (API, ASSIST)
    chosen = API if upstream is API else ASSIST
    body = json.loads(work.sent(chosen, LEASE).body)
    for key in inner:
        body = body[key]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert work.request.asked_model == "gemini-2.5-pro"
    assert not work.events


@pytest.mark.parametrize("safety_off", [True, False])
def test_the_safety_setting_is_obeyed(safety_off: bool) -> None:
    body = json.loads(chat(safety_off=safety_off).sent(API, LEASE).body)
    assert ("safetySettings" in body) is safety_off


def test_whole_answers_are_translated_back() -> None:
    work = chat()
    work.sent(API, LEASE)
    relay = work.relay(API, HEAD)
    assert relay.feed(b'{"candidates":[{"content":{"parts":[{"text":"yes"}]},') == b""
    assert relay.feed(b'"finishReason":"STOP"}]}') == b""
    answer = json.loads(relay.close())
    assert answer["choices"][0]["message"]["content"] == "yes"
    assert answer["model"] == "gemini-2.5-pro"
    broken = work.relay(API, HEAD)
    broken.feed(b"<html>")
    assert broken.close() == b""
    assert broken.failure is not None
    assert broken.failure.status == 502


def test_streams_are_translated_back() -> None:
    work = chat(stream=True)
    assert work.events
    assert work.sent(ASSIST, LEASE).target.endswith(b"?alt=sse")
    relay = work.relay(ASSIST, HEAD)
    assert isinstance(relay, Translated)
    out = relay.feed(
        b'data: {"response":{"candidates":[{"content":{"parts":[{"text":"yes"}]},"finishReason":"STOP"}]}}\n\n'
    )
    out += relay.close()
    assert b'"content":"yes"' in out
    assert out.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"nonsense", ""), (b'{"model": 5, "messages": []}', "model"), (b'{"model": "gemini-2.5-pro"}', "messages")],
)
def test_bad_bodies_name_the_field(body: bytes, field: str) -> None:
    with pytest.raises(BrokerError) as caught:
        ChatWork(body, context())
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert field in caught.value.detail
