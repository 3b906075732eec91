"""The official SDKs, pointed at the proxy, against Code Assist upstream."""

import base64

import anthropic
import google.genai as genai
import openai
import pytest
from google.genai.types import GenerateContentConfig, HttpOptions

from broker.config import INTERNAL_KEY
from tests.system.conftest import staged

MODEL = "gemini-2.5-flash"
IMAGE_MODEL = "gemini-3-pro-image-preview"
PNG = b"\x89PNG\r\n\x1a\n"


async def test_openai_sdk() -> None:
    async with staged() as stage:
        async with openai.AsyncOpenAI(base_url=f"{stage.proxy_url}/v1", api_key=INTERNAL_KEY, max_retries=0) as client:
            messages = [{"role": "user", "content": "Say hello"}]
            whole = await client.chat.completions.create(model=MODEL, messages=messages)
            assert whole.choices[0].message.content
            assert whole.choices[0].finish_reason == "stop"
            assert whole.usage is not None
            assert whole.usage.prompt_tokens + whole.usage.completion_tokens == whole.usage.total_tokens

            streamed = await client.chat.completions.create(
                model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in streamed]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == whole.choices[0].message.content
            assert chunks[-1].usage is not None
            assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]

            tools = [
                {
                    "type": "function",
                    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
                }
            ]
            asked = [{"role": "user", "content": "please call weather"}]
            called = await client.chat.completions.create(model=MODEL, messages=asked, tools=tools)
            assert called.choices[0].finish_reason == "tool_calls"
            calls = called.choices[0].message.tool_calls
            assert calls is not None
            assert calls[0].function.name == "weather"
            asked += [
                called.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny-42"},
            ]
            done = await client.chat.completions.create(model=MODEL, messages=asked, tools=tools)
            assert "sunny-42" in (done.choices[0].message.content or "")

            models = [model.id async for model in client.models.list()]
            assert MODEL in models

            drawn = await client.chat.completions.create(
                model=IMAGE_MODEL, messages=[{"role": "user", "content": "a cute cat"}],
                extra_body={"modalities": ["image", "text"], "image_config": {"aspect_ratio": "16:9"}},
            )  # fmt: skip
            url = drawn.choices[0].message.images[0]["image_url"]["url"]  # type: ignore[attr-defined]
            assert base64.b64decode(url.removeprefix("data:image/png;base64,")).startswith(PNG)

            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(model=MODEL, messages=[{"role": "nobody", "content": "x"}])
            assert "messages[0].role" in str(caught.value)
        async with openai.AsyncOpenAI(
            base_url=f"{stage.proxy_url}/v1", api_key="fake-wrong-key", max_retries=0
        ) as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.chat.completions.create(model=MODEL, messages=messages)


async def test_openai_sdk_responses() -> None:
    async with staged() as stage:
        tool = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
        async with openai.AsyncOpenAI(base_url=f"{stage.proxy_url}/v1", api_key=INTERNAL_KEY, max_retries=0) as client:
            whole = await client.responses.create(model=MODEL, input="Say hello")
            assert whole.output_text
            assert whole.status == "completed"
            async with client.responses.stream(model=MODEL, input="Say hello") as streamed:
                final = await streamed.get_final_response()
            assert final.output_text == whole.output_text
            called = await client.responses.create(model=MODEL, input="please call weather", tools=[tool])
            call = next(item for item in called.output if item.type == "function_call")
            said = [item.model_dump(exclude_none=True) for item in called.output]
            result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny-42"}
            asked = [{"role": "user", "content": "please call weather"}, *said, result]
            done = await client.responses.create(model=MODEL, input=asked, tools=[tool])
            assert "sunny-42" in done.output_text


async def test_anthropic_sdk() -> None:
    async with staged() as stage:
        tool = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
        asked = {"model": MODEL, "max_tokens": 1000}
        async with anthropic.AsyncAnthropic(base_url=stage.proxy_url, auth_token=INTERNAL_KEY, max_retries=0) as client:
            messages = [{"role": "user", "content": "Say hello"}]
            whole = await client.messages.create(messages=messages, **asked)
            assert whole.content[0].text
            assert whole.stop_reason == "end_turn"
            async with client.messages.stream(messages=messages, **asked) as streamed:
                final = await streamed.get_final_message()
            assert final.content[0].text == whole.content[0].text
            assert (await client.messages.count_tokens(model=MODEL, messages=messages)).input_tokens > 0

            turns = [{"role": "user", "content": "please call weather"}]
            called = await client.messages.create(messages=turns, tools=[tool], **asked)
            assert called.stop_reason == "tool_use"
            call = next(block for block in called.content if block.type == "tool_use")
            result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny-42"}
            turns += [
                {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in called.content]},
                {"role": "user", "content": [result]},
            ]
            done = await client.messages.create(messages=turns, tools=[tool], **asked)
            assert "sunny-42" in done.content[0].text

            with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
                await client.messages.create(model=MODEL, max_tokens=0, messages=messages)
            models = [model.id async for model in client.models.list()]
            assert MODEL in models


# The SDK subclasses aiohttp's session, which aiohttp discourages: nothing of ours.
@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_google_genai_sdk() -> None:
    async with staged() as stage:
        client = genai.Client(api_key=INTERNAL_KEY, http_options=HttpOptions(base_url=stage.proxy_url)).aio
        whole = await client.models.generate_content(model=MODEL, contents="Say hello")
        assert whole.text
        streamed = await client.models.generate_content_stream(model=MODEL, contents="Say hello")
        assert "".join([chunk.text or "" async for chunk in streamed]) == whole.text
        counted = await client.models.count_tokens(model=MODEL, contents="Say hello")
        assert counted.total_tokens
        config = GenerateContentConfig(response_modalities=["IMAGE", "TEXT"])
        drawn = await client.models.generate_content(model=IMAGE_MODEL, contents="a cute cat", config=config)
        parts = drawn.candidates[0].content.parts  # type: ignore[index, union-attr]
        images = [part.inline_data.data for part in parts or [] if part.inline_data]
        assert images[0].startswith(PNG)  # type: ignore[union-attr]
        await client.aclose()
