"""Embeddings and images through a whole worker: to what speaks as their clients do, and to what has to be asked otherwise."""

import base64
import json
from pathlib import Path
from typing import Any

import openai
import pytest

from broker.config import UpstreamConfig
from broker.proxy.keyfile import KeyFile, change
from broker.proxy.keys import LocalKey, digest_of
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer
from tests.proxy.conftest import KEY, Answer, MakeProxy, Proxy

LOCAL = {"authorization": "Bearer fake-local-key"}
FORM = "multipart/form-data; boundary=x1"
PNG = base64.b64decode("iVBORw0KGgo=") + b"\r\n--x2\r\n\x00\xff"
KINDS = {
    "openai-api": "openai",
    "gemini-api": "gemini",
    "gemini": "codeassist",
    "xai": "xai",
    "github-copilot": "github-copilot",
}
JSON = "Content-Type: application/json"
PART = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
DRAWN = {
    "candidates": [{"content": {"parts": [{"text": "here"}, PART]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1290},
}
VECTORS = {"embeddings": [{"values": [0.25, -1.5]}, {"values": [1, 2]}], "usageMetadata": {"promptTokenCount": 4}}


def says(body: object, status: str = "200 OK", *headers: str) -> bytes:
    return answer(json.dumps(body).encode(), status, JSON, *headers)


def daemon(*names: str) -> FakeDaemon:
    made = FakeDaemon()
    made.put(
        *(
            account(name, lease(name, f"fake-{number}", facts={"project_id": "p-1"}))
            for number, name in enumerate(names)
        )
    )
    return made


def at(upstream: RawUpstream, *providers: str) -> dict[str, UpstreamConfig]:
    return {KINDS[provider]: UpstreamConfig(base_url=upstream.url) for provider in providers}


def form(model: str, *more: tuple[str, bytes]) -> bytes:
    fields = [("prompt", b"a hat"), ("model", model.encode()), *more]
    each = [f'--x1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value for name, value in fields]
    image = (
        b'--x1\r\nContent-Disposition: form-data; name="image[]"; filename="a"\r\nContent-Type: image/png\r\n\r\n' + PNG
    )
    return b"\r\n".join([*each, image, b"--x1--\r\n"])


async def posted(p: Proxy, path: str, body: object, **headers: str) -> Answer:
    return await p.ask("POST", path, body, **{"content_type": "application/json", **headers})


@pytest.mark.parametrize(
    ("path", "model", "provider", "body"),
    [
        (
            "/v1/embeddings",
            "text-embedding-3-small",
            "openai-api",
            b'{"input" : [[1,2e0]],"x":"\xc3\xa9", "model":"%s"}',
        ),
        ("/v1/embeddings", "text-embedding-3-small", "github-copilot", b'{"model":"%s" , "input":"a"}'),
        ("/v1/images/generations", "gpt-image-2", "openai-api", b'{"model":"%s","prompt":"a","n":2, "odd":1.0}'),
        ("/v1/images/generations", "grok-imagine-image", "xai", b'{"aspect_ratio":"20:9","model":"%s","prompt":"a"}'),
        ("/v1/images/edits", "gpt-image-2", "openai-api", b'{"images":[{"file_id":"f"}],"model":"%s","prompt":"a"}'),
    ],
)
async def test_the_same_dialect_passes_untouched_but_for_the_model_s_name(
    proxy: MakeProxy, path: str, model: str, provider: str, body: bytes
) -> None:
    told = answer(b'{"data" : [ ], "model":"x", "next": 1e0}', "200 OK", JSON)
    async with RawUpstream([told]) as upstream, proxy(daemon(f"{provider}/a"), upstreams=at(upstream, provider)) as p:
        for name in (model, f"{provider}/{model}"):
            got = await posted(p, path, body % name.encode())
            assert (got.status, got.body) == (200, b'{"data" : [ ], "model":"x", "next": 1e0}')
        assert [each.body for each in upstream.requests] == [body % model.encode()] * 2
        assert upstream.requests[0].line == f"POST {path.removeprefix('/v1')} HTTP/1.1"
        assert upstream.requests[0].header("authorization") == "Bearer fake-0"


async def test_a_form_passes_untouched_but_for_the_model_s_name(proxy: MakeProxy) -> None:
    daemon_ = daemon("openai-compatible/a")
    async with RawUpstream([says({"created": 1})]) as upstream:
        held = lease("openai-compatible/a", facts={"base_url": upstream.url})
        daemon_.put(account("openai-compatible/a", held))
        async with proxy(daemon_) as p:
            asked = form("openai-compatible/flux", ("mask", b"\x00"))
            assert (await posted(p, "/v1/images/edits", asked, content_type=FORM)).status == 200
            scoped = await posted(p, "/v1/providers/openai-compatible/images/edits", form("flux"), content_type=FORM)
            assert scoped.status == 200
        assert [each.body for each in upstream.requests] == [form("flux", ("mask", b"\x00")), form("flux")]
        assert upstream.requests[0].header("content-type") == FORM


async def test_embeddings_of_gemini(proxy: MakeProxy) -> None:
    async with RawUpstream([says(VECTORS)]) as upstream:
        async with proxy(daemon("gemini-api/a", "claude/b"), upstreams=at(upstream, "gemini-api")) as p:
            body = {"model": "gemini-embedding-001", "input": ["a", "b"], "dimensions": 2, "user": "user-7"}
            whole = (await posted(p, "/v1/embeddings", body)).json()
        assert [each["embedding"] for each in whole["data"]] == [[0.25, -1.5], [1.0, 2.0]]
        assert (whole["model"], whole["usage"]) == ("gemini-embedding-001", {"prompt_tokens": 4, "total_tokens": 4})
        (asked,) = upstream.requests
        assert asked.line == "POST /v1beta/models/gemini-embedding-001:batchEmbedContents HTTP/1.1"
        assert asked.header("x-goog-api-key") == "fake-0"
        assert b"user-7" not in asked.body


async def test_images_of_gemini(proxy: MakeProxy) -> None:
    script: list[Any] = [says(DRAWN), says(DRAWN), says({"response": DRAWN})]
    async with RawUpstream(script) as upstream:
        both = daemon("gemini-api/a", "gemini/b")
        async with proxy(both, upstreams=at(upstream, "gemini-api", "gemini")) as p:
            body = {"prompt": "a cat", "size": "1024x1792"}
            path = "/v1/images/generations"
            plain = await posted(p, path, {"model": "gemini-api/gemini-2.5-flash-image", **body})
            edited = await posted(p, "/v1/images/edits", form("gemini-api/gemini-2.5-flash-image"), content_type=FORM)
            assist = await posted(p, path, {"model": "gemini/gemini-2.5-flash-image", **body})
        for got in (plain, edited, assist):
            whole = got.json()
            assert whole.pop("created") > 1_700_000_000
            assert whole == {
                "data": [{"b64_json": "QUJD"}], "output_format": "png",
                "usage": {"input_tokens": 5, "output_tokens": 1290, "total_tokens": 1295},
            }  # fmt: skip
        one, two, three = (json.loads(each.body) for each in upstream.requests)
        assert one["generationConfig"]["imageConfig"] == {"aspectRatio": "9:16"}
        assert two["contents"][0]["parts"][0]["inlineData"]["data"] == base64.b64encode(PNG).decode()
        assert three["project"] == "p-1"
        assert three["request"]["generationConfig"] == one["generationConfig"]


@pytest.mark.parametrize(
    ("path", "body", "param", "said"),
    [
        ("/v1/embeddings", {"model": "gemini-embedding-001", "input": [1, 2]}, "input", "send text"),
        ("/v1/embeddings", {"input": "a"}, "model", "is required"),
        (
            "/v1/images/generations",
            {"model": "gemini-2.5-flash-image", "prompt": "a", "n": 2},
            "n",
            "one image a request",
        ),
        (
            "/v1/images/generations",
            {"model": "gemini-2.5-flash-image", "prompt": "a", "stream": True},
            "stream",
            "whole",
        ),
        ("/v1/images/edits", b"nonsense", "body", "JSON"),
    ],
)
async def test_what_cannot_be_asked_names_the_field(
    proxy: MakeProxy, path: str, body: object, param: str, said: str
) -> None:
    async with proxy(daemon("gemini-api/a")) as p:
        got = await posted(p, path, body)
        assert got.status == 400
        error = got.json()["error"]
        assert said in error["message"]
        assert error["param"] == (None if param == "body" else param)


async def test_hostile_forms_and_codings_are_refused(proxy: MakeProxy) -> None:
    async with proxy(daemon("openai-api/a")) as p:
        for body in (b"--x1", form("m")[:-8], form("m").replace(b'"model"', b"model*=a"), form("m", ("model", b"n"))):
            got = await posted(p, "/v1/images/edits", body, content_type=FORM)
            assert (got.status, got.json()["error"]["type"]) == (400, "invalid_request_error"), body
        assert (await posted(p, "/v1/embeddings", b"x", content_encoding="gzip")).status == 400


@pytest.mark.parametrize(
    ("path", "model", "said"),
    [
        ("/v1/embeddings", "claude-opus-4-5", "cannot make embeddings here; what can: gemini-api"),
        ("/v1/images/generations", "kimi/k2", "cannot make images here"),
        ("/v1/images/generations", "nobody-knows", "GET /v1/models"),
        ("/v1/providers/claude/embeddings", "m", "cannot make embeddings here"),
    ],
)
async def test_models_that_serve_something_else(proxy: MakeProxy, path: str, model: str, said: str) -> None:
    async with proxy(daemon("claude/a")) as p:
        got = await posted(p, path, {"model": model, "input": "a", "prompt": "a"})
        assert (got.status, got.json()["error"]["code"]) == (404, "model_not_found")
        assert said in got.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "model", "provider", "first", "second"),
    [
        ("/v1/embeddings", "text-embedding-3-small", "openai-api", {"error": {"message": "slow"}}, {"data": []}),
        (
            "/v1/embeddings",
            "gemini-embedding-001",
            "gemini-api",
            {"error": {"code": 429}},
            {"embeddings": [{"values": [1]}]},
        ),
        ("/v1/images/generations", "gemini-2.5-flash-image", "gemini-api", {"error": {"code": 429}}, DRAWN),
        ("/v1/images/edits", "gpt-image-2", "openai-api", {"error": {"message": "slow"}}, {"data": []}),
    ],
)
async def test_a_limited_account_gives_way_to_the_next(
    proxy: MakeProxy, path: str, model: str, provider: str, first: object, second: object
) -> None:
    limited = says(first, "429 Too Many Requests", "Retry-After: 60")
    async with RawUpstream([limited, says(second)]) as upstream:
        two = daemon(f"{provider}/a", f"{provider}/b")
        async with proxy(two, upstreams=at(upstream, provider)) as p:
            body = form(model) if path.endswith("edits") else {"model": model, "input": "a", "prompt": "a"}
            kind = FORM if path.endswith("edits") else "application/json"
            for _ in range(2):
                assert (await posted(p, path, body, content_type=kind)).status == 200
            assert [report.outcome for report in two.reports].count("limited") == 1
        tokens = [each.header("authorization") or each.header("x-goog-api-key") for each in upstream.requests]
        assert len(tokens) == 3
        assert tokens[0] != tokens[1] == tokens[2]


async def test_errors_come_in_openai_s_words(proxy: MakeProxy) -> None:
    own = {"error": {"message": "m", "type": "invalid_request_error", "param": "input", "code": "odd", "more": 1}}
    google = {"error": {"code": 400, "message": "bad size", "status": "INVALID_ARGUMENT"}}
    blocked = {"candidates": [{"finishReason": "IMAGE_SAFETY"}], "usageMetadata": {"promptTokenCount": 5}}
    script: list[Any] = [
        says(own, "400 Bad Request"),
        says(google, "400 Bad Request"),
        says(blocked),
        answer(b"<html>"),
    ]
    async with RawUpstream(script) as upstream:
        async with proxy(
            daemon("openai-api/a", "gemini-api/a"), upstreams=at(upstream, "openai-api", "gemini-api")
        ) as p:
            asked = {"input": "a", "prompt": "a"}
            passed = await posted(p, "/v1/embeddings", {"model": "text-embedding-3-small", **asked})
            assert (passed.status, passed.json()) == (400, own)
            worded = await posted(p, "/v1/embeddings", {"model": "gemini-embedding-001", **asked})
            assert (worded.status, worded.json()["error"]["message"]) == (400, "bad size")
            refused = await posted(p, "/v1/images/generations", {"model": "gemini-2.5-flash-image", **asked})
            assert (refused.status, refused.json()["error"]["code"]) == (400, "content_policy_violation")
            assert "IMAGE_SAFETY" in refused.json()["error"]["message"]
            broken = await posted(p, "/v1/embeddings", {"model": "gemini-embedding-001", **asked})
            assert (broken.status, broken.json()["error"]["code"]) == (502, "bad_upstream_answer")


async def test_a_local_key_opens_its_models_only(proxy: MakeProxy, tmp_path: Path) -> None:
    file = tmp_path / "proxy-keys.json"
    made = LocalKey(
        name="ci", sha256=digest_of("fake-local-key"), slot=0, created=1, models=("gpt-image-2", "openai-api/text-*")
    )
    change(file, lambda _keys: (made,))
    async with RawUpstream([says({"data": []})]) as upstream:
        async with proxy(daemon("openai-api/a"), upstreams=at(upstream, "openai-api"), keys=KeyFile(file)) as p:

            async def status(path: str, body: object, kind: str = "application/json") -> int:
                return (await posted(p, path, body, content_type=kind, **LOCAL)).status

            embeddings, images, edits = "/v1/embeddings", "/v1/images/generations", "/v1/images/edits"
            assert await status(embeddings, {"model": "text-embedding-3-small", "input": "a"}) == 200
            assert await status(embeddings, {"model": "dall-e-3", "input": "a"}) == 403
            assert await status(images, {"model": "gpt-image-2", "prompt": "a"}) == 200
            assert await status(images, {"model": "gpt-image-1-mini", "prompt": "a"}) == 403
            assert await status(edits, form("gpt-image-2"), FORM) == 200
            assert await status(edits, form("gpt-image-1-mini"), FORM) == 403
            scoped = "/v1/providers/openai-api"
            assert (
                await status(f"{scoped}/chat/completions", {"model": "text-embedding-3-small", "messages": []}) == 200
            )
            assert await status(f"{scoped}/chat/completions", {"model": "gpt-5", "messages": []}) == 403
        assert len(upstream.requests) == 4


async def test_the_paths_of_a_provider_have_its_accounts_only(proxy: MakeProxy) -> None:
    chat = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    async with RawUpstream([says(chat)]) as upstream:
        held = lease("openai-compatible/a", facts={"base_url": upstream.url})
        there = daemon("qwen/a", "gemini-api/a")
        there.put(account("openai-compatible/a", held))
        async with proxy(there) as p:
            base = "/v1/providers/openai-compatible"
            said = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
            named = await posted(p, f"{base}/chat/completions", {"model": "qwen/qwen3-coder", **said})
            assert named.status == 200
            assert json.loads(upstream.requests[0].body)["model"] == "qwen/qwen3-coder"
            claude = await posted(p, f"{base}/messages", {"model": "gemini-2.5-pro", **said})
            assert claude.json()["content"] == [{"type": "text", "text": "hi"}]
            responses = await posted(p, f"{base}/responses", {"model": "m", "input": "hi"})
            assert responses.json()["output"][0]["content"][0]["text"] == "hi"
            assert {each.line for each in upstream.requests} == {"POST /chat/completions HTTP/1.1"}
            unknown = await posted(p, "/v1/providers/nobody/messages", {})
            assert (unknown.status, unknown.json()["type"]) == (404, "error")
            assert "gemini-api" in unknown.json()["error"]["message"]
            counted = await posted(p, f"{base}/messages/count_tokens", {"model": "m", **said})
            assert counted.status == 400  # chat completions have nothing that counts


async def test_the_sdk_of_openai_to_what_speaks_gemini(proxy: MakeProxy) -> None:
    script: list[Any] = [says(VECTORS), says(VECTORS), says(DRAWN), says(DRAWN), says(DRAWN)]
    async with RawUpstream(script) as upstream:
        async with proxy(daemon("gemini-api/a"), upstreams=at(upstream, "gemini-api")) as p:
            async with openai.AsyncOpenAI(base_url=f"{p.url}/v1", api_key=KEY, max_retries=0) as client:
                model, painter = "gemini-embedding-001", "gemini-2.5-flash-image"
                packed = await client.embeddings.create(model=model, input=["a", "b"])
                plain = await client.embeddings.create(model=model, input=["a", "b"], encoding_format="float")
                assert [each.embedding for each in packed.data] == [each.embedding for each in plain.data]
                assert plain.data[0].embedding == [0.25, -1.5]
                assert plain.usage.total_tokens == 4
                drawn = await client.images.generate(model=painter, prompt="a cat", size="1536x1024")
                edited = await client.images.edit(model=painter, prompt="a hat", image=("a.png", PNG))
                both = await client.images.edit(model=painter, prompt="a hat", image=[PNG, ("b.png", PNG)])
                for made in (drawn, edited, both):
                    assert made.data is not None
                    assert base64.b64decode(made.data[0].b64_json or "") == b"ABC"
                    assert made.usage is not None
                    assert made.usage.total_tokens == 1295
                with pytest.raises(openai.BadRequestError, match="one image a request"):
                    await client.images.generate(model=painter, prompt="a cat", n=2)
        sent = json.loads(upstream.requests[-1].body)["contents"][0]["parts"]
        assert [part["inlineData"]["data"] for part in sent[:-1]] == [base64.b64encode(PNG).decode()] * 2
