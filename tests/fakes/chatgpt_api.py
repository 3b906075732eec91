"""The backend of ChatGPT logins on loopback, judging what it is sent: what it insists on, items and their order, calls and their outputs, reasoning it signed.

Source: openai/codex (`codex-rs`), and platform.openai.com, API reference "Responses", guide "Reasoning models".
"""

import hashlib
import json
import re
from typing import Any

from aiohttp import web

from tests.fakes.judge import JudgingServer, RefusedError, Seen, calls, check_schema, echo, picture, refuse, result
from tests.fakes.openai_api import grown

ACCOUNT = "00000000-0000-4000-8000-000000000001"
_FIELDS = {
    "model", "instructions", "input", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "store", "stream", "include", "prompt_cache_key",
    "text", "service_tier", "client_metadata",
}  # fmt: skip
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_DATA_URL = re.compile(r"data:([^;,]+);base64,(.*)\Z", re.DOTALL)
_PARTS = {
    "user": {"input_text", "input_image", "input_file"},
    "developer": {"input_text"},
    "assistant": {"output_text", "refusal"},
}
_EFFORTS = {"none", "minimal", "low", "medium", "high", "xhigh"}
_LONGEST_ID = 64


class ChatGptApi(JudgingServer):
    """Serves Responses, streamed and not stored."""

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/codex/responses", self.responses)]

    async def responses(self, request: web.Request) -> web.StreamResponse:
        seen = await self.take(request)
        try:
            if request.headers.get("authorization") != f"Bearer {self.key}":
                refuse("Could not parse your authentication token.", 401)
            if request.headers.get("chatgpt-account-id") != ACCOUNT:
                refuse("The account is missing.", 403)
            judged(seen.body)
            items = said(seen.body)
        except RefusedError as refused:
            return _failed(seen, refused)
        head = {
            "id": f"resp_{len(self.seen)}",
            "object": "response",
            "created_at": 1_750_000_000,
            "model": seen.body["model"],
            "error": None,
        }
        used = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
        # Its last event was seen to leave the output empty.
        last = head | {"status": "completed", "output": [], "usage": used}
        sequence = [
            {"type": "response.created", "response": head | {"status": "in_progress", "output": []}},
            *grown(items),
            {"type": "response.completed", "response": last},
        ]
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        for number, event in enumerate(sequence):
            await answer.write(
                f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
            )
        await answer.write_eof()
        return answer


def judged(body: Any) -> None:
    """Refuse what the backend refuses."""
    if unknown := set(body) - _FIELDS:
        refuse(f"Unsupported parameter: {min(unknown)}")
    if body.get("store") is not False or body.get("stream") is not True:
        refuse("Store must be set to false, stream to true")
    if not isinstance(body.get("instructions"), str) or not isinstance(body.get("input"), list) or not body["input"]:
        refuse("Instructions are required, input must be a list")
    if (body.get("reasoning") or {}).get("effort", "medium") not in _EFFORTS:
        refuse(f"Invalid value: '{body['reasoning']['effort']}'")
    for index, tool in enumerate(body.get("tools", [])):
        _check_tool(tool, f"tools[{index}]")
    _check_items(body["input"])


def said(body: Any) -> list[dict[str, Any]]:
    """Return the items of an answer."""
    items = body["input"]
    spoke = max(
        (i for i, item in enumerate(items) if item["type"] == "function_call" or item.get("role") == "assistant"),
        default=-1,
    )
    since = items[spoke + 1 :]
    names = {item["call_id"]: item["name"] for item in items if item["type"] == "function_call"}
    outputs = [item for item in since if item["type"] == "function_call_output"]
    if outputs:
        return [_message(" ".join(_told(names[item["call_id"]], item["output"]) for item in outputs))]
    parts = [part for item in since for part in item["content"]]
    prompt = "\n".join(part["text"] for part in parts if part["type"] == "input_text")
    wanted = calls(prompt, [tool["name"] for tool in body.get("tools", []) if tool["type"] == "function"])
    if not wanted:
        return [_message(echo(prompt, _images(parts)))]
    made = [
        {
            "type": "function_call",
            "id": f"fc_{number}",
            "call_id": f"call_{hashlib.sha256(repr((number, name, prompt)).encode()).hexdigest()[:24]}",
            "name": name,
            "status": "completed",
            "arguments": json.dumps(given),
        }
        for number, (name, given) in enumerate(wanted)
    ]
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    return [thought | {"encrypted_content": sealed(made[0]["call_id"])}, *made]


def sealed(call_id: str) -> str:
    """Return the encrypted reasoning that led to a call."""
    return "gAAAAAB" + hashlib.sha256(call_id.encode()).hexdigest()


def _check_items(items: Any) -> None:
    owed: list[str] = []
    for index, item in enumerate(items):
        place = f"input[{index}]"
        match item["type"]:
            case "message":
                _check_message(item, place)
            case "function_call":
                if (
                    not _NAME.match(item["name"])
                    or len(item["call_id"]) > _LONGEST_ID
                    or not isinstance(item["arguments"], str)
                ):
                    refuse(f"Invalid '{place}': name, call_id or arguments")
                owed.append(item["call_id"])
            case "function_call_output":
                if item["call_id"] not in owed:
                    refuse(f"No tool call found for function call output with call_id {item['call_id']}.")
                owed.remove(item["call_id"])
            case "reasoning":
                after = items[index + 1] if index + 1 < len(items) else {"type": None}
                if after["type"] != "function_call":
                    refuse(f"Item '{place}' of type 'reasoning' was provided without its required following item.")
                if item.get("encrypted_content") != sealed(after["call_id"]):
                    refuse(f"The encrypted content of {place} could not be verified.")
            case other:
                refuse(f"Invalid value: '{other}' ({place}.type)")
    if owed:
        refuse(f"No tool output found for function call {owed[0]}.")


def _check_message(item: Any, place: str) -> None:
    if item["role"] not in _PARTS:
        refuse(f"{place}: {item['role']} messages are not allowed")
    for part in item["content"]:
        if part["type"] not in _PARTS[item["role"]]:
            refuse(f"Invalid value: '{part['type']}' ({place}.content of {item['role']})")
    _images(item["content"])


def _check_tool(tool: Any, place: str) -> None:
    if tool["type"] == "web_search":
        return
    if tool["type"] != "function" or not _NAME.match(tool["name"]):
        refuse(f"Invalid '{place}'")
    if tool["parameters"].get("type") != "object" or tool.get("strict"):
        refuse(f"Invalid schema for function '{tool['name']}'")
    check_schema(tool["parameters"], place)


def _told(name: str, output: Any) -> str:
    if isinstance(output, str):
        return result(name, output, [])
    return result(name, "\n".join(part["text"] for part in output if part["type"] == "input_text"), _images(output))


def _images(parts: Any) -> list[str]:
    found = []
    for part in parts:
        if part["type"] == "input_image":
            match = _DATA_URL.match(part["image_url"])
            if match is None:
                refuse("Invalid 'image_url'")
            found.append(picture(match[1], match[2]))
    return found


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def _failed(seen: Seen, refused: RefusedError) -> web.Response:
    seen.refused = str(refused)
    return web.json_response({"detail": str(refused)}, status=refused.status)
