"""OpenAI chat completions as an upstream, request side: `ir.Request` -> body.

Owns: what each neutral field becomes, for any server that speaks this dialect. It must never know a URL, a header or a login.

Left out because the dialect has no such thing: `top_k`, signatures and reasoning (but for models that want theirs back), that a tool failed, a budget of
thinking (it becomes the nearest effort). What a model of OpenAI's does not take is left out for it, since it would refuse the whole request.
"""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from broker.translate.data_url import join_data_url
from broker.translate.digests import uuid_of
from broker.translate.effort import ThinkingLimits, fit, level_of
from broker.translate.exchange import Target
from broker.translate.fields import bad_field
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    Image,
    ImageLink,
    JsonObject,
    JsonOutput,
    Media,
    Message,
    NativeTool,
    Part,
    Reasoning,
    Request,
    Role,
    Sampling,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
    ToolResult,
)
from broker.translate.limits import capped
from broker.translate.names import ToolNames
from broker.translate.openai_models import OpenAIModel, openai_model
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer
from broker.translate.thoughts import recall
from broker.translate.turns import Answered, Turn, laid_out

_Object = dict[str, object]

_ID_LENGTH: Final = 40  # OpenAI refuses longer ids of calls
_SOUNDS: Final = {"audio/mpeg": "mp3", "audio/mp4": "m4a", "audio/pcm": "pcm16"}
_OFF: Final[_Object] = {"reasoning_effort": Effort.NONE.value}
_REFUSED_BY_THINKERS: Final = (
    "temperature", "top_p", "stop", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs",
)  # fmt: skip


def build(request: Request, target: Target) -> tuple[_Object, ToolNames]:
    """Return the body's object and the names its functions go by.

    Raises:
        BrokerError: `bad_request` where nobody says anything, or for a tool that runs at another vendor.
    """
    names = ToolNames.of(request)
    model = openai_model(target.model, target.limits)
    memory = target.signatures if model.rethinks else None
    body: _Object = {"model": target.model, "messages": _messages(request, names, memory)}
    body |= _tools(request, names)
    reasoning = _reasoning(request.reasoning, model.thinking)
    body |= _sampling(capped(request.sampling, target.limits), model, thinks=reasoning != _OFF)
    body |= _output(request.output)
    body |= reasoning
    if request.stream:
        # Usage is asked for always: the client is told what it asked to be told, our counters count.
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body, names


# --------------------------------------------------------------------------------------------------------- messages


def _messages(request: Request, names: ToolNames, memory: SignatureMemory | None) -> list[_Object]:
    """Return the messages; with thoughts where there is a memory to look those up in that the client did not send back."""
    turns = laid_out(request.messages or (Message(Role.USER, request.system),))
    said = [message for turn in turns for message in _turn(turn, names, memory)]
    if not said:
        bad_field("messages", "nothing is left that a user says")
    system = [{"type": "text", "text": part.text} for part in request.system if part.text]
    if not system or not request.messages:
        return said
    content: object = system[0]["text"] if len(system) == 1 else system
    return [{"role": "system", "content": content}, *said]


def _turn(turn: Turn, names: ToolNames, memory: SignatureMemory | None) -> list[_Object]:
    if turn.answers:
        return _answers(turn.answers)
    if turn.role is Role.ASSISTANT:
        thoughts = {} if memory is None else _thoughts(turn.parts, memory)
        return _assistant(turn.parts, names, thoughts)
    parts = [piece for part in turn.parts for piece in _part(part)]
    return [{"role": "user", "content": _plain(parts)}] if parts else []


def _answers(answers: Sequence[Answered]) -> list[_Object]:
    """Return a message for each answer, and the media they hold in one of the user's after them: a tool's message takes text only."""
    messages: list[_Object] = []
    media: list[_Object] = []
    for call, result in ((answer.call, answer.result) for answer in answers):
        told = "" if result is None else _told(result)
        messages.append({"role": "tool", "tool_call_id": _call_id(call.id), "content": told})
        content = result.content if result else ()
        media.extend(piece for part in content if not isinstance(part, Text) for piece in _media(part))
    if media:
        messages.append({"role": "user", "content": media})
    return messages


def _told(result: ToolResult) -> str:
    if result.structured is not None:
        return msgspec.json.encode(result.structured).decode()
    return "".join(part.text for part in result.content if isinstance(part, Text))


def _thoughts(parts: Sequence[Part], memory: SignatureMemory) -> _Object:
    """Return what the model thought itself, which bears no signature: as the client sent it, else as it is remembered by a call."""
    told = "".join(part.text for part in parts if isinstance(part, Thinking) and part.signature is None)
    known = (recall(memory, Signer.CHAT, part.id) for part in parts if isinstance(part, ToolCall))
    text = told or "".join(thought.text for thoughts in known for thought in thoughts)
    return {"reasoning_content": text} if text else {}


def _assistant(parts: Sequence[Part], names: ToolNames, thoughts: _Object) -> list[_Object]:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    calls = [_call(part, names) for part in parts if isinstance(part, ToolCall)]
    images = [piece for part in parts if isinstance(part, Image) for piece in _media(part)]
    if not (text or calls or images):
        return []
    message: _Object = {"role": "assistant", "content": text or None, **thoughts}
    # The dialect has no images in what an assistant said: they are shown again as the user's.
    shown: list[_Object] = [{"role": "user", "content": images}] if images else []
    return [message | ({"tool_calls": calls} if calls else {}), *shown] if text or calls else shown


def _call(call: ToolCall, names: ToolNames) -> _Object:
    arguments = msgspec.json.encode(call.arguments).decode()
    function = {"name": names.outward(call.name), "arguments": arguments}
    return {"id": _call_id(call.id), "type": "function", "function": function}


def _call_id(identifier: str) -> str:
    return identifier if len(identifier) <= _ID_LENGTH else uuid_of(identifier)


def _part(part: Part) -> list[_Object]:
    match part:
        case ToolResult():
            # It answers a call this conversation does not hold (any more): what it says is kept, as text.
            text = _told(part)
            media = [piece for each in part.content if not isinstance(each, Text) for piece in _media(each)]
            return _media(Text(text)) + media
        case Thinking() | ToolCall():
            return []  # never said by a user
        case _:
            return _media(part)


def _media(part: Media) -> list[_Object]:
    match part:
        case Text(text):
            return [{"type": "text", "text": text}] if text else []
        case Image(mime, data):
            return [{"type": "image_url", "image_url": {"url": join_data_url(mime, data)}}]
        case ImageLink(url):
            return [{"type": "image_url", "image_url": {"url": url}}]
        case Audio(mime, data):
            sound = _SOUNDS.get(mime, mime.partition("/")[2])
            return [{"type": "input_audio", "input_audio": {"data": data, "format": sound}}]
        case File(mime, data, name):
            return [{"type": "file", "file": {"file_data": join_data_url(mime, data), "filename": name or "file"}}]
        case _:
            assert_never(part)


def _plain(parts: list[_Object]) -> object:
    """Return text alone as text: not every server reads parts."""
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(request: Request, names: ToolNames) -> _Object:
    tools = [
        _tool(tool, names, f"tools[{i}]")
        for i, tool in enumerate(request.tools)
        if not (isinstance(tool, NativeTool) and tool.optional)
    ]
    if not tools:
        return {}
    out: _Object = {"tools": tools}
    choice = _choice(request.tool_choice, names)
    if choice is not None:
        out["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        out["parallel_tool_calls"] = request.parallel_tool_calls
    return out


def _tool(tool: Tool, names: ToolNames, path: str) -> _Object:
    if isinstance(tool, NativeTool):
        bad_field(path, f"the model asked for has no {tool.kind.value} of its provider's")
    function: _Object = {"name": names.outward(tool.name)}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = parameters(tool.parameters)
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def parameters(schema: JsonObject | None) -> JsonObject:
    """Return a function's schema as OpenAI takes it: an object must name its properties, be there none."""
    if schema is None or (schema.get("type") == "object" and "properties" not in schema):
        return {"type": "object", "properties": {}, **(schema or {})}
    return schema


def _choice(choice: ToolChoice | None, names: ToolNames) -> object:
    if choice is None:
        return None
    if len(choice.names) == 1 and choice.mode is ToolMode.REQUIRED:
        return {"type": "function", "function": {"name": names.outward(choice.names[0])}}
    if choice.names:
        allowed = [{"type": "function", "function": {"name": names.outward(name)}} for name in choice.names]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode.value, "tools": allowed}}
    return choice.mode.value


# --------------------------------------------------------------------------------------------------------- settings


def _sampling(sampling: Sampling, model: OpenAIModel, *, thinks: bool) -> _Object:
    values: _Object = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        # The newer name is refused by many servers that speak this dialect, the older one by the models of OpenAI's own that think.
        "max_completion_tokens" if model.bare else "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logprobs": sampling.logprobs,
        "top_logprobs": sampling.top_logprobs,
        "n": sampling.n if sampling.n > 1 else None,
    }
    refused = _REFUSED_BY_THINKERS if model.bare and thinks else ()
    return {key: value for key, value in values.items() if value is not None and key not in refused}


def _output(output: JsonOutput | None) -> _Object:
    if output is None:
        return {}
    if output.schema is None:
        return {"response_format": {"type": "json_object"}}
    strict: _Object = {} if output.strict is None else {"strict": output.strict}
    shape = {"name": output.name or "answer", "schema": output.schema, **strict}
    return {"response_format": {"type": "json_schema", "json_schema": shape}}


def _reasoning(wish: Reasoning | None, limits: ThinkingLimits) -> _Object:
    if wish is None or wish.effort is Effort.AUTO:
        return {}
    if wish.effort is Effort.NONE and limits.off:
        return _OFF
    fits = fit(wish, limits)
    return {} if fits is None else {"reasoning_effort": (fits.level or level_of(fits.budget or 0)).value}
