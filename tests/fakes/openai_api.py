"""OpenAI's two dialects as servers speak them, on loopback: Responses and chat completions.

With `chatgpt` it insists on what the backend of ChatGPT logins does. The model behind it repeats what it was told; asked to `call` it calls the first tool, and
then says what the tool said.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

ENCRYPTED = "RU5D"
CITY = {"city": "Zürich"}
USED = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 12,
}


@dataclass
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass
class OpenAIApi:
    """Runs while entered. `faults` are answered first, one a request: status, headers and body."""

    chatgpt: bool = False
    faults: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    failing: dict[str, object] | None = None
    """An error that ends every stream right after its first event."""
    asked: list[Asked] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response | None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.path_qs, headers, await request.read()))
        if self.faults:
            status, told, body = self.faults.pop(0)
            return web.Response(status=status, headers={"content-type": "application/json", **told}, body=body)
        return None

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        refused = await self._take(request)
        if refused is not None:
            return refused
        body = self.asked[-1].body
        if self.chatgpt and (why := insisted(body)):
            return web.json_response({"detail": why}, status=400)
        items = said(body)
        head = {
            "id": "resp_1",
            "object": "response",
            "created_at": 1_750_000_000,
            "model": body["model"],
            "error": None,
        }
        whole = {**head, "status": "completed", "output": items, "usage": USED}
        if not body.get("stream"):
            return web.json_response(whole)
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        # The backend of ChatGPT logins was seen to leave the output of its last event empty.
        last = whole | {"output": []} if self.chatgpt else whole
        sequence = [{"type": "response.created", "response": head | {"status": "in_progress", "output": []}}]
        if self.failing is not None:
            sequence.append({"type": "response.failed", "response": head | {"status": "failed", "error": self.failing}})
        else:
            sequence += [*grown(items), {"type": "response.completed", "response": last}]
        for number, event in enumerate(sequence):
            data = json.dumps({**event, "sequence_number": number}, ensure_ascii=False)
            await answer.write(f"event: {event['type']}\ndata: {data}\n\n".encode())
        await answer.write_eof()
        return answer

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        refused = await self._take(request)
        if refused is not None:
            return refused
        body = self.asked[-1].body
        message, reason = told(body)
        head = {"id": "chatcmpl-1", "created": 1_750_000_000, "model": body["model"]}
        usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        for call in message.get("tool_calls", []):
            call["index"] = 0
        chunks = [
            {
                **head,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": message, "finish_reason": None}],
            },
            {
                **head,
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
            },
            {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage},
        ]
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for chunk in chunks:
            await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


def insisted(body: Any) -> str | None:
    """Say what the backend of ChatGPT logins would refuse, as far as it is known."""
    if body.get("store") is not False:
        return "Store must be set to false"
    if body.get("stream") is not True:
        return "Stream must be set to true"
    if not isinstance(body.get("input"), list):
        return "Input must be a list"
    return next(
        (f"Unsupported parameter: {name}" for name in ("max_output_tokens", "temperature") if name in body), None
    )


def said(body: Any) -> list[dict[str, Any]]:
    """Return the items of an answer."""
    given = body["input"]
    last = given[-1] if isinstance(given, list) else {"content": given}
    if last.get("type") == "function_call_output":
        return [_message(f"the tool said {last['output']}")]
    text = _text(last["content"])
    if "call" in text and body.get("tools"):
        thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
        call = {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": body["tools"][0]["name"],
            "status": "completed",
        }
        return [
            thought | {"encrypted_content": ENCRYPTED},
            call | {"arguments": json.dumps(CITY, ensure_ascii=False)},
        ]
    return [_message(f"you said {text}")]


def told(body: Any) -> tuple[dict[str, Any], str]:
    """Return the message of chat completions, and why it ended."""
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"the tool said {last['content']}"}, "stop"
    text = _text(last["content"])
    if "call" in text and body.get("tools"):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": json.dumps(CITY)}
        call = {"id": "call_1", "type": "function", "function": function}
        return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    return {"role": "assistant", "content": f"you said {text}"}, "stop"


def grown(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Return the events by which items grow."""
    for index, item in enumerate(items):
        at = {"output_index": index, "item_id": item["id"]}
        empty = item | {key: type(item[key])() for key in ("content", "arguments", "summary") if key in item}
        yield {"type": "response.output_item.added", "output_index": index, "item": empty}
        match item["type"]:
            case "message":
                text, part = item["content"][0]["text"], item["content"][0]
                place = {**at, "content_index": 0}
                yield {"type": "response.content_part.added", "part": part | {"text": ""}, **place}
                for letter in text:
                    yield {"type": "response.output_text.delta", "delta": letter, "logprobs": [], **place}
                yield {"type": "response.output_text.done", "text": text, "logprobs": [], **place}
                yield {"type": "response.content_part.done", "part": part, **place}
            case "reasoning":
                place = {**at, "summary_index": 0}
                yield {
                    "type": "response.reasoning_summary_part.added",
                    "part": {"type": "summary_text", "text": ""},
                    **place,
                }
                yield {"type": "response.reasoning_summary_text.delta", "delta": "hm", **place}
                yield {"type": "response.reasoning_summary_text.done", "text": "hm", **place}
                yield {"type": "response.reasoning_summary_part.done", "part": item["summary"][0], **place}
            case _:
                yield {"type": "response.function_call_arguments.delta", "delta": item["arguments"], **at}
                yield {
                    "type": "response.function_call_arguments.done",
                    "arguments": item["arguments"],
                    "name": item["name"],
                    **at,
                }
        yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
