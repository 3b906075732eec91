"""One short text as each vendor's API says it: whole, streamed in two halves, and an error, by the path it is asked at."""

import json
from typing import Any

HALF = 7
"""Characters of the first half."""


def whole_of(path: str, text: str) -> bytes:
    return json.dumps(_whole(path, text), ensure_ascii=False).encode()


def _whole(path: str, text: str) -> dict[str, Any]:
    if path.endswith("/chat/completions"):
        message = {"role": "assistant", "content": text, "refusal": None}
        usage = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }
    if path.endswith("/responses"):
        return response_of(text, "completed")
    if path.endswith("/messages"):
        usage = {"input_tokens": 2, "output_tokens": 3}
        content = [{"type": "text", "text": text}]
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
                "stop_reason": "end_turn", "stop_sequence": None, "usage": usage}  # fmt: skip
    return _candidate(text, "STOP")


def _candidate(text: str, finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}
    if finish is None:
        return {"candidates": [candidate]}
    usage = {"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5}
    return {"candidates": [candidate | {"finishReason": finish}], "usageMetadata": usage}


def response_of(text: str, status: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    usage = {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}
    done = status == "completed"
    return {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": "m", "error": None,
            "incomplete_details": None, "output": [item] if done else [], "usage": usage if done else None}  # fmt: skip


def events_of(path: str, text: str) -> list[bytes]:
    """Return the events of a stream; the text is said in two halves."""
    return [event_of(*each) for each in _events(path, text[:HALF], text[HALF:])]


def event_of(name: str, data: object) -> bytes:
    told = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {told}\n\n".encode()


def _events(path: str, first: str, second: str) -> list[tuple[str, object]]:
    if path.endswith("/chat/completions"):
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        deltas: list[tuple[object, object]] = [
            ({"role": "assistant", "content": first}, None), ({"content": second}, None), ({}, "stop"),
        ]  # fmt: skip
        told = [chunk | {"choices": [{"index": 0, "delta": one, "finish_reason": end}]} for one, end in deltas]
        return [*(("", each) for each in told), ("", "[DONE]")]
    if path.endswith("/responses"):
        return _response_events(first, second)
    if path.endswith("/messages"):
        start = _whole(path, "") | {"content": [], "stop_reason": None}
        named: list[dict[str, Any]] = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": first}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": second}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 3}},
            {"type": "message_stop"},
        ]  # fmt: skip
        return [(each["type"], each) for each in named]
    return [("", _candidate(first, None)), ("", _candidate(second, "STOP"))]


def _response_events(first: str, second: str) -> list[tuple[str, object]]:
    text = first + second
    item = response_of(text, "completed")["output"][0]
    begun = item | {"status": "in_progress", "content": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    told: list[dict[str, Any]] = [
        {"type": "response.created", "response": response_of("", "in_progress")},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **at, "part": part},
        {"type": "response.output_text.delta", **at, "delta": first},
        {"type": "response.output_text.delta", **at, "delta": second},
        {"type": "response.output_text.done", **at, "text": text},
        {"type": "response.content_part.done", **at, "part": part | {"text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": response_of(text, "completed")},
    ]
    return [(each["type"], each | {"sequence_number": number}) for number, each in enumerate(told)]


def error_of(path: str, status: int, message: str, **google: object) -> bytes:
    if path.endswith("/messages"):
        kind = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}.get(status, "api_error")
        return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    if path.endswith(("/chat/completions", "/responses")):
        return json.dumps({"error": {"message": message, "type": "some_error", "param": None, "code": None}}).encode()
    return json.dumps({"error": {"code": status, "message": message, "status": "UNKNOWN", **google}}).encode()
