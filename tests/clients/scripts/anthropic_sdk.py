"""Run by the Python an `anthropic` is installed in: URL, key, model, picture, image model or nothing. Prints what came back as JSON."""

import base64
import json
import sys
from pathlib import Path

import anthropic

url, key, model, picture, _ = sys.argv[1:]
client = anthropic.Anthropic(base_url=url, auth_token=key, api_key=None, max_retries=0)
schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
tools = [{"name": "weather", "description": "Tells the weather.", "input_schema": schema}]
asked = {"model": model, "max_tokens": 4000}


def streamed(messages: list, **extra: object) -> tuple[list, object]:
    with client.messages.stream(messages=messages, **asked, **extra) as events:
        pieces = list(events.text_stream)
        return pieces, events.get_final_message()


def text(message: object) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def round_trip(*, stream: bool, **extra: object) -> str:
    def ask() -> object:
        if stream:
            return streamed(turns, tools=tools, **extra)[1]
        return client.messages.create(messages=turns, tools=tools, **asked, **extra)

    turns = [{"role": "user", "content": 'please call weather {"city": "Ghent"}'}]
    called = ask()
    assert called.stop_reason == "tool_use", called
    (call,) = [block for block in called.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": call.id, "content": f"sunny-42 in {call.input['city']}"}
    said = [block.model_dump(exclude_none=True, include=_KEPT[block.type]) for block in called.content]
    turns += [{"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    return text(ask())


_KEPT = {
    "text": {"type", "text"},
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "tool_use": {"type", "id", "name", "input"},
}

hello = [{"role": "user", "content": "Say damson-plum"}]
chance = {"temperature": 0.5, "top_k": 40, "stop_sequences": ["quince"]}
whole = client.messages.create(messages=hello, system="Be brief.", extra_body=chance, **asked)
assert whole.stop_reason == "end_turn"
pieces, final = streamed(hello)
assert "".join(pieces) == text(final)
data = base64.b64encode(Path(picture).read_bytes()).decode()
look = [
    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}},
    {"type": "text", "text": "look"},
]
seen = client.messages.create(messages=[{"role": "user", "content": look}], **asked)
thinking = {"type": "enabled", "budget_tokens": 1024}
found = {
    "prompt": text(whole), "streamed": pieces, "tool": round_trip(stream=False), "tool streamed": round_trip(stream=True),
    "image": text(seen),
}  # fmt: skip
thought = {
    "tool": round_trip(stream=False, thinking=thinking),
    "tool streamed": round_trip(stream=True, thinking=thinking),
}
models = [each.id for each in client.models.list()]
print(json.dumps({"messages": found, "thinking": found | thought, "models": models}))
