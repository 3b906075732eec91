import json

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Names
from broker.model.secret import Secret
from broker.proxy.context import Context
from broker.proxy.naming import Served
from broker.proxy.relays import Untouched, Whole
from broker.proxy.upstreams.base import Kind, Upstream
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works_images import ImagesWork
from broker.translate.signatures import SignatureMemory

OPENAI, GEMINI, VERTEX = UPSTREAMS[Kind.OPENAI], UPSTREAMS[Kind.GEMINI], UPSTREAMS[Kind.VERTEX]
ASSIST, ANTIGRAVITY = UPSTREAMS[Kind.CODE_ASSIST], UPSTREAMS[Kind.ANTIGRAVITY]
NAMES = Names({"mine": "openai-api/gpt-image-2", "g": "gemini-api/gemini-2.5-flash-image"})
LEASE = Lease(
    account="x/a", provider="x", generation=1, access_token=Secret("fake-access-1"), facts={"project_id": "p-1"}
)
HEAD = ResponseHead(200, [(b"content-type", b"application/json")], 2)
FORM = b"multipart/form-data; boundary=x1"
PNG = b"\x89PNG\r\n\x1a\n"
URL = "data:image/png;base64,QUJD"


def work(body: object, *, edits: bool = False, kind: bytes | None = b"application/json") -> ImagesWork:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [(b"authorization", b"ours"), *([(b"content-type", kind)] if kind is not None else [])]
    head = RequestHead("POST", "/v1/images/x", "a=b&key=ours", headers)
    context = Context("r-1", 5, SignatureMemory(), False, Served(PROVIDERS), NAMES, lambda _: 0)
    return ImagesWork(head, data, context, edits=edits)


def generation(model: str, **fields: object) -> ImagesWork:
    return work({"model": model, "prompt": "a cat", **fields})


def form(model: str = "gpt-image-2", **more: str) -> bytes:
    fields = {"model": model, "prompt": "a hat", **more}
    each = [f'--x1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    image = b'--x1\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PNG + b"\r\n"
    return "".join(each).encode() + image + b"--x1--\r\n"


def test_what_speaks_as_openai_does_gets_the_bytes() -> None:
    asked = generation("gpt-image-2", n=3, odd=[1.50])
    sent = asked.sent(OPENAI, LEASE, "gpt-image-2")
    assert sent.target == b"/images/generations?a=b"
    assert sent.body == b'{"model": "gpt-image-2", "prompt": "a cat", "n": 3, "odd": [1.5]}'
    assert isinstance(asked.relay(OPENAI, HEAD), Untouched)
    assert dict(sent.headers)[b"authorization"] == b"Bearer fake-access-1"
    assert (asked.session(), asked.events, asked.asked) == (None, False, "gpt-image-2")
    streamed = generation("mine", stream=True)
    assert streamed.events
    assert json.loads(streamed.sent(OPENAI, LEASE, "gpt-image-2").body)["model"] == "gpt-image-2"


def test_a_form_passes_but_for_the_model_s_name() -> None:
    asked = work(form("openai-api/gpt-image-2", mask="x"), edits=True, kind=FORM)
    sent = asked.sent(OPENAI, LEASE, "gpt-image-2")
    assert sent.target == b"/images/edits?a=b"
    assert sent.body == form("gpt-image-2", mask="x")
    assert dict(sent.headers)[b"content-type"] == FORM
    assert asked.asked == "openai-api/gpt-image-2"
    same = form(stream="true")
    asked = work(same, edits=True, kind=FORM)
    assert asked.sent(OPENAI, LEASE, "gpt-image-2").body is same
    assert asked.events


@pytest.mark.parametrize(
    ("upstream", "target", "where", "modalities"),
    [
        (GEMINI, b"/v1beta/models/m:generateContent", (), ["IMAGE"]),
        (VERTEX, b"models/m:generateContent", (), ["TEXT", "IMAGE"]),
        (ASSIST, b"/v1internal:generateContent", ("request",), ["IMAGE"]),
        (ANTIGRAVITY, b"/v1internal:generateContent", ("request",), ["IMAGE"]),
    ],
)
def test_gemini_s_models_are_asked_in_a_conversation(
    upstream: Upstream, target: bytes, where: tuple[str, ...], modalities: list[str]
) -> None:
    sent = generation("g", size="1792x1024").sent(upstream, LEASE, "m")
    assert sent.target.endswith(target)
    body = json.loads(sent.body)
    for key in where:
        body = body[key]
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a cat"}]}]
    assert body["generationConfig"] == {"responseModalities": modalities, "imageConfig": {"aspectRatio": "16:9"}}


@pytest.mark.parametrize(
    ("body", "kind", "data"),
    [
        ({"model": "g", "prompt": "a hat", "images": [{"image_url": URL}]}, None, "QUJD"),
        (form("g"), FORM, "iVBORw0KGgo="),
    ],
)
def test_images_to_change_go_before_the_words(body: object, kind: bytes | None, data: str) -> None:
    sent = work(body, edits=True, kind=kind).sent(GEMINI, LEASE, "m")
    (content,) = json.loads(sent.body)["contents"]
    assert content["parts"] == [{"inlineData": {"mimeType": "image/png", "data": data}}, {"text": "a hat"}]


def answered(asked: ImagesWork, upstream: Upstream, body: object) -> Whole:
    relay = asked.relay(upstream, HEAD)
    assert isinstance(relay, Whole)
    relay.feed(json.dumps(body).encode())
    return relay


def test_the_answer_is_openai_s() -> None:
    part = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
    told = {
        "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 9},
    }
    for upstream, body in ((GEMINI, told), (ASSIST, {"response": told})):
        whole = json.loads(answered(generation("g"), upstream, body).close())
        assert whole == {
            "created": 5, "data": [{"b64_json": "QUJD"}], "output_format": "png",
            "usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12},
        }  # fmt: skip
    linked = json.loads(answered(generation("g", response_format="url"), GEMINI, told).close())
    assert linked["data"] == [{"url": URL}]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, 400, "content_policy_violation"),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY"}]}, 400, "content_policy_violation"),
        ({"candidates": [{"content": {"parts": [{"text": "no"}]}, "finishReason": "STOP"}]}, 400, "no_image"),
        ({"error": {"code": 429, "message": "m"}}, 429, None),
    ],
)
def test_an_answer_that_is_none_is_a_failure(body: object, status: int, reason: str | None) -> None:
    relay = answered(generation("g"), GEMINI, body)
    assert relay.close() == b""
    assert relay.failure is not None
    assert (relay.failure.status, relay.failure.reason) == (status, reason)


def test_what_only_gemini_could_serve_is_read_at_once() -> None:
    for body, where in (
        (
            {
                "model": "g",
                "prompt": "",
            },
            "prompt",
        ),
        ({"prompt": "a"}, "model"),
        ({"model": "g", "prompt": "a", "n": 2}, "n"),
    ):
        with pytest.raises(BrokerError, match=f"^{where}: "):
            work(body)
    with pytest.raises(BrokerError, match=r"^mask: "):
        work(form("g", mask="x"), edits=True, kind=FORM)
    with pytest.raises(BrokerError, match=r"^content-type: "):
        work(form(), kind=FORM)


def test_what_makes_none() -> None:
    with pytest.raises(BrokerError) as caught:
        generation("claude-opus-4-5")
    assert caught.value.code is ErrorCode.NOT_FOUND


def test_whose_errors_can_be_read() -> None:
    error = b'{"error":{"message":"m"}}'
    assert generation("mine").own_error(OPENAI, error) is error
    assert generation("mine").own_error(OPENAI, b"<html>") is None
    assert generation("g").own_error(GEMINI, error) is None
