"""Anthropic's messages API on loopback, judging what it is sent: order of roles, calls and their results, signatures, schemas, settings.

Source: docs.anthropic.com, API reference "Messages", "Extended thinking", "Adaptive thinking", "Tool use", "Vision".
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.fakes.judge import (
    JudgingServer,
    RefusedError,
    Seen,
    calls,
    check_schema,
    echo,
    picture,
    pieces,
    refuse,
    result,
)

_FIELDS = {
    "model", "messages", "max_tokens", "system", "tools", "tool_choice", "temperature", "top_p", "top_k", "stop_sequences", "stream",
    "thinking", "metadata", "output_config", "service_tier", "container", "inference_geo",
}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}\Z")
_ID = re.compile(r"[a-zA-Z0-9_-]+\Z")
_BLOCKS = {
    "user": {"text", "image", "document", "tool_result", "search_result"},
    "assistant": {"text", "tool_use", "thinking", "redacted_thinking"},
}
_OLD = re.compile(r"claude-(?:3|(?:opus|sonnet|haiku)-4-[0-5](?!\d)|(?:opus|sonnet)-4-2\d{7})")


class ClaudeApi(JudgingServer):
    """Serves messages and count_tokens."""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/messages", self.messages), web.post("/v1/messages/count_tokens", self.count)]

    async def count(self, request: web.Request) -> web.Response:
        seen = await self.take(request)
        try:
            self._admit(request)
            judged(seen.body, counting=True)
        except RefusedError as refused:
            return _failed(seen, refused)
        return web.json_response({"input_tokens": len(json.dumps(seen.body)) // 4})

    async def messages(self, request: web.Request) -> web.StreamResponse:
        seen = await self.take(request)
        try:
            self._admit(request)
            judged(seen.body)
            blocks, reason = said(seen.body)
        except RefusedError as refused:
            return _failed(seen, refused)
        head = {"id": f"msg_{len(self.seen)}", "type": "message", "role": "assistant", "model": seen.body["model"]}
        ending = {"stop_reason": reason, "stop_sequence": None}
        if not seen.body.get("stream"):
            usage = {"input_tokens": 11, "output_tokens": 7}
            return web.json_response({**head, "content": blocks, **ending, "usage": usage})
        answer = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        for event in _events(head, blocks, ending):
            await answer.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await answer.write_eof()
        return answer

    def _admit(self, request: web.Request) -> None:
        if request.headers.get("x-api-key") != self.key:
            refuse("invalid x-api-key", 401)
        if "anthropic-version" not in request.headers:
            refuse("anthropic-version: header is required")


def judged(body: Any, *, counting: bool = False) -> None:
    """Refuse what Anthropic refuses."""
    if unknown := set(body) - _FIELDS:
        refuse(f"{min(unknown)}: Extra inputs are not permitted")
    if not counting and not (isinstance(body.get("max_tokens"), int) and body["max_tokens"] >= 1):
        refuse("max_tokens: Input should be greater than or equal to 1")
    _check_tools(body)
    _check_system(body.get("system", []))
    thinking = body.get("thinking", {"type": "disabled"})
    _check_thinking(body, thinking)
    _check_messages(body.get("messages"), budget=thinking["type"] == "enabled")


def said(body: Any) -> tuple[list[dict[str, Any]], str]:
    """Return the blocks of an answer, and why it ended."""
    last = body["messages"][-1]["content"]
    last = [{"type": "text", "text": last}] if isinstance(last, str) else last
    prompt = "\n".join(block["text"] for block in last if block["type"] == "text")
    names = [tool["name"] for tool in body.get("tools", [])]
    if results := [block for block in last if block["type"] == "tool_result"]:
        called = {
            block["id"]: block["name"] for block in body["messages"][-2]["content"] if block["type"] == "tool_use"
        }
        return [_text(" ".join(_told(called[block["tool_use_id"]], block) for block in results))], "end_turn"
    thoughts = []
    if body.get("thinking", {}).get("type") in ("enabled", "adaptive"):
        thoughts = [{"type": "thinking", "thinking": "I think.", "signature": signed("I think.")}]
    if wanted := calls(prompt, names):
        # Real ids are as unlike each other, and as long.
        uses = [
            {"type": "tool_use", "id": f"toolu_01{hashlib.sha256(repr((n, name, prompt)).encode()).hexdigest()[:22]}", "name": name, "input": given}
            for n, (name, given) in enumerate(wanted)
        ]  # fmt: skip
        return [*thoughts, _text("I shall look."), *uses], "tool_use"
    return [*thoughts, _text(echo(prompt, _images(last)))], "end_turn"


def signed(thought: str) -> str:
    """Return the signature of a thought."""
    return "RXZv" + hashlib.sha256(thought.encode()).hexdigest()


def _check_messages(messages: Any, *, budget: bool) -> None:
    if not messages:
        refuse("messages: at least one message is required")
    if messages[0]["role"] != "user":
        refuse('messages: first message must use the "user" role')
    open_ids: list[str] = []
    ever: set[str] = set()
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        if set(message) != {"role", "content"} or message["role"] not in _BLOCKS:
            refuse(f"{place}: role must be user or assistant, and nothing but content beside it")
        content = message["content"]
        if not content:
            refuse(f"{place}: user messages must have non-empty content")
        blocks = [_text(content)] if isinstance(content, str) else content
        kinds = [block["type"] for block in blocks]
        if unknown := set(kinds) - _BLOCKS[message["role"]]:
            refuse(f"{place}.content: {min(unknown)} is not allowed for {message['role']}")
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answered) != sorted(open_ids):
            refuse(f"{place}: tool_use ids {open_ids} were answered by tool_result blocks {answered}")
        if "tool_result" in kinds[len(answered) :]:
            refuse(f"{place}: tool_result blocks must come first")
        for number, block in enumerate(blocks):
            _check_block(block, f"{place}.content.{number}")
        open_ids = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(set(open_ids)) != len(open_ids) or ever & set(open_ids):
            refuse(f"{place}: `tool_use` ids must be unique")
        ever |= set(open_ids)
    if open_ids:
        refuse(f"messages: tool_use ids {open_ids} were found without tool_result blocks immediately after")
    if budget and any(block["type"] == "tool_result" for block in messages[-1]["content"] if isinstance(block, dict)):
        first = messages[-2]["content"][0]["type"]
        if first not in ("thinking", "redacted_thinking"):
            refuse(
                f"messages.{len(messages) - 2}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`"
            )


def _check_block(block: Any, place: str) -> None:
    match block["type"]:
        case "text":
            if not block["text"].strip():
                refuse(f"{place}: text content blocks must contain non-whitespace text")
        case "thinking":
            if block["signature"] != signed(block["thinking"]):
                refuse(f"{place}: Invalid `signature` in `thinking` block")
        case "tool_use":
            if not (_ID.match(block["id"]) and _NAME.match(block["name"]) and isinstance(block["input"], dict)):
                refuse(f"{place}: tool_use wants an id and a name of letters, digits, _ and -, and an object as input")
        case "tool_result":
            content = block.get("content", "")
            for number, inner in enumerate([] if isinstance(content, str) else content):
                if inner["type"] not in ("text", "image", "document", "search_result"):
                    refuse(f"{place}.content.{number}: {inner['type']} is not allowed in a tool_result")
                _check_block(inner, f"{place}.content.{number}")
        case "image":
            if block["source"]["type"] == "base64":
                picture(block["source"]["media_type"], block["source"]["data"])


def _check_tools(body: Any) -> None:
    tools = body.get("tools", [])
    names = [tool["name"] for tool in tools]
    if len(set(names)) != len(names):
        refuse("tools: Tool names must be unique.")
    for index, tool in enumerate(tools):
        if "type" in tool and tool["type"] != "custom":
            continue
        if not _NAME.match(tool["name"]):
            refuse(f"tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        schema = tool["input_schema"]
        if schema.get("type") != "object":
            refuse(f"tools.{index}.custom.input_schema.type: Field required")
        if {"oneOf", "allOf", "anyOf"} & set(schema):
            refuse(f"tools.{index}.custom.input_schema: does not support oneOf, allOf, or anyOf at the top level")
        check_schema(schema, f"tools.{index}.custom.input_schema")
    choice = body.get("tool_choice")
    if choice is not None and not tools:
        refuse("tool_choice: may only be specified while providing tools")
    if choice and choice["type"] == "tool" and choice["name"] not in names:
        refuse(f"tool_choice: {choice['name']} is not among the tools")


def _check_system(system: Any) -> None:
    for index, block in enumerate([_text(system)] if isinstance(system, str) else system):
        _check_block(block, f"system.{index}")


def _check_thinking(body: Any, thinking: Any) -> None:
    budget, on, forced = (
        thinking.get("budget_tokens"),
        thinking["type"] != "disabled",
        body.get("tool_choice", {}).get("type") in ("any", "tool"),
    )
    old = _OLD.match(body["model"])
    if thinking["type"] == "enabled" and not (old and isinstance(budget, int) and 1024 <= budget < body["max_tokens"]):
        refuse("thinking.enabled.budget_tokens: at least 1024, less than max_tokens, and for models that take a budget")
    if thinking["type"] == "adaptive" and old:
        refuse("adaptive thinking is not supported on this model")
    if on and (forced or "top_k" in body or body.get("temperature", 1) != 1 or body.get("top_p", 1) < 0.95):
        refuse("thinking may not be enabled when tool use is forced, with temperature, or with top_k")
    if not 0 <= body.get("temperature", 1) <= 1:
        refuse("temperature: range: 0..1")
    version = _version(body["model"])
    if version >= (4, 7) and {"temperature", "top_p", "top_k"} & set(body):
        refuse("`temperature`, `top_p` and `top_k` are not supported on this model")
    if version >= (4, 1) and "temperature" in body and "top_p" in body:
        refuse("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


def _version(model: str) -> tuple[int, int]:
    found = re.match(r"claude-[a-z]+-(\d+)(?:-(\d)(?!\d))?", model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def _told(name: str, block: Any) -> str:
    content = block.get("content", "")
    content = [_text(content)] if isinstance(content, str) else content
    return result(name, "\n".join(inner["text"] for inner in content if inner["type"] == "text"), _images(content))


def _images(blocks: Any) -> list[str]:
    sources = [block["source"] for block in blocks if block["type"] == "image"]
    return [picture(source["media_type"], source["data"]) for source in sources]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _failed(seen: Seen, refused: RefusedError) -> web.Response:
    seen.refused = str(refused)
    kind = {401: "authentication_error"}.get(refused.status, "invalid_request_error")
    return web.json_response({"type": "error", "error": {"type": kind, "message": str(refused)}}, status=refused.status)


def _events(head: dict[str, Any], blocks: list[dict[str, Any]], ending: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {
        **head,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    }
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(blocks):
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}[
            block["type"]
        ]
        yield {"type": "content_block_start", "index": index, "content_block": block | empty}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 7}}
    yield {"type": "message_stop"}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case _:
            text = json.dumps(block["input"])
            for piece in ("", text[:5], text[5:]):
                yield {"type": "input_json_delta", "partial_json": piece}
