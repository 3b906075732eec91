"""Gemini generateContent, request side: `ir.Request` -> body.

Owns: what each neutral field becomes (ai.google.dev/api/generate-content). It must never know the envelope of Code Assist, nor a URL.

Gemini is strict about turns: the first is the user's, a turn of function calls is followed at once by one user turn that answers all of them in
order (`turns`), and the last is the user's.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, assert_never

import msgspec

from broker.translate.blob import Base64
from broker.translate.effort import fit
from broker.translate.exchange import Target
from broker.translate.fields import bad_field
from broker.translate.gemini_models import GeminiModel, gemini_model
from broker.translate.ir import (
    Audio,
    Effort,
    File,
    FunctionTool,
    Image,
    ImageLink,
    ImageOptions,
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
from broker.translate.names import ToolNames
from broker.translate.schema_clean import clean_schema
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import of_google
from broker.translate.turns import Answered, laid_out

UNSIGNED: Final = "skip_thought_signature_validator"
"""What Google documents to send where a call's signature is lost (ai.google.dev/gemini-api/docs/thought-signatures)."""

_OPENING: Final = "(The conversation begins.)"  # Gemini refuses a conversation the model opens.

_UNFILTERED: Final = (
    {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"},
    {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "OFF"},
    {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "threshold": "OFF"},
    {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "threshold": "OFF"},
)
_NATIVE = {
    NativeKind.WEB_SEARCH: "googleSearch",
    NativeKind.CODE_EXECUTION: "codeExecution",
    NativeKind.URL_CONTEXT: "urlContext",
}
_Object = dict[str, object]
_Clean = Callable[[Mapping[str, object] | None], object]
_NONE: Final[Mapping[str, object]] = {}
_ANY_IMAGE: Final = ImageOptions()
_Spoken = Media | Thinking | ToolResult  # every part but a call, which needs the turn around it


def build(request: Request, target: Target, clean: _Clean = clean_schema) -> tuple[_Object, ToolNames]:
    """Return the body's object and the names its functions go by. `clean` makes of a tool's schema what Gemini takes, as an object or as JSON.

    Raises:
        BrokerError: `bad_request` for an image by URL, or where nothing is left that a user said.
    """
    names = ToolNames.of(request, dotted=True)
    model = gemini_model(target.model, target.limits)
    contents = _Contents(names, target.signatures).of(request)
    body: _Object = {"contents": contents}
    if request.system and request.messages:
        body["systemInstruction"] = {
            "role": "user",
            "parts": [{"text": part.text} for part in request.system if part.text],
        }
    if request.tools:
        body["tools"] = _tools(request.tools, names, clean)
        config = _tool_config(request, names)
        if config:
            body["toolConfig"] = config
    extras = request.extras.get("gemini", _NONE)
    generation = _generation(request, model, extras.get("generationConfig"))
    if generation:
        body["generationConfig"] = generation
    if "safetySettings" in extras:
        body["safetySettings"] = extras["safetySettings"]
    elif target.safety_off:
        body["safetySettings"] = _UNFILTERED
    return body, names


# --------------------------------------------------------------------------------------------------------- contents


class _Contents:
    """Lays out one request's turns."""

    def __init__(self, names: ToolNames, signatures: SignatureMemory) -> None:
        self._names = names
        self._signatures = signatures

    def of(self, request: Request) -> list[_Object]:
        # Instructions alone are what the user has to say.
        turns = laid_out(request.messages or (Message(Role.USER, request.system),))
        contents: list[_Object] = []
        for turn in turns:
            if turn.role is Role.ASSISTANT:
                role, parts = "model", self._model(turn.parts)
            else:
                role, parts = "user", self._answers(turn.answers) if turn.answers else _said(turn.parts)
            if parts:
                contents.append({"role": role, "parts": parts})
        while contents and contents[-1]["role"] == "model":
            contents.pop()  # a prefill: Gemini takes none
        if not contents:
            bad_field("messages", "nothing is left that a user says")
        if contents[0]["role"] == "model":
            contents.insert(0, {"role": "user", "parts": [{"text": _OPENING}]})
        return contents

    def _model(self, parts: Sequence[Part]) -> list[_Object]:
        out: list[_Object] = []
        first_call = True
        for part in parts:
            if isinstance(part, ToolCall):
                out.append(self._call(part, first=first_call))
                first_call = False
            else:
                out.extend(_part(part))
        return out

    def _call(self, call: ToolCall, *, first: bool) -> _Object:
        out: _Object = {"functionCall": {"name": self._names.outward(call.name), "args": call.arguments}}
        signature = of_google(call.signature) or of_google(self._signatures.recall(call.id))
        if signature is None and first:
            # Only the first call of a turn is checked; one on the others would be wrong.
            signature = UNSIGNED
        if signature is not None:
            out["thoughtSignature"] = signature
        return out

    def _answers(self, answers: Iterable[Answered]) -> list[_Object]:
        out: list[_Object] = []
        media: list[_Object] = []
        for call, result in ((answer.call, answer.result) for answer in answers):
            response = {} if result is None else _response(result)
            out.append({"functionResponse": {"name": self._names.outward(call.name), "response": response}})
            media.extend(_media_of(result))
        return out + media


def _said(parts: Sequence[Part]) -> list[_Object]:
    return [piece for part in parts if not isinstance(part, ToolCall) for piece in _part(part)]


def _response(result: ToolResult) -> _Object:
    key = "error" if result.is_error else "result"
    if result.structured is not None:
        return {key: result.structured}
    return {key: "".join(part.text for part in result.content if isinstance(part, Text))}


def _media_of(result: ToolResult | None) -> list[_Object]:
    content = result.content if result else ()
    return [piece for part in content if not isinstance(part, Text) for piece in _part(part)]


def _part(part: _Spoken) -> list[_Object]:  # noqa: RET503 - bad_field does not return
    match part:
        case Text():
            if part.signature is None:  # as nearly always
                return [{"text": part.text}] if part.text else []
            said = {"text": part.text} | _signed(part.signature)
            return [said] if part.text or len(said) > 1 else []
        case Image(mime, data, signature):
            return [_inline(mime, data) | _signed(signature)]
        case Audio(mime, data) | File(mime, data):
            return [_inline(mime, data)]
        case ImageLink(where=where):
            bad_field(where, "images by URL are not fetched from here; send the image as a data: URL")
        case Thinking(text, signature):
            return [{"text": text, "thought": True} | _signed(signature)] if text else []
        case ToolResult():
            # It answers a call this conversation does not hold (any more): what it says is kept, as text.
            return [piece for said in _orphan(part) for piece in _part(said)]
        case _:
            assert_never(part)


def _orphan(result: ToolResult) -> tuple[Media, ...]:
    if result.structured is None:
        return result.content
    return (Text(msgspec.json.encode(result.structured).decode()),)


def _inline(mime: str, data: Base64) -> _Object:
    return {"inlineData": {"mimeType": mime, "data": data}}


def _signed(signature: str | None) -> _Object:
    own = of_google(signature)
    return {} if own is None else {"thoughtSignature": own}


# ------------------------------------------------------------------------------------------------------------ tools


def _tools(tools: Sequence[Tool], names: ToolNames, clean: _Clean) -> list[_Object]:
    declares = any(isinstance(tool, FunctionTool) for tool in tools)
    functions: list[_Object] = []
    native: list[_Object] = []
    for tool in tools:
        if isinstance(tool, NativeTool):
            # Most of Gemini's models refuse its own tools beside functions.
            if not (tool.optional and declares):
                native.append({_NATIVE[tool.kind]: tool.settings})
        else:
            functions.append(_declaration(tool, names, clean))
    return [{"functionDeclarations": functions}, *native] if functions else native


def _declaration(tool: FunctionTool, names: ToolNames, clean: _Clean) -> _Object:
    out: _Object = {"name": names.outward(tool.name)}
    if tool.description:
        out["description"] = tool.description
    out["parametersJsonSchema"] = clean(tool.parameters)
    return out


def _tool_config(request: Request, names: ToolNames) -> _Object:
    choice = request.tool_choice
    if choice is None or not any(isinstance(tool, FunctionTool) for tool in request.tools):
        return {}
    config: _Object = {"mode": _mode(choice)}
    if choice.names:
        config["allowedFunctionNames"] = [names.outward(name) for name in choice.names]
    return {"functionCallingConfig": config}


def _mode(choice: ToolChoice) -> str:
    match choice.mode:
        case ToolMode.NONE:
            return "NONE"
        case ToolMode.REQUIRED:
            return "ANY"
        case ToolMode.AUTO:
            # AUTO takes no list of names; VALIDATED leaves the same freedom and takes one.
            return "VALIDATED" if choice.names else "AUTO"
        case _:
            assert_never(choice.mode)


# --------------------------------------------------------------------------------------------------------- settings


def _generation(request: Request, model: GeminiModel, given: object) -> _Object:
    config = _sampling(request.sampling, model.max_output)
    if isinstance(given, dict):
        config = {**given, **config}
    if request.output is not None:
        config["responseMimeType"] = "application/json"
        if request.output.schema is not None:
            config["responseJsonSchema"] = request.output.schema
    thinking = _thinking(request.reasoning, model)
    if thinking:
        config["thinkingConfig"] = thinking
    return config if request.image == _ANY_IMAGE else config | _image(request.image)


def _image(asked: ImageOptions) -> _Object:
    shape = _given({"aspectRatio": asked.aspect_ratio, "imageSize": asked.size})
    words = [word.upper() for word in asked.modalities]
    return ({"responseModalities": words} if words else {}) | ({"imageConfig": shape} if shape else {})


def _sampling(sampling: Sampling, most: int | None) -> _Object:
    limit = sampling.max_tokens
    values = {
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topK": sampling.top_k,
        "maxOutputTokens": limit if limit is None or most is None else min(limit, most),
        "stopSequences": sampling.stop or None,
        "seed": sampling.seed,
        "presencePenalty": sampling.presence_penalty,
        "frequencyPenalty": sampling.frequency_penalty,
        "responseLogprobs": sampling.logprobs,
        "logprobs": sampling.top_logprobs if sampling.logprobs else None,
        "candidateCount": sampling.n if sampling.n > 1 else None,
    }
    return _given(values)


def _given(values: Mapping[str, object]) -> _Object:
    return {key: value for key, value in values.items() if value is not None}


def _thinking(wish: Reasoning | None, model: GeminiModel) -> _Object:
    fitted = fit(wish, model.thinking) if wish else None
    if wish is None or fitted is None:
        return {}
    off = wish.effort is Effort.NONE  # also where the model cannot be told to stop
    visible = not off if wish.visible is None else wish.visible
    if fitted.level is not None:
        return {"thinkingLevel": fitted.level.value, "includeThoughts": visible}
    return {"thinkingBudget": fitted.budget, "includeThoughts": visible}
