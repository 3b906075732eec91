"""Usage from every upstream dialect to every client: told as asked for, and counted as the upstream tells it."""

import json
from pathlib import Path
from typing import Any

import pytest

from broker.proxy.usage_store import UsageReader
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer, chunked
from tests.proxy.conftest import Answer, Proxy, events
from tests.proxy.test_job import JSON, SSE
from tests.proxy.test_usage import counting, kept, told
from tests.translate.test_tokens import CHAT_USAGE, CLAUDE_USAGE, GEMINI_USAGE, RESPONSES_USAGE

MODELS = {
    "gemini-api": "gemini-api/m", "anthropic-api": "anthropic-api/m", "openai-compatible": "openai-compatible/m", "openai-api": "openai-api/gpt-5",
    "codex": "codex/gpt-5-codex",
}  # fmt: skip
CLIENTS = ("chat", "responses", "claude", "gemini")
SAID = {"type": "output_text", "text": "Hi", "annotations": []}
RESPONSE = {
    "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "completed", "usage": RESPONSES_USAGE,
    "output": [{"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [SAID]}],
}  # fmt: skip


def sse(*told: dict[str, Any]) -> bytes:
    return chunked(
        *(f"event: {each.get('type', 'x')}\ndata: {json.dumps(each)}\n\n".encode() for each in told), headers=(SSE,)
    )


async def serve(peer: Peer, taken: Taken) -> None:
    """Answer in the dialect of the path, as vendors do: whole or streamed, of chat completions streamed with usage only where it was asked for."""
    body = json.loads(taken.body)
    path = taken.line.split()[1].partition("?")[0]
    streams = body.get("stream") or "stream" in path
    if "generateContent" in path or "streamGenerateContent" in path:
        made = {
            "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": GEMINI_USAGE,
        }
        await peer.send(sse(made) if streams else whole(made))
    elif path.endswith("/messages"):
        message = {
            "id": "x",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "usage": CLAUDE_USAGE,
        }
        block = {"type": "text", "text": "Hi"}
        await peer.send(
            sse(
                {"type": "message_start", "message": message},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
                {"type": "content_block_stop", "index": 0},
                {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 12}},
                {"type": "message_stop"},
            )
            if streams
            else whole(message | {"content": [block], "stop_reason": "end_turn"})
        )
    elif path.endswith("/responses"):
        begun = {
            "type": "response.created",
            "response": {**RESPONSE, "status": "in_progress", "usage": None, "output": []},
        }
        delta = {
            "type": "response.output_text.delta",
            "output_index": 0,
            "content_index": 0,
            "item_id": "i",
            "delta": "Hi",
        }
        item = {"type": "response.output_item.done", "output_index": 0, "item": RESPONSE["output"][0]}  # type: ignore[index]
        await peer.send(
            sse(begun, delta, item, {"type": "response.completed", "response": RESPONSE})
            if streams
            else whole(RESPONSE)
        )
    else:
        choice = {"index": 0, "finish_reason": "stop"}
        head = {"id": "c", "created": 1, "model": "m"}
        if not streams:
            message = {"role": "assistant", "content": "Hi"}
            await peer.send(whole({**head, "choices": [choice | {"message": message}], "usage": CHAT_USAGE}))
            return
        asked = (body.get("stream_options") or {}).get("include_usage")
        chunk = {**head, "choices": [choice | {"delta": {"content": "Hi"}}]} | ({"usage": None} if asked else {})
        ends = [{**head, "choices": [], "usage": CHAT_USAGE}] if asked else []
        await peer.send(sse(chunk, *ends).removesuffix(b"0\r\n\r\n") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def whole(made: dict[str, Any]) -> bytes:
    return answer(json.dumps(made).encode(), "200 OK", JSON)


def daemon_of(provider: str, url: str) -> FakeDaemon:
    facts = {"codex": {"account_id": "acc-1"}, "openai-compatible": {"base_url": f"{url}/v1"}}.get(provider, {})
    daemon = FakeDaemon()
    daemon.put(account(f"{provider}/a", lease(f"{provider}/a", facts=facts)))
    return daemon


async def ask(p: Proxy, client: str, model: str, *, stream: bool, usage: bool) -> Answer:
    messages = [{"role": "user", "content": "hi"}]
    if client == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return await p.ask(
            "POST", f"/v1beta/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        )
    body: dict[str, Any] = {"model": model, "stream": stream}
    if client == "chat":
        options = {"stream_options": {"include_usage": True}} if usage else {}
        return await p.ask("POST", "/v1/chat/completions", body | options | {"messages": messages})
    if client == "claude":
        return await p.ask("POST", "/v1/messages", body | {"max_tokens": 99, "messages": messages})
    return await p.ask("POST", "/v1/responses", body | {"input": "hi"})


def usage_in(client: str, got: Answer, *, stream: bool) -> tuple[int, int] | None:
    """Return the tokens in and out that a client reads in its answer, of a stream those told last."""
    datas = (
        [json.loads(data) for data in events(got.body.replace(b"\r\n", b"\n")) if data != "[DONE]"]
        if stream
        else [got.json()]
    )
    read = {
        "chat": lambda each: (
            (each.get("usage") or {}).get("prompt_tokens")
            and (each["usage"]["prompt_tokens"], each["usage"]["completion_tokens"])
        ),
        "responses": lambda each: _pair((each.get("response") or each).get("usage"), "input_tokens", "output_tokens"),
        "claude": lambda each: _anthropic(each.get("usage")),
        "gemini": lambda each: _pair(each.get("usageMetadata"), "promptTokenCount", "totalTokenCount", less=True),
    }[client]
    found = [pair for each in datas if (pair := read(each))]
    return found[-1] if found else None


def _pair(usage: dict[str, int] | None, one: str, other: str, *, less: bool = False) -> tuple[int, int] | None:
    if not usage:
        return None
    prompt = usage[one] + usage.get("toolUsePromptTokenCount", 0)
    return prompt, usage[other] - (prompt if less else 0)


def _anthropic(usage: dict[str, int] | None) -> tuple[int, int] | None:
    if not usage or "input_tokens" not in usage:
        return None if not usage else (30, usage["output_tokens"])
    return usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"], usage[
        "output_tokens"
    ]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("provider", MODELS)
async def test_it_is_told_as_asked_for_and_counted(tmp_path: Path, provider: str, client: str) -> None:
    file = tmp_path / "state" / "usage.db"
    asked = [(False, False), (True, True), *([(True, False)] if client == "chat" else [])]
    async with RawUpstream([serve]) as upstream, counting(file, daemon_of(provider, upstream.url), upstream.url) as p:
        for stream, usage in asked:
            got = await ask(p, client, MODELS[provider], stream=stream, usage=usage)
            assert got.status == 200, got.body
            expected = None if stream and not usage else (30, 12)
            assert usage_in(client, got, stream=stream) == expected, got.body
            if client == "chat" and stream and not usage:
                assert b'"usage"' not in got.body, "nothing of it where it was not asked for"
    (counts,) = kept(file).values()
    found = told(counts)
    # A stream of chat completions that passes as it is tells what its client asked for.
    silent = client == "chat" and provider in ("openai-compatible", "openai-api")
    number = len(asked) - silent
    assert (found["requests"], found["prompt"], found["completion"], found["cached"]) == (
        len(asked),
        30 * number,
        12 * number,
        20 * number,
    )
    assert found.get("untold", 0) == silent
    reader = UsageReader(file)
    assert sum(each.requests for each in reader.sessions(0.0)) == len(asked)
    reader.close()
