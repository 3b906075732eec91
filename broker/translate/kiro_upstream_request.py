"""Kiro as an upstream, request side: `ir.Request` -> `conversationState`.

Owns: what each neutral field becomes. It must never know a URL, a header or a login: the profile is added by who knows it.

What is Kiro's own: messages of user and assistant take turns, the user's first; the last is the user's and stands apart (`currentMessage`), with the tools;
none is empty; results of tools stand in the user's message after their calls, and every call has one; every tool called is offered. There is no place for
instructions, so they stand before what the user says first.

Left out because no field is established for it: limits and sampling, stop sequences, how hard to think, thoughts of earlier turns, that a tool must be
called, JSON output without a schema.

Shapes are those of AWS's open client (aws/amazon-q-developer-cli, its generated types); what of them must be there and may not be empty is reported by others.
"""

import base64
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, assert_never

import msgspec

from broker.translate.digests import uuid_of
from broker.translate.exchange import Target
from broker.translate.fields import bad_field
from broker.translate.ir import (
    Audio,
    File,
    FunctionTool,
    Image,
    ImageLink,
    Message,
    NativeTool,
    Part,
    Request,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolMode,
    ToolResult,
)
from broker.translate.kiro_schema import clean_schema
from broker.translate.names import ToolNames
from broker.translate.turns import Answered, Turn, laid_out

_Object = dict[str, object]

ORIGIN: Final = "AI_EDITOR"

_OPENING: Final = "(The conversation begins.)"
_GO_ON: Final = "(Go on.)"
_RESULTS: Final = "(Answers of tools.)"
_SEEN: Final = "(An image.)"
_NOTHING: Final = " "  # of a model that only called tools: a word here would be one in its mouth
_UNANSWERED: Final = "(no answer)"
_EMPTY: Final = "(nothing)"
_NOT_OFFERED: Final = "Not offered any more."

_FORMATS: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_CALL_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# claude-sonnet-4-5 and claude-sonnet-4-5-20250929 are claude-sonnet-4.5 there, claude-sonnet-4-20250514 is claude-sonnet-4.
_MODEL: Final = re.compile(r"(claude-[a-z]+-\d{1,2})(?:-(\d{1,2}))?(?:-\d{8})?", re.ASCII)


def model_id(name: str) -> str:
    """Return what Kiro calls a model: Anthropic's names with a dot in the version and no date; all others stay."""
    found = _MODEL.fullmatch(name)
    if found is None:
        return name
    return found[1] if found[2] is None else f"{found[1]}.{found[2]}"


def build(request: Request, target: Target) -> tuple[_Object, ToolNames]:
    """Return the body's object and the names its functions go by.

    Raises:
        BrokerError: `bad_request` for a medium Kiro does not take, for more than one answer, for JSON output of a schema, for a tool that runs at another
            vendor, or where nobody says anything.
    """
    if request.sampling.n > 1:
        bad_field("n", "the model asked for gives one answer at a time")
    if request.output is not None and request.output.schema is not None:
        bad_field("response_format", "the model asked for cannot be held to a schema")
    names = ToolNames.of(request)
    *history, current = _taking_turns(request, names)
    model = model_id(target.model)
    message = current.written(model)
    tools = _tools(request, names)
    if tools:
        context = message.setdefault("userInputMessageContext", {})
        assert isinstance(context, dict)
        context["tools"] = tools
    state: _Object = {
        "chatTriggerType": "MANUAL",
        "conversationId": uuid_of(request.session or target.prompt_id or ""),
        "currentMessage": {"userInputMessage": message},
    }
    if history:
        state["history"] = [{said.key: said.written(model)} for said in history]
    return {"conversationState": state}, names


# --------------------------------------------------------------------------------------------------------- messages


class _Said:
    """One message while it is put together."""

    __slots__ = ("calls", "images", "results", "role", "texts")

    def __init__(self, role: Role) -> None:
        self.role = role
        self.texts: list[str] = []
        self.images: list[_Object] = []
        self.results: list[_Object] = []
        self.calls: list[_Object] = []

    def __bool__(self) -> bool:
        return bool(self.texts or self.images or self.results or self.calls)

    @property
    def key(self) -> str:
        return "userInputMessage" if self.role is Role.USER else "assistantResponseMessage"

    def written(self, model: str) -> _Object:
        text = "\n\n".join(self.texts)
        if self.role is Role.ASSISTANT:
            return {"content": text or _NOTHING} | ({"toolUses": self.calls} if self.calls else {})
        message: _Object = {
            "content": text or (_RESULTS if self.results else _SEEN),
            "modelId": model,
            "origin": ORIGIN,
        }
        if self.images:
            message["images"] = self.images
        if self.results:
            message["userInputMessageContext"] = {"toolResults": self.results}
        return message


def _taking_turns(request: Request, names: ToolNames) -> list[_Said]:
    # Instructions alone are what the user has to say.
    turns = laid_out(request.messages or (Message(Role.USER, request.system),))
    messages: list[_Said] = []
    for turn in turns:
        said = messages[-1] if messages and messages[-1].role is turn.role else _Said(turn.role)
        _add(said, turn, names)
        if said and (not messages or messages[-1] is not said):
            messages.append(said)
    if not messages:
        bad_field("messages", "nothing is left that a user says")
    if messages[0].role is Role.ASSISTANT:
        messages.insert(0, _user(_OPENING))
    if messages[-1].role is Role.ASSISTANT:
        messages.append(_user(_GO_ON))
    for said, after in pairwise(messages):
        if said.role is Role.ASSISTANT:
            after.images[:0] = said.images  # what a model showed has no place: it is shown again
    if request.messages:
        messages[0].texts[:0] = [part.text for part in request.system if part.text.strip()]
    return messages


def _user(text: str) -> _Said:
    said = _Said(Role.USER)
    said.texts.append(text)
    return said


def _add(said: _Said, turn: Turn, names: ToolNames) -> None:
    for answer in turn.answers:
        said.results.append(_answer(said, answer))
    for part in turn.parts:
        _part(said, part, names)


def _part(said: _Said, part: Part, names: ToolNames) -> None:
    match part:
        case Text(text):
            if text.strip():
                said.texts.append(text)
        case Image():
            said.images.append(_image(part))
        case ToolCall(identifier, name, arguments):
            call: _Object = {"toolUseId": _call_id(identifier), "name": names.outward(name), "input": arguments}
            said.calls.append(call)
        case ToolResult():
            # It answers a call this conversation does not hold (any more): what it says is kept, as text.
            said.texts += _told(said, part)
        case Thinking():
            pass
        case File():
            said.texts.append(_file(part))
        case ImageLink(where=where):
            bad_field(where, "images by URL are not fetched from here; send the image as a data: URL")
        case Audio():
            bad_field("messages", "the model asked for takes no audio")
        case _:
            assert_never(part)


def _answer(said: _Said, answer: Answered) -> _Object:
    result = answer.result
    texts = [_UNANSWERED] if result is None else _told(said, result) or [_EMPTY]
    status = "error" if result is None or result.is_error else "success"
    return {"toolUseId": _call_id(answer.call.id), "content": [{"text": text} for text in texts], "status": status}


def _told(said: _Said, result: ToolResult) -> list[str]:
    """Return what a tool said; its images become the message's, since a result has no place for them."""
    if result.structured is not None:
        return [msgspec.json.encode(result.structured).decode()]
    inside = _Said(Role.USER)
    for part in result.content:
        _part(inside, part, ToolNames())
    said.images += inside.images
    return inside.texts


def _image(image: Image) -> _Object:
    kind = _FORMATS.get(image.mime)
    if kind is None:
        bad_field("messages", f"the model asked for takes no images of type {image.mime[:100]}")
    return {"format": kind, "source": {"bytes": image.data}}


def _file(file: File) -> str:
    if not file.mime.startswith("text/") and file.mime != "application/json":
        bad_field("messages", f"the model asked for takes no files of type {file.mime[:100]}")
    try:
        return base64.b64decode(str(file.data), validate=True).decode()
    except ValueError:  # UnicodeDecodeError is one
        bad_field("messages", f"a file of type {file.mime[:100]} is no text in base64")


def _call_id(identifier: str) -> str:
    return identifier if _CALL_ID.fullmatch(identifier) else uuid_of(identifier)


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(request: Request, names: ToolNames) -> list[_Object]:
    offered = _offered(request)
    known = {tool.name for tool in offered}
    called = [part.name for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
    gone = [FunctionTool(name, _NOT_OFFERED) for name in dict.fromkeys(called) if name not in known]
    return [_tool(tool, names) for tool in (*offered, *gone)]


def _offered(request: Request) -> Sequence[FunctionTool]:
    """Return the functions that may be called: there is no rule for calls, so those it forbids are not offered."""
    choice, found = request.tool_choice, []
    for tool in request.tools:
        if isinstance(tool, FunctionTool):
            found.append(tool)
        elif not tool.optional:
            _elsewhere(tool)
    if choice is None:
        return found
    if choice.mode is ToolMode.NONE:
        return []
    return [tool for tool in found if not choice.names or tool.name in choice.names]


def _elsewhere(tool: NativeTool) -> None:
    bad_field("tools", f"the model asked for has no {tool.kind.value} of its own")


def _tool(tool: FunctionTool, names: ToolNames) -> _Object:
    name = names.outward(tool.name)
    specified = {
        "name": name,
        "description": tool.description or name,  # may not be empty
        "inputSchema": {"json": clean_schema(tool.parameters)},
    }
    return {"toolSpecification": specified}
