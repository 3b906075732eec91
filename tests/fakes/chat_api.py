"""OpenAI's chat completions on loopback, judging what it is sent: roles, calls and their answers, schemas, and what models that reason do not take.

Source: platform.openai.com, API reference "Chat completions", guides "Reasoning models", "Function calling", "Images and vision".
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
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "temperature", "top_p", "n", "stream", "stream_options", "stop", "max_tokens",
    "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "user", "seed", "response_format",
    "reasoning_effort", "modalities", "audio", "prediction", "store", "metadata", "service_tier", "web_search_options", "verbosity",
    "prompt_cache_key", "safety_identifier",
}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_REASONS = re.compile(r"(?:gpt-5|o\d)(?!.*chat)")
_UNREASONABLE = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "stop",
)
_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh"}
_DATA_URL = re.compile(r"data:([^;,]+);base64,(.*)\Z", re.DOTALL)
_LONGEST_ID = 40


class ChatApi(JudgingServer):
    """Serves chat completions."""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/v1/chat/completions", self.completions)]

    async def completions(self, request: web.Request) -> web.StreamResponse:
        seen = await self.take(request)
        try:
            if request.headers.get("authorization") != f"Bearer {self.key}":
                refuse("Incorrect API key provided", 401)
            judged(seen.body)
            message, reason = said(seen.body)
        except RefusedError as refused:
            return _failed(seen, refused)
        head = {"id": f"chatcmpl-{len(self.seen)}", "created": 1_750_000_000, "model": seen.body["model"]}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        if not seen.body.get("stream"):
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
            return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        answer = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await answer.prepare(request)
        counted = (seen.body.get("stream_options") or {}).get("include_usage")
        for choices in _choices(message, reason):
            chunk = {**head, "object": "chat.completion.chunk", "choices": choices} | (
                {"usage": None} if counted else {}
            )
            await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        if counted:
            chunk = {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}
            await answer.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


def judged(body: Any) -> None:
    """Refuse what OpenAI refuses."""
    if unknown := set(body) - _FIELDS:
        refuse(f"Unrecognized request argument supplied: {min(unknown)}")
    if _REASONS.match(body["model"]):
        if "max_tokens" in body:
            refuse(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            )
        for name in _UNREASONABLE:
            if name in body and body[name] != {"temperature": 1, "top_p": 1}.get(name, 0):
                refuse(f"Unsupported parameter: '{name}' is not supported with this model.")
        if body.get("reasoning_effort", "medium") not in _EFFORTS:
            refuse(f"Invalid value: '{body['reasoning_effort']}'")
    elif "reasoning_effort" in body:
        refuse("Unrecognized request argument supplied: reasoning_effort")
    if body.get("stream_options") is not None and not body.get("stream"):
        refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    _check_tools(body)
    _check_messages(body.get("messages"))


def said(body: Any) -> tuple[dict[str, Any], str]:
    """Return the message of an answer, and why it ended."""
    messages = body["messages"]
    results = _results(messages)
    images = [image for message in messages[-1:] if message["role"] == "user" for image in _images(message)]
    if results:
        text = " ".join(
            result(name, told, images if number == 0 else []) for number, (name, told) in enumerate(results)
        )
        return {"role": "assistant", "content": text, "refusal": None}, "stop"
    # What is said last counts, whether by the user or, after that, by instructions in the midst of a conversation.
    start = max(i for i, message in enumerate(messages) if message["role"] == "user")
    prompt = "\n".join(_text(message) for message in messages[start:])
    wanted = calls(prompt, [tool["function"]["name"] for tool in body.get("tools", [])])
    if wanted:
        made = [
            {
                "id": f"call_{hashlib.sha256(repr((n, name, prompt)).encode()).hexdigest()[:24]}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(given)},
            }
            for n, (name, given) in enumerate(wanted)
        ]
        return {"role": "assistant", "content": None, "tool_calls": made, "refusal": None}, "tool_calls"
    return {"role": "assistant", "content": echo(prompt, images), "refusal": None}, "stop"


def _check_messages(messages: Any) -> None:
    if not messages:
        refuse("Invalid 'messages': empty array. Expected an array with minimum length 1.")
    owed: list[str] = []
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        role = message["role"]
        if owed and role != "tool":
            refuse(
                f"An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. Missing: {owed}"
            )
        _check_content(message, place)
        if role == "tool":
            if message["tool_call_id"] not in owed:
                refuse(
                    f"Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls' ({place})"
                )
            owed.remove(message["tool_call_id"])
        for number, call in enumerate(message.get("tool_calls", [])):
            _check_call(call, f"{place}.tool_calls[{number}]")
            owed.append(call["id"])
    if owed:
        refuse(f"An assistant message with 'tool_calls' must be followed by tool messages. Missing: {owed}")


def _check_call(call: Any, place: str) -> None:
    if len(call["id"]) > _LONGEST_ID:
        refuse(f"Invalid '{place}.id': string too long. Expected a string with maximum length {_LONGEST_ID}")
    if call["type"] != "function" or not _NAME.match(call["function"]["name"]):
        refuse(f"Invalid '{place}.function.name'")
    if not isinstance(call["function"]["arguments"], str):
        refuse(f"Invalid type for '{place}.function.arguments': expected a string")


def _check_content(message: Any, place: str) -> None:
    allowed = {
        "system": {"text"},
        "developer": {"text"},
        "user": {"text", "image_url", "input_audio", "file"},
        "assistant": {"text", "refusal"},
        "tool": {"text"},
    }
    role, content = message["role"], message.get("content")
    if role not in allowed:
        refuse(
            f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'."
        )
    if content is None and not message.get("tool_calls"):
        refuse(f"Invalid value for '{place}.content': expected a string, got null.")
    for number, part in enumerate(content if isinstance(content, list) else []):
        if part["type"] not in allowed[role]:
            refuse(f"Invalid value for '{place}.content[{number}]': {part['type']} is not allowed for {role}")
        if part["type"] == "image_url":
            _look(part["image_url"]["url"])


def _check_tools(body: Any) -> None:
    tools = body.get("tools")
    if tools is None:
        if "tool_choice" in body or "parallel_tool_calls" in body:
            refuse("Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.")
        return
    if not 1 <= len(tools) <= 128:
        refuse("Invalid 'tools': between 1 and 128 are expected")
    for index, tool in enumerate(tools):
        place = f"tools[{index}].function"
        if tool["type"] != "function" or not _NAME.match(tool["function"]["name"]):
            refuse(f"Invalid '{place}.name'")
        schema = tool["function"].get("parameters", {"type": "object"})
        if schema.get("type") != "object" or {"oneOf", "anyOf", "allOf", "enum", "not"} & set(schema):
            refuse(
                f"Invalid schema for function: {place}: must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level."
            )
        check_schema(schema, place)
        _check_arrays(schema, place)


def _check_arrays(schema: Any, place: str) -> None:
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "array" and "items" not in schema:
        refuse(f"Invalid schema for function: in context={place}, array schema missing items.")
    for name, inner in schema.get("properties", {}).items():
        _check_arrays(inner, f"{place}.{name}")
    _check_arrays(schema.get("items"), f"{place}.items")


def _results(messages: Any) -> list[tuple[str, str]]:
    """Return what tools said since the model spoke, if that is what comes last; images of theirs may be shown after it."""
    spoke = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    since = messages[spoke + 1 :]
    told = [message for message in since if message["role"] == "tool"]
    if not told:
        return []
    names = {call["id"]: call["function"]["name"] for call in messages[spoke]["tool_calls"]}
    return [(names[message["tool_call_id"]], _text(message)) for message in told]


def _text(message: Any) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else "\n".join(part.get("text", "") for part in content)


def _images(message: Any) -> list[str]:
    content = message.get("content")
    return [
        _look(part["image_url"]["url"])
        for part in (content if isinstance(content, list) else [])
        if part["type"] == "image_url"
    ]


def _look(url: str) -> str:
    found = _DATA_URL.match(url)
    if found is None:
        refuse("Failed to download image.")
    return picture(found[1], found[2])


def _failed(seen: Seen, refused: RefusedError) -> web.Response:
    seen.refused = str(refused)
    error = {"message": str(refused), "type": "invalid_request_error", "param": None, "code": None}
    return web.json_response({"error": error}, status=refused.status)


def _choices(message: dict[str, Any], reason: str) -> Iterator[list[dict[str, Any]]]:
    def choice(delta: dict[str, Any], finish: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]

    yield choice({"role": "assistant", "content": "" if message["content"] else None, "refusal": None})
    for piece in pieces(message["content"] or ""):
        yield choice({"content": piece})
    for index, call in enumerate(message.get("tool_calls", [])):
        function = call["function"]
        yield choice({"tool_calls": [{**call, "index": index, "function": function | {"arguments": ""}}]})
        for piece in (function["arguments"][:5], function["arguments"][5:]):
            yield choice({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield choice({}, reason)
