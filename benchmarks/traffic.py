"""What is sent and answered while measuring: requests of clients, answers of APIs. Pure.

Owns: the made-up models, whose names choose the upstream's route: one that answers whole, others whose streams have a pace of their own.
"""

import json
from collections.abc import Mapping

from benchmarks import load
from broker.config import INTERNAL_KEY

SIZE = 1024
LARGE = 100 * 1024

WHOLE, FAST, PACED, ONCE, BURST, IDLE = "bench", "bench-fast", "bench-paced", "bench-once", "bench-burst", "bench-idle"
INTERVALS = {FAST: 0.001, PACED: 0.01}
"""Seconds between two chunks of a stream."""

BURST_CHUNKS = 50

HEADERS = {"Authorization": f"Bearer {INTERNAL_KEY}", "Content-Type": "application/json", "Accept": "*/*"}
STAMP = "t=" + "0" * 19

_STREAMS = ((FAST, 1000, 0), (PACED, 10_000, 0), (ONCE, 0, 1), (BURST, 0, BURST_CHUNKS), (IDLE, 0, 0))
_WORDS = "All work and no play makes a dull benchmark. "


def gemini(model: str, *, stream: bool = False, size: int = SIZE) -> bytes:
    """Return a Gemini client's request of `size` bytes of JSON."""
    return post(gemini_path(model, stream=stream), gemini_body(size))


def gemini_path(model: str, *, stream: bool = False) -> str:
    """Return where it goes."""
    return f"/v1beta/models/gemini-{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def gemini_body(size: int = SIZE) -> bytes:
    """Return its body."""
    return _filled(
        {"contents": [{"role": "user", "parts": [{"text": ""}]}], "generationConfig": {"temperature": 0.5}}, size
    )


def openai(model: str, *, stream: bool = False, size: int = SIZE) -> bytes:
    """Return an OpenAI client's chat; `model` with its vendor's prefix."""
    document = {"model": model, "messages": [{"role": "user", "content": ""}], "temperature": 0.5}
    return post("/v1/chat/completions", _filled(document | ({"stream": True} if stream else {}), size))


def post(path: str, body: bytes, headers: Mapping[str, str] = HEADERS) -> bytes:
    """Return a whole request."""
    return load.request("POST", path, host="localhost", headers=dict(headers), body=body)


def gemini_answer() -> str:
    """Return a whole answer of the Gemini API, 1 KiB of JSON."""
    candidate = {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}
    return _filled({"candidates": [candidate], **_gemini_end()}, SIZE).decode()


def code_assist_answer() -> str:
    """Return the same in Code Assist's envelope."""
    return json.dumps({"response": json.loads(gemini_answer())})


def claude_answer() -> str:
    """Return a whole answer of Anthropic's API, 1 KiB of JSON."""
    content = [{"type": "text", "text": ""}]
    return _filled({**_claude_message(), "content": content, "stop_reason": "end_turn"}, SIZE).decode()


def gemini_stream() -> tuple[str, str, str]:
    """Return the beginning of a Gemini stream, a chunk (250 bytes) with a place for the upstream's stamp, and the end."""
    first, chunk, last = (_gemini_chunk(text) for text in ("Once ", f"{STAMP} word ", "end."))
    last["candidates"][0]["finishReason"] = "STOP"  # type: ignore[index]
    return _event(first), _event(chunk), _event(last)


def claude_stream() -> tuple[str, str, str]:
    """Return the same of an Anthropic stream."""
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": f"{STAMP} word "}}
    start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 150}}
    first = _named({"type": "message_start", "message": {**_claude_message(), "content": []}}) + _named(start)
    last = _named({"type": "content_block_stop", "index": 0}) + _named(stop) + _named({"type": "message_stop"})
    # Anthropic sends no counts with a delta; the words make the chunk as long as Gemini's.
    delta["delta"]["text"] += (
        "and some more words, so that this chunk is as long as the other one, which counts its tokens in each. "  # type: ignore[index]
    )
    return first, _named(delta), last


def routes(files: Mapping[str, str]) -> list[list[str]]:
    """Return the upstream's routes; `files` maps the names of `answers` to paths."""
    made: list[list[str]] = []
    for name, micros, count in _STREAMS:
        pace = [str(micros), str(count)]
        for prefix, needle, vendor in (
            (f"/v1beta/models/gemini-{name}:", "", "gemini"),
            ("/v1/messages", f'"claude-{name}"', "claude"),
        ):
            texts = [files[f"{vendor}-{part}"] for part in ("first", "chunk", "last")]
            made.append([prefix, needle, "stream", *texts, *pace])
    made.append(["/v1/messages", "", "whole", files["claude"]])
    made.append(["/v1internal", "", "whole", files["code_assist"]])
    made.append(["/", "", "whole", files["gemini"]])
    return made


def answers() -> dict[str, bytes]:
    """Return what the upstream's files hold, by name."""
    parts = ("first", "chunk", "last")
    streams = {f"gemini-{part}": text for part, text in zip(parts, gemini_stream(), strict=True)}
    streams |= {f"claude-{part}": text for part, text in zip(parts, claude_stream(), strict=True)}
    whole = {"gemini": gemini_answer(), "claude": claude_answer(), "code_assist": code_assist_answer()}
    return {name: text.encode() for name, text in streams.items()} | {
        name: response(text) for name, text in whole.items()
    }


def response(body: str) -> bytes:
    """Return a whole response with a JSON body."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"{head}{body}".encode()


def _gemini_chunk(text: str) -> dict[str, object]:
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}], **_gemini_end()}


def _gemini_end() -> dict[str, object]:
    usage = {"promptTokenCount": 200, "candidatesTokenCount": 150, "totalTokenCount": 350}
    return {"usageMetadata": usage, "modelVersion": "gemini-bench", "responseId": "fake-response"}


def _claude_message() -> dict[str, object]:
    usage = {"input_tokens": 200, "output_tokens": 150}
    return {
        "id": "msg_fake", "type": "message", "role": "assistant", "model": "claude-bench",
        "stop_reason": None, "stop_sequence": None, "usage": usage,
    }  # fmt: skip


def _event(document: object) -> str:
    return f"data: {json.dumps(document, separators=(',', ':'))}\r\n\r\n"


def _named(document: Mapping[str, object]) -> str:
    return f"event: {document['type']}\ndata: {json.dumps(document, separators=(',', ':'))}\n\n"


def _filled(document: object, size: int) -> bytes:
    """Return a document as JSON whose one empty string is filled until it is `size` bytes long."""
    text = json.dumps(document)
    missing = size - len(text)
    return text.replace('""', json.dumps((_WORDS * (missing // len(_WORDS) + 1))[:missing]), 1).encode()
