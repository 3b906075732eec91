"""The upstream over real connections: who is let in, both APIs, setup calls, faults."""

import asyncio
import json

import aiohttp
import pytest

from broker.sandbox.faults import (
    Answer,
    Cut,
    Delay,
    Drop,
    ErrorEvent,
    ErrorStatus,
    Hang,
    RateLimit,
    Slow,
    Stall,
    Target,
)
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from tests.fakes.clock import LiveClock

USER = "alice@example.com"
FLASH = "gemini-2.5-flash"


def token(sandbox: Sandbox, user: str = USER) -> dict[str, str]:
    issued = sandbox.grants.issue(sandbox.client_id, user, ("openid",), sandbox.world.clock.now())
    return {"Authorization": f"Bearer {issued.access_token.reveal()}"}


def project(sandbox: Sandbox, user: str = USER) -> str:
    return sandbox.world.companions.managed_project(user)


def ask(prompt: str, **config: object) -> dict[str, object]:
    return {"contents": [{"role": "user", "parts": [{"text": prompt}]}], "generationConfig": config}


def envelope(sandbox: Sandbox, prompt: str, user: str = USER) -> dict[str, object]:
    return {"model": FLASH, "project": project(sandbox, user), "user_prompt_id": "p1", "request": ask(prompt)}


def events(text: str) -> list[dict]:
    assert text.endswith("\r\n\r\n")
    return [json.loads(event.removeprefix("data: ")) for event in text.split("\r\n\r\n")[:-1]]


def said(messages: list[dict]) -> str:
    return "".join(p.get("text", "") for m in messages for p in m["candidates"][0]["content"].get("parts", []))


async def call(http, sandbox, path, body=None, headers=None):
    method = "GET" if body is None else "POST"
    headers = token(sandbox) if headers is None else headers
    async with http.request(method, sandbox.url + path, json=body, headers=headers) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_generate_whole_sse_and_array_say_the_same(sandbox, http, version):
    path = f"/{version}/models/{FLASH}"
    status, whole = await call(http, sandbox, f"{path}:generateContent", ask("one two three"))
    assert status == 200
    assert said([whole]) == "Echo: one two three (3 words)"
    async with http.post(
        f"{sandbox.url}{path}:streamGenerateContent?alt=sse", json=ask("one two three"), headers=token(sandbox)
    ) as answer:
        assert answer.content_type == "text/event-stream"
        streamed = events(await answer.text())
    assert len(streamed) > 1
    assert said(streamed) == said([whole])
    _, array = await call(http, sandbox, f"{path}:streamGenerateContent", ask("one two three"))
    assert said(array) == said([whole])
    for messages in (streamed, array):
        assert messages[-1]["usageMetadata"] == whole["usageMetadata"]
        assert [m["candidates"][0].get("finishReason") for m in messages] == [None] * (len(messages) - 1) + ["STOP"]


async def test_ways_to_authenticate(sandbox, http):
    path = f"/v1beta/models/{FLASH}:generateContent"
    key = sandbox.api_key.reveal()
    assert (await call(http, sandbox, path, ask("hi"), {"x-goog-api-key": key}))[0] == 200
    assert (await call(http, sandbox, f"{path}?key={key}", ask("hi"), {}))[0] == 200
    status, body = await call(http, sandbox, path, ask("hi"), {"x-goog-api-key": "wrong"})
    assert (status, body["error"]["details"][0]["reason"]) == (400, "API_KEY_INVALID")
    status, body = await call(http, sandbox, path, ask("hi"), {})
    assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")
    status, body = await call(http, sandbox, "/v1internal:loadCodeAssist", {}, {"x-goog-api-key": key})
    assert (status, body["error"]["status"]) == (401, "UNAUTHENTICATED")


async def test_dead_access_tokens(sandbox, http):
    path = f"/v1beta/models/{FLASH}:generateContent"
    for headers in ({"Authorization": "Bearer unknown"}, token(sandbox)):
        sandbox.grants.revoke_user(USER)
        status, body = await call(http, sandbox, path, ask("hi"), headers)
        assert (status, body["error"]["status"], body["error"]["code"]) == (401, "UNAUTHENTICATED", 401)
    assert sandbox.stats.calls("gemini:generateContent", 401) == 2


async def test_an_access_token_ends(http):
    clock = LiveClock()
    async with await Sandbox.start(SandboxSettings(access_lifetime=60), clock=clock) as sandbox:
        headers = token(sandbox)
        clock.advance(59.9)
        assert (await call(http, sandbox, "/v1beta/models", None, headers))[0] == 200
        clock.advance(0.2)
        assert (await call(http, sandbox, "/v1beta/models", None, headers))[0] == 401


async def test_models_and_count(sandbox, http):
    status, listed = await call(http, sandbox, "/v1beta/models?pageSize=2")
    assert status == 200
    assert len(listed["models"]) == 2
    _, rest = await call(http, sandbox, f"/v1/models?pageToken={listed['nextPageToken']}")
    names = [m["name"].removeprefix("models/") for m in listed["models"] + rest["models"]]
    assert tuple(names) == sandbox.settings.models
    assert (await call(http, sandbox, f"/v1/models/{FLASH}"))[1]["name"] == f"models/{FLASH}"
    assert (await call(http, sandbox, "/v1/models/nope"))[0] == 404
    status, counted = await call(
        http, sandbox, f"/v1beta/models/{FLASH}:countTokens", {"contents": ask("a b")["contents"]}
    )
    assert (status, counted) == (200, {"totalTokens": 2})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1beta/models/nope:generateContent", 404),
        (f"/v1beta/models/{FLASH}:fly", 404),
        (f"/v1beta/models/{FLASH}", 404),
    ],
)
async def test_unknown_models_and_methods(sandbox, http, path, status):
    assert (await call(http, sandbox, path, ask("hi")))[0] == status


async def test_bodies_that_are_not_requests(sandbox, http):
    for path in (f"/v1beta/models/{FLASH}:generateContent", "/v1internal:generateContent", "/v1internal:onboardUser"):
        async with http.post(sandbox.url + path, data=b"{", headers=token(sandbox)) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]["status"] == "INVALID_ARGUMENT"
        status, body = await call(http, sandbox, path, {"nonsense": 1})
        assert (status, "nonsense" in body["error"]["message"]) == (400, True)
    assert sandbox.stats.requests[0].body == "<not JSON>"
    async with http.post(
        f"{sandbox.url}/v1beta/models/{FLASH}:streamGenerateContent", json={"x": 1}, headers=token(sandbox)
    ) as answer:
        assert (await answer.json())[0]["error"]["code"] == 400


async def test_code_assist_generate_and_stream(sandbox, http):
    status, body = await call(http, sandbox, "/v1internal:generateContent", envelope(sandbox, "hello"))
    assert status == 200
    assert said([body["response"]]) == "Echo: hello (1 words)"
    assert body["traceId"]
    async with http.post(
        f"{sandbox.url}/v1internal:streamGenerateContent?alt=sse",
        json=envelope(sandbox, "hello"),
        headers=token(sandbox),
    ) as answer:
        streamed = [event["response"] for event in events(await answer.text())]
    assert said(streamed) == said([body["response"]])
    request = {"request": {"model": f"models/{FLASH}", "contents": ask("a b c")["contents"]}}
    assert (await call(http, sandbox, "/v1internal:countTokens", request))[1] == {"totalTokens": 3}
    assert (await call(http, sandbox, "/v1internal:countTokens", request | {"project": "p"}))[0] == 400
    assert (await call(http, sandbox, "/v1internal:fly", {}))[0] == 404


async def test_code_assist_checks_the_project(sandbox, http):
    foreign = envelope(sandbox, "hi") | {"project": project(sandbox, "bob@example.com")}
    assert (await call(http, sandbox, "/v1internal:generateContent", foreign))[0] == 403
    assert (await call(http, sandbox, "/v1internal:generateContent", envelope(sandbox, "hi") | {"project": None}))[
        0
    ] == 400
    assert (await call(http, sandbox, "/v1internal:generateContent", envelope(sandbox, "hi") | {"model": "nope"}))[
        0
    ] == 404


async def test_a_new_user_is_onboarded_first(sandbox, http):
    sandbox.change(onboarded=False)
    generate = envelope(sandbox, "hi")
    assert (await call(http, sandbox, "/v1internal:generateContent", generate))[0] == 403
    metadata = {"metadata": {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}}
    _, loaded = await call(http, sandbox, "/v1internal:loadCodeAssist", metadata)
    assert "currentTier" not in loaded
    tier = next(t["id"] for t in loaded["allowedTiers"] if t.get("isDefault"))
    _, first = await call(http, sandbox, "/v1internal:onboardUser", metadata | {"tierId": tier})
    assert first["done"] is False
    _, polled = await call(http, sandbox, f"/v1internal/{first['name']}")
    _, again = await call(http, sandbox, "/v1internal:onboardUser", metadata | {"tierId": tier})
    assert polled == again
    assert polled["response"]["cloudaicompanionProject"]["id"] == generate["project"]
    assert (await call(http, sandbox, "/v1internal:generateContent", generate))[0] == 200
    _, loaded = await call(http, sandbox, "/v1internal:loadCodeAssist", metadata)
    assert (loaded["currentTier"]["id"], loaded["cloudaicompanionProject"]) == (tier, generate["project"])


async def test_projects_services_and_quota(sandbox, http):
    sandbox.change(service_enabled=False, quota_requests=1)
    _, projects = await call(http, sandbox, "/v1/projects")
    own = projects["projects"][0]["projectId"]
    service = f"/v1/projects/{own}/services/cloudaicompanion.googleapis.com"
    generate = envelope(sandbox, "hi") | {"project": own}
    assert (await call(http, sandbox, service))[1]["state"] == "DISABLED"
    status, body = await call(http, sandbox, "/v1internal:generateContent", generate)
    assert (status, body["error"]["details"][0]["reason"]) == (403, "SERVICE_DISABLED")
    assert (await call(http, sandbox, f"{service}:enable", {}))[1]["done"] is True
    assert (await call(http, sandbox, service))[1]["state"] == "ENABLED"
    assert (await call(http, sandbox, "/v1internal:generateContent", generate))[0] == 200
    status, body = await call(http, sandbox, "/v1internal:generateContent", generate)
    assert (status, body["error"]["details"][0]["reason"]) == (429, "QUOTA_EXHAUSTED")
    _, quota = await call(http, sandbox, "/v1internal:retrieveUserQuota", {"project": own})
    bucket = next(b for b in quota["buckets"] if b["modelId"] == FLASH)
    assert (bucket["remainingFraction"], bucket["remainingAmount"]) == (0, "0")
    assert bucket["resetTime"].endswith("Z")
    assert (await call(http, sandbox, "/v1/projects/other/services/cloudaicompanion.googleapis.com"))[0] == 403


async def test_an_error_once_then_the_answer(sandbox, http):
    path = "/v1internal:generateContent"
    for status, name in (
        (401, "UNAUTHENTICATED"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
    ):
        sandbox.faults.add(Target.GENERATE, ErrorStatus(status))
        got, body = await call(http, sandbox, path, envelope(sandbox, "hi"))
        assert (got, body["error"]["status"]) == (status, name)
        assert (await call(http, sandbox, path, envelope(sandbox, "hi")))[0] == 200
    assert sandbox.stats.calls("codeassist:generateContent", 200) == 4
    assert sandbox.stats.calls("codeassist:generateContent") == 8


async def test_rate_limits_say_when_to_come_back(sandbox, http):
    path = f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
    sandbox.faults.add(Target.GENERATE, RateLimit(2.5, header=True), None, user=USER, model=FLASH)
    async with http.post(sandbox.url + path, json=ask("hi"), headers=token(sandbox)) as answer:
        body = await answer.json()
        assert (answer.status, answer.headers["Retry-After"]) == (429, "2.5")
    details = {d["@type"].rpartition(".")[2]: d for d in body["error"]["details"]}
    assert details["RetryInfo"]["retryDelay"] == "2.5s"
    assert details["ErrorInfo"]["reason"] == "RATE_LIMIT_EXCEEDED"
    async with http.post(sandbox.url + path, json=ask("hi"), headers=token(sandbox, "bob@example.com")) as answer:
        assert answer.status == 200
    sandbox.faults.clear()
    sandbox.faults.add(Target.GENERATE, RateLimit(1))
    async with http.post(sandbox.url + path, json=ask("hi"), headers=token(sandbox)) as answer:
        assert "Retry-After" not in answer.headers


async def test_faults_before_the_answer(sandbox, http):
    path = "/v1internal:generateContent"
    sandbox.faults.add(Target.GENERATE, Answer(502, "<html>bad gateway</html>", "text/html"))
    async with http.post(sandbox.url + path, json=envelope(sandbox, "hi"), headers=token(sandbox)) as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")
    sandbox.faults.add(Target.GENERATE, Drop())
    with pytest.raises(aiohttp.ClientError):
        await call(http, sandbox, path, envelope(sandbox, "hi"))
    sandbox.faults.add(Target.GENERATE, Hang())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await call(http, sandbox, path, envelope(sandbox, "hi"))
    assert sandbox.stats.calls(path[1:].replace("v1internal", "codeassist"), None) == 3
    sandbox.faults.add(Target.GENERATE, Cut())
    with pytest.raises(aiohttp.ClientError):
        await call(http, sandbox, path, envelope(sandbox, "hi"))
    sandbox.faults.add(Target.GENERATE, Slow(60))  # for streams: whole answers leave it alone
    assert (await call(http, sandbox, path, envelope(sandbox, "hi")))[0] == 200
    assert len(sandbox.faults.waiting()) == 1


async def read_stream(http, sandbox, prompt="[[chunks=6]] hi", path=None):
    path = path or f"/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
    got = bytearray()
    async with http.post(sandbox.url + path, json=ask(prompt), headers=token(sandbox)) as answer:
        try:
            async for data in answer.content.iter_any():
                got += data
        except aiohttp.ClientError:
            return bytes(got), False
    return bytes(got), True


async def test_a_stream_cut_after_some_bytes(sandbox, http):
    whole, _ = await read_stream(http, sandbox)
    for after, expected in ((10, 10), (len(whole) // 2, len(whole) // 2), (0, 0), (None, whole.index(b"\r\n\r\n") + 4)):
        sandbox.faults.add(Target.GENERATE, Cut(after))
        got, complete = await read_stream(http, sandbox)
        assert (len(got), complete) == (expected, False)


async def test_an_error_event_in_mid_stream(sandbox, http):
    sandbox.faults.add(Target.GENERATE, ErrorEvent(2, 503))
    got, complete = await read_stream(http, sandbox)
    messages = events(got.decode())
    assert complete
    assert len(messages) == 3
    assert messages[-1]["error"]["status"] == "UNAVAILABLE"
    sandbox.faults.add(Target.GENERATE, ErrorEvent(0, 500))
    got, _ = await read_stream(http, sandbox, path=f"/v1/models/{FLASH}:streamGenerateContent")
    assert json.loads(got)[0]["error"]["code"] == 500


async def test_delayed_and_slow_streams(sandbox, http):
    loop = asyncio.get_running_loop()
    for fault, least in ((Delay(0.1), 0.1), (Slow(0.02), 0.12)):
        sandbox.faults.add(Target.GENERATE, fault)
        before = loop.time()
        got, complete = await read_stream(http, sandbox)
        assert complete
        assert loop.time() - before >= least
        assert said(events(got.decode())) == "".join(
            f"{n}:{w} " for n, w in enumerate(["Echo:", "hi", "(1", "words)"] * 2, 1) if n < 7
        )


async def test_a_client_that_leaves_is_noticed_at_once(sandbox, http):
    for fault, prompt in ((Stall(2), "[[chunks=6]] hi"), (None, "[[chunks=100 delay=0.5]] hi")):
        abandoned = sandbox.stats.streams_abandoned
        if fault:
            sandbox.faults.add(Target.GENERATE, fault)
        path = f"{sandbox.url}/v1beta/models/{FLASH}:streamGenerateContent?alt=sse"
        async with http.post(path, json=ask(prompt), headers=token(sandbox)) as answer:
            await answer.content.readany()
        async with asyncio.timeout(0.4):
            while sandbox.stats.streams_abandoned == abandoned:
                await asyncio.sleep(0.01)
    assert sandbox.stats.streams_finished == 0


async def test_images_arrive_whole(sandbox, http):
    body = ask("a cat", responseModalities=["IMAGE"], imageConfig={"aspectRatio": "16:9", "imageSize": "1K"})
    status, message = await call(http, sandbox, "/v1beta/models/gemini-3-pro-image-preview:generateContent", body)
    assert status == 200
    blob = message["candidates"][0]["content"]["parts"][0]["inlineData"]
    assert blob["mimeType"] == "image/png"
    assert blob["data"].startswith("iVBORw0KGgo")


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # the SDK's own
async def test_the_google_sdk_is_content(sandbox):
    from google import genai
    from google.genai import types

    options = types.HttpOptions(base_url=sandbox.url)
    client = genai.Client(api_key=sandbox.api_key.reveal(), http_options=options).aio
    try:
        whole = await client.models.generate_content(model=FLASH, contents="hello there")
        assert whole.text == "Echo: hello there (2 words)"
        stream = await client.models.generate_content_stream(model=FLASH, contents="hello there")
        assert "".join([chunk.text or "" async for chunk in stream]) == whole.text
    finally:
        await client.aclose()
