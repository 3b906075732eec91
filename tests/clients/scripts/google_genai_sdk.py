"""Run by the Python a `google-genai` is installed in: URL, key, model, picture, image model or nothing. Prints what came back as JSON."""

import json
import sys
from pathlib import Path

from google import genai
from google.genai import types

url, key, model, picture, _ = sys.argv[1:]
client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


def weather(city: str) -> str:
    """Tell the weather.

    Args:
        city: Which one.
    """
    return f"sunny-42 in {city}"


wish = 'please call weather {"city": "Ghent"}'
whole = client.models.generate_content(
    model=model,
    contents="Say damson-plum",
    config=types.GenerateContentConfig(
        system_instruction="Be brief.", temperature=0.5, top_p=0.9, stop_sequences=["quince"]
    ),
)
pieces = [
    chunk.text for chunk in client.models.generate_content_stream(model=model, contents="Say damson-plum") if chunk.text
]
# The library makes the declaration out of the function, calls it, and sends what it said.
by_itself = client.models.generate_content(
    model=model, contents=wish, config=types.GenerateContentConfig(tools=[weather])
)

declared = types.FunctionDeclaration(
    name="weather.now", description="Tells the weather.",  # a name that only Google takes
    parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING", nullable=True)}, required=["city"]),
)  # fmt: skip
config = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[declared])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    thinking_config=types.ThinkingConfig(include_thoughts=True),
)
turns = [types.Content(role="user", parts=[types.Part(text=wish.replace("weather", "weather_now"))])]
parts = []
for chunk in client.models.generate_content_stream(model=model, contents=turns, config=config):
    for candidate in chunk.candidates or ():
        parts += (candidate.content and candidate.content.parts) or ()
(call,) = [part.function_call for part in parts if part.function_call]
assert call.name == "weather.now", call
response = {"result": weather(**call.args)}
answer = types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response=response))
turns += [types.Content(role="model", parts=parts), types.Content(role="user", parts=[answer])]
told = [
    chunk.text
    for chunk in client.models.generate_content_stream(model=model, contents=turns, config=config)
    if chunk.text
]

image = types.Part.from_bytes(data=Path(picture).read_bytes(), mime_type="image/png")
seen = client.models.generate_content(model=model, contents=["look", image])
found = {
    "prompt": whole.text,
    "streamed": pieces,
    "tool": by_itself.text,
    "tool streamed": "".join(told),
    "image": seen.text,
}
models = [each.name.removeprefix("models/") for each in client.models.list()]
print(json.dumps({"generateContent": found, "models": models}))
