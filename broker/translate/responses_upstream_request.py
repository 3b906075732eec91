"""OpenAI Responses as an upstream, request side: `ir.Request` -> body.

Owns: what each neutral field becomes. It must never know a URL, a header or a login, nor what one server of the dialect insists on.

Nothing is kept at the provider (`store: false`): its reasoning is asked for in encrypted form, and given back where the client kept it or this program
remembers it by the call that followed. Left out because the dialect has no such thing: stop sequences, seed, penalties, `top_k`, the shape of images, that
a tool failed; a budget of thinking becomes the nearest effort.

Source: platform.openai.com/docs/api-reference/responses/create.
"""

from collections.abc import Iterator, Sequence
from typing import Final, assert_never

import msgspec

from broker.translate.data_url import join_data_url
from broker.translate.digests import uuid_of
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.exchange import Target
from broker.translate.fields import bad_field
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    Image,
    ImageLink,
    JsonOutput,
    Media,
    Message,
    NativeKind,
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
from broker.translate.openai_models import openai_model, word
from broker.translate.openai_upstream_request import parameters
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer, unmarked
from broker.translate.turns import Answered, Turn, laid_out

_Object = dict[str, object]

_NATIVE: Final[dict[NativeKind, _Object]] = {
    NativeKind.WEB_SEARCH: {"type": "web_search"},
    NativeKind.CODE_EXECUTION: {"type": "code_interpreter", "container": {"type": "auto"}},
}
_ID_LENGTH: Final = 64  # OpenAI refuses longer ids of calls
_ENCRYPTED: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"


def build(request: Request, target: Target) -> tuple[_Object, ToolNames]:
    """Return the body's object and the names its functions go by.

    Raises:
        BrokerError: `bad_request` where nobody says anything, for more than one answer, for sounds, or for a tool that runs at another vendor.
    """
    if request.sampling.n > 1:
        bad_field("n", "the model asked for gives one answer at a time")
    names = ToolNames.of(request)
    include = [_ENCRYPTED, *([_LOGPROBS] if request.sampling.logprobs else [])]
    body: _Object = {
        "model": target.model,
        "instructions": _instructions(request),
        "input": _Items(names, target.signatures).of(request),
        "store": False,
        "include": include,
    }
    body |= _tools(request, names)
    body |= _sampling(capped(request.sampling, target.limits))
    body |= _output(request.output)
    body |= _reasoning(request.reasoning, openai_model(target.model, target.limits).thinking)
    if request.session is not None:
        body["prompt_cache_key"] = request.session
    if request.stream:
        body["stream"] = True
    return body, names


def _instructions(request: Request) -> str:
    """Return the instructions; alone, they are what the user has to say."""
    return "\n\n".join(part.text for part in request.system if part.text) if request.messages else ""


# ------------------------------------------------------------------------------------------------------------ input


class _Items:
    """Writes the items of one conversation."""

    def __init__(self, names: ToolNames, signatures: SignatureMemory) -> None:
        self._names = names
        self._signatures = signatures

    def of(self, request: Request) -> list[_Object]:
        turns = laid_out(request.messages or (Message(Role.USER, request.system),))
        items = [item for turn in turns for item in self._turn(turn)]
        if not items:
            bad_field("messages", "nothing is left that a user says")
        return items

    def _turn(self, turn: Turn) -> Iterator[_Object]:
        if turn.answers:
            yield from (_answer(answer) for answer in turn.answers)
        elif turn.role is Role.ASSISTANT:
            yield from self._assistant(turn.parts)
        else:
            content = [piece for part in turn.parts for piece in _said(part)]
            if content:
                yield {"type": "message", "role": "user", "content": content}

    def _assistant(self, parts: Sequence[Part]) -> Iterator[_Object]:
        """Yield what was said, thought and called in its order; its neighbouring texts are one message."""
        text: list[_Object] = []
        reasoned = False  # the reasoning behind the next call stands before it
        for part in parts:
            if isinstance(part, Text):
                text.extend([{"type": "output_text", "text": part.text}] if part.text else [])
                continue
            if text:
                yield _message(text)
                text = []
            match part:
                case Thinking(told, signature):
                    encrypted = unmarked(Signer.OPENAI, signature)
                    reasoned = encrypted is not None
                    if encrypted is not None:
                        yield _reasoned(told, encrypted)
                case ToolCall():
                    yield from self._call(part, reasoned=reasoned)
                    reasoned = True
                case Image():
                    # The dialect has no images in what an assistant said: they are shown again as the user's.
                    yield {"type": "message", "role": "user", "content": _media(part)}
                case _:
                    pass  # never said by a model
        if text:
            yield _message(text)

    def _call(self, call: ToolCall, *, reasoned: bool) -> Iterator[_Object]:
        known = None if reasoned else unmarked(Signer.OPENAI, self._signatures.recall(call.id))
        if known is not None:
            yield _reasoned("", known)
        arguments = msgspec.json.encode(call.arguments).decode()
        yield {
            "type": "function_call",
            "call_id": _call_id(call.id),
            "name": self._names.outward(call.name),
            "arguments": arguments,
        }


def _message(text: list[_Object]) -> _Object:
    return {"type": "message", "role": "assistant", "content": text}


def _reasoned(text: str, encrypted: str) -> _Object:
    summary = [{"type": "summary_text", "text": text}] if text else []
    return {"type": "reasoning", "summary": summary, "encrypted_content": encrypted}


def _answer(answer: Answered) -> _Object:
    return {"type": "function_call_output", "call_id": _call_id(answer.call.id), "output": _output_of(answer.result)}


def _call_id(identifier: str) -> str:
    return identifier if len(identifier) <= _ID_LENGTH else uuid_of(identifier)


def _output_of(result: ToolResult | None) -> object:
    """Return plain text where there is no more than that, else the parts."""
    if result is None:
        return ""
    if result.structured is not None:
        return msgspec.json.encode(result.structured).decode()
    if all(isinstance(part, Text) for part in result.content):
        return "".join(part.text for part in result.content if isinstance(part, Text))
    return [piece for part in result.content for piece in _media(part)]


def _said(part: Part) -> list[_Object]:
    match part:
        case ToolResult():
            # It answers a call this conversation does not hold (any more): what it says is kept.
            told = _output_of(part)
            return (
                _media(Text(told))
                if isinstance(told, str)
                else [piece for each in part.content for piece in _media(each)]
            )
        case Thinking() | ToolCall():
            return []  # never said by a user
        case _:
            return _media(part)


def _media(part: Media) -> list[_Object]:  # noqa: RET503 - bad_field does not return
    match part:
        case Text(text):
            return [{"type": "input_text", "text": text}] if text else []
        case Image(mime, data):
            return [{"type": "input_image", "image_url": join_data_url(mime, data), "detail": "auto"}]
        case ImageLink(url):
            return [{"type": "input_image", "image_url": url, "detail": "auto"}]
        case File(mime, data, name):
            return [{"type": "input_file", "filename": name or "file", "file_data": join_data_url(mime, data)}]
        case Audio():
            bad_field("messages", "the model asked for takes no audio")
        case _:
            assert_never(part)


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(request: Request, names: ToolNames) -> _Object:
    tools = [told for i, tool in enumerate(request.tools) for told in _tool(tool, names, f"tools[{i}]")]
    if not tools:
        return {}
    out: _Object = {"tools": tools}
    choice = _choice(request.tool_choice, names)
    if choice is not None:
        out["tool_choice"] = choice
    if request.parallel_tool_calls is not None:
        out["parallel_tool_calls"] = request.parallel_tool_calls
    return out


def _tool(tool: Tool, names: ToolNames, path: str) -> list[_Object]:
    if isinstance(tool, NativeTool):
        native = _NATIVE.get(tool.kind)
        if native is None and not tool.optional:
            bad_field(path, f"the model asked for has no {tool.kind.value} of its provider's")
        return [] if native is None else [native]
    function: _Object = {"type": "function", "name": names.outward(tool.name)}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = parameters(tool.parameters)
    # The dialect takes a schema for strict where nothing is said, and most schemas are not.
    function["strict"] = bool(tool.strict)
    return [function]


def _choice(choice: ToolChoice | None, names: ToolNames) -> object:
    if choice is None:
        return None
    named = [{"type": "function", "name": names.outward(name)} for name in choice.names]
    if len(named) == 1 and choice.mode is ToolMode.REQUIRED:
        return named[0]
    return {"type": "allowed_tools", "mode": choice.mode.value, "tools": named} if named else choice.mode.value


# --------------------------------------------------------------------------------------------------------- settings


def _sampling(sampling: Sampling) -> _Object:
    values: _Object = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_output_tokens": sampling.max_tokens,
        "top_logprobs": sampling.top_logprobs,
    }
    return {key: value for key, value in values.items() if value is not None}


def _output(output: JsonOutput | None) -> _Object:
    if output is None:
        return {}
    if output.schema is None:
        return {"text": {"format": {"type": "json_object"}}}
    strict: _Object = {} if output.strict is None else {"strict": output.strict}
    form = {"type": "json_schema", "name": output.name or "answer", "schema": output.schema, **strict}
    return {"text": {"format": form}}


def _reasoning(wish: Reasoning | None, limits: ThinkingLimits) -> _Object:
    if wish is None or limits.kind is ThinkingClass.NONE:
        return {}
    out: _Object = {}
    level = word(wish, limits)
    if level is not None:
        out["effort"] = level.value
    if wish.effort is not Effort.NONE and wish.visible is not False:
        out["summary"] = "auto"
    return {"reasoning": out} if out else {}
