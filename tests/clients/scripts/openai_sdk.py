"""Run by the Python an `openai` is installed in: URL, key, model, picture, image model or nothing. Prints what came back as JSON."""

import base64
import json
import sys
from pathlib import Path

import openai

url, key, model, picture, image_model = sys.argv[1:]
client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
shown = "data:image/png;base64," + base64.b64encode(Path(picture).read_bytes()).decode()
schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
wish = 'please call weather {"city": "Ghent"}'


def weather(arguments: str) -> str:
    return f"sunny-42 in {json.loads(arguments)['city']}"


def chat_streamed(messages: list, **extra: object) -> tuple[list, list, str]:
    """Return the pieces of text, the tool calls put together, and why it ended."""
    pieces, made, ended, counted = [], {}, "", 0
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(
        model=model, messages=messages, stream=True, stream_options=options, **extra
    ):
        counted += chunk.usage is not None
        for choice in chunk.choices:
            if choice.delta.content:
                pieces.append(choice.delta.content)
            for call in choice.delta.tool_calls or ():
                known = made.setdefault(call.index, {"type": "function", "function": {"name": "", "arguments": ""}})
                known |= {
                    k: v
                    for k, v in call.model_dump(exclude_none=True).items()
                    if k not in ("index", "function", "type")
                }
                known["function"]["name"] += call.function.name or ""
                known["function"]["arguments"] += call.function.arguments or ""
            ended = choice.finish_reason or ended
    assert counted == 1, "usage is told once"
    return pieces, list(made.values()), ended


def chat() -> dict:
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema}}]
    hello = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Say damson-plum"}]
    whole = client.chat.completions.create(
        model=model, messages=hello, temperature=0.5, top_p=0.9, stop=["quince"], max_tokens=500
    )
    pieces, _, ended = chat_streamed(hello)
    assert ended == whole.choices[0].finish_reason == "stop"

    turns = [{"role": "user", "content": wish}]
    called = client.chat.completions.create(model=model, messages=turns, tools=tools).choices[0].message
    (call,) = called.tool_calls
    answer = {"role": "tool", "tool_call_id": call.id, "content": weather(call.function.arguments)}
    turns += [called.model_dump(exclude_none=True), answer]
    told = client.chat.completions.create(model=model, messages=turns, tools=tools)

    turns = [{"role": "user", "content": wish}]
    _, (call,), ended = chat_streamed(turns, tools=tools)
    assert ended == "tool_calls"
    answer = {"role": "tool", "tool_call_id": call["id"], "content": weather(call["function"]["arguments"])}
    turns += [{"role": "assistant", "content": None, "tool_calls": [call]}, answer]
    told_streamed, _, _ = chat_streamed(turns, tools=tools)

    look = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": shown}}]
    seen = client.chat.completions.create(model=model, messages=[{"role": "user", "content": look}])
    return {
        "prompt": whole.choices[0].message.content, "streamed": pieces, "tool": told.choices[0].message.content,
        "tool streamed": "".join(told_streamed), "image": seen.choices[0].message.content,
    }  # fmt: skip


def responses() -> dict:
    tools = [{"type": "function", "name": "weather", "parameters": schema, "strict": False}]
    whole = client.responses.create(
        model=model, input="Say damson-plum", instructions="Be brief.", temperature=0.5, top_p=0.9
    )
    with client.responses.stream(model=model, input="Say damson-plum") as events:
        pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
        final = events.get_final_response()
    assert final.output_text == "".join(pieces)

    turns = [{"role": "user", "content": wish}]
    told = []
    for streamed in (False, True):
        asked = {"model": model, "tools": tools, "store": False, "include": ["reasoning.encrypted_content"]}
        if streamed:
            with client.responses.stream(input=turns, **asked) as events:
                answered = events.get_final_response()
        else:
            answered = client.responses.create(input=turns, **asked)
        (call,) = [item for item in answered.output if item.type == "function_call"]
        said = [item.model_dump(exclude_none=True, exclude={"parsed_arguments", "status"}) for item in answered.output]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": weather(call.arguments)}
        told.append(client.responses.create(input=[*turns, *said, result], **asked).output_text)

    look = [{"type": "input_text", "text": "look"}, {"type": "input_image", "image_url": shown, "detail": "auto"}]
    seen = client.responses.create(model=model, input=[{"role": "user", "content": look}])
    return {
        "prompt": whole.output_text, "streamed": pieces, "tool": told[0], "tool streamed": told[1], "image": seen.output_text,
    }  # fmt: skip


def drawn() -> str:
    asked = [{"role": "user", "content": "a cute cat"}]
    made = client.chat.completions.create(
        model=image_model, messages=asked, extra_body={"modalities": ["image", "text"]}
    )
    return made.choices[0].message.images[0]["image_url"]["url"][:40]


found = {"chat": chat(), "responses": responses(), "models": [each.id for each in client.models.list()]}
print(json.dumps(found | ({"drawn": drawn()} if image_model else {})))
