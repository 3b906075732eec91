"""The request format of generateContent, read as strictly as the real service reads it.

Owns: field names and types, and the rules about turns, tools and signatures whose breach the service answers with 400. It must never
answer. Source: the public Gemini API reference (v1beta), and its guides on function calling and thought signatures.

Being strict is the point: a proxy that sends a field the service does not know, or a tool result in the wrong place, fails
here and not at the user's.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from broker.sandbox.rpc import RpcError, invalid

_S = TypeVar("_S", bound=msgspec.Struct)
_SIGNATURE_HEAD = b"sandbox-signature:"
# The values Google documents for histories that were not made by a Gemini 3 model.
_SIGNATURE_SENTINELS = frozenset({"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"})
_FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}\Z")
# Their content is the user's: names in there are not ours to judge or to rewrite.
_FREE_FORM = frozenset(
    {
        "args",
        "labels",
        "parameters",
        "parametersJsonSchema",
        "partMetadata",
        "response",
        "responseJsonSchema",
        "responseSchema",
        "_responseJsonSchema",
    }
)
_SCHEMA_FIELDS = frozenset(
    {
        "anyOf", "default", "description", "enum", "example", "format", "items", "maxItems", "maxLength", "maxProperties",
        "maximum", "minItems", "minLength", "minProperties", "minimum", "nullable", "pattern", "properties",
        "propertyOrdering", "required", "title", "type",
    }
)  # fmt: skip
TOKENS_PER_IMAGE_IN = 258
TOKENS_PER_CALL = 10
ASPECT_RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class Blob(_Wire, frozen=True):
    """Inline bytes; base64 on the wire."""

    mime_type: str
    data: bytes
    display_name: str | None = None


class FunctionCall(_Wire, frozen=True):
    """A call the model made."""

    name: str
    args: dict[str, object] = {}
    id: str | None = None


class FunctionResponse(_Wire, frozen=True):
    """What a call came to."""

    name: str
    response: dict[str, object]
    id: str | None = None
    parts: list[object] | None = None
    will_continue: bool | None = None
    scheduling: str | None = None


class Part(_Wire, frozen=True):
    """One piece of a turn: exactly one kind of data."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: dict[str, object] | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: dict[str, object] | None = None
    code_execution_result: dict[str, object] | None = None
    thought: bool = False
    thought_signature: str | None = None
    video_metadata: dict[str, object] | None = None
    media_resolution: object = None
    part_metadata: dict[str, object] | None = None

    def kinds(self) -> int:
        """Return how many kinds of data are set."""
        data = (
            self.text,
            self.inline_data,
            self.file_data,
            self.function_call,
            self.function_response,
            self.executable_code,
            self.code_execution_result,
        )
        return sum(value is not None for value in data)


class Content(_Wire, frozen=True):
    """One turn."""

    parts: list[Part] = []
    role: Literal["user", "model", "function", "system"] | None = None


class FunctionDeclaration(_Wire, frozen=True):
    """A function the model may call."""

    name: str
    description: str = ""
    parameters: dict[str, object] | None = None
    parameters_json_schema: dict[str, object] | None = None
    response: dict[str, object] | None = None
    response_json_schema: object = None
    behavior: str | None = None

    def schema(self) -> Mapping[str, object]:
        """Return the schema of the arguments, whichever field it came in."""
        return self.parameters or self.parameters_json_schema or {}


class Tool(_Wire, frozen=True):
    """Functions, or one of the service's own tools."""

    function_declarations: list[FunctionDeclaration] = []
    google_search: dict[str, object] | None = None
    google_search_retrieval: dict[str, object] | None = None
    google_maps: dict[str, object] | None = None
    code_execution: dict[str, object] | None = None
    url_context: dict[str, object] | None = None
    computer_use: dict[str, object] | None = None
    file_search: dict[str, object] | None = None


class FunctionCallingConfig(_Wire, frozen=True):
    """Whether functions are called."""

    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: list[str] = []


class ToolConfig(_Wire, frozen=True):
    """How tools are used."""

    function_calling_config: FunctionCallingConfig = FunctionCallingConfig()
    retrieval_config: dict[str, object] | None = None


class SafetySetting(_Wire, frozen=True):
    """A threshold of one category."""

    category: str
    threshold: str
    method: str | None = None


class ThinkingConfig(_Wire, frozen=True):
    """How much is thought, and whether it is shown."""

    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: str | None = None


class ImageConfig(_Wire, frozen=True):
    """The shape of the image asked for."""

    aspect_ratio: str | None = None
    image_size: str | None = None


class GenerationConfig(_Wire, frozen=True):
    """Everything about the answer."""

    stop_sequences: Annotated[list[str], msgspec.Meta(max_length=5)] = []
    response_mime_type: str | None = None
    response_schema: dict[str, object] | None = None
    response_json_schema: object = None
    response_json_schema_: object = msgspec.field(default=None, name="_responseJsonSchema")
    response_modalities: list[str] | None = None
    candidate_count: Annotated[int, msgspec.Meta(ge=1, le=8)] = 1
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    top_k: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: int | None = None
    enable_enhanced_civic_answers: bool | None = None
    audio_timestamp: bool | None = None
    media_resolution: str | None = None
    speech_config: dict[str, object] | None = None
    thinking_config: ThinkingConfig = ThinkingConfig()
    image_config: ImageConfig = ImageConfig()


class GenerateRequest(_Wire, frozen=True):
    """The body of generateContent. The last two fields are Code Assist's."""

    contents: list[Content] = []
    tools: list[Tool] = []
    tool_config: ToolConfig = ToolConfig()
    safety_settings: list[SafetySetting] = []
    system_instruction: Content | None = None
    generation_config: GenerationConfig = GenerationConfig()
    cached_content: str | None = None
    model: str | None = None
    session_id: str | None = None
    labels: dict[str, str] = {}

    def declarations(self) -> dict[str, FunctionDeclaration]:
        """Return the declared functions by name."""
        return {d.name: d for tool in self.tools for d in tool.function_declarations}


class CountRequest(_Wire, frozen=True):
    """The body of countTokens."""

    contents: list[Content] = []
    generate_content_request: GenerateRequest | None = None
    model: str | None = None


def read_generate(body: object, model: str, *, enveloped: bool = False) -> GenerateRequest:
    """Read and check a request; `enveloped` where it came inside Code Assist's envelope, which allows a session id.

    Raises:
        RpcError: 400 with the place and the fault.
    """
    request = convert(body, GenerateRequest)
    if request.session_id is not None and not enveloped:
        raise invalid('Invalid JSON payload received. Unknown name "session_id": Cannot find field.')
    _check_turns(request.contents)
    _check_tools(request)
    _check_generation(request.generation_config, model)
    if model.startswith("gemini-3"):
        _check_signatures(request.contents)
    return request


def read_count(body: object) -> int:
    """Read a countTokens body; return the count.

    Raises:
        RpcError: 400 with the place and the fault.
    """
    request = convert(body, CountRequest)
    inner = request.generate_content_request
    contents = request.contents if inner is None else inner.contents
    _check_turns(contents)
    return count_tokens(contents, None if inner is None else inner.system_instruction)


def count_tokens(contents: Sequence[Content], system: Content | None = None) -> int:
    """Count as the sandbox does: a word is a token, an inline image 258 (as Gemini counts a small one), a call or its result 10."""
    turns = [*contents, system] if system is not None else list(contents)
    return sum(_tokens_in(part) for turn in turns for part in turn.parts)


def convert(body: object, kind: type[_S]) -> _S:
    """Read one message as proto3 JSON is read: camelCase and snake_case names, null for absent.

    Raises:
        RpcError: 400.
    """
    try:
        return msgspec.convert(_normal(body), kind)
    except msgspec.ValidationError as error:
        raise invalid(f"Invalid JSON payload received. {error}") from None


def call_signature(name: str, args: Mapping[str, object]) -> str:
    """Return the thought signature that goes with a call; the same call has the same one."""
    text = msgspec.json.encode([name, dict(args)], order="deterministic")
    return base64.b64encode(_SIGNATURE_HEAD + hashlib.sha256(text).digest()[:12]).decode()


def text_signature(text: str) -> str:
    """Return the thought signature that goes with an answer in words."""
    return base64.b64encode(_SIGNATURE_HEAD + hashlib.sha256(text.encode()).digest()[:12]).decode()


def _tokens_in(part: Part) -> int:
    if part.text is not None:
        return len(part.text.split())
    return TOKENS_PER_IMAGE_IN if part.inline_data is not None else TOKENS_PER_CALL


def _normal(value: object, name: str = "") -> object:
    if isinstance(value, dict) and name not in _FREE_FORM:
        named = ((_camel(str(k)), v) for k, v in value.items())
        return {k: _normal(v, k) for k, v in named if v is not None}
    if isinstance(value, list) and name not in _FREE_FORM:
        return [_normal(item, name) for item in value]
    return value


def _camel(name: str) -> str:
    head, *rest = name.lstrip("_").split("_")
    return "_" * (len(name) - len(name.lstrip("_"))) + head + "".join(word[:1].upper() + word[1:] for word in rest)


def _check_turns(contents: list[Content]) -> None:
    if not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified")
    before = 0
    for index, content in enumerate(contents):
        _check_parts(content, index)
        answers = sum(part.function_response is not None for part in content.parts)
        if answers and not before:
            raise invalid("Please ensure that function response turn comes immediately after a function call turn.")
        if answers != before:
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function call parts "
                "of the function call turn."
            )
        before = sum(part.function_call is not None for part in content.parts)
        if before and content.role != "model":
            raise invalid(f"contents[{index}]: a function call must be in a model turn.")
    if before:
        raise invalid("Please ensure that function call turn is followed by a function response turn.")


def _check_parts(content: Content, index: int) -> None:
    if content.role == "system":
        raise invalid("Please use a valid role: user, model.")
    if not content.parts:
        raise invalid(f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.")
    for number, part in enumerate(content.parts):
        if part.kinds() != 1:
            place = f"contents[{index}].parts[{number}]"
            raise invalid(
                f"* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field"
            )


def _check_tools(request: GenerateRequest) -> None:
    names = [d.name for tool in request.tools for d in tool.function_declarations]
    if len(set(names)) != len(names):
        raise invalid("Duplicate function declaration found.")
    for declaration in request.declarations().values():
        if not _FUNCTION_NAME.match(declaration.name):
            raise invalid("Invalid function name. Must start with a letter or an underscore, at most 64 characters.")
        if declaration.parameters is not None and declaration.parameters_json_schema is not None:
            raise invalid("Only one of parameters and parametersJsonSchema may be set.")
        if declaration.parameters is not None:
            _check_schema(declaration.parameters, declaration.name)
    config = request.tool_config.function_calling_config
    if config.allowed_function_names and config.mode not in {"ANY", "VALIDATED"}:
        raise invalid("Allowed function names should be set only when function calling mode is ANY.")
    if unknown := set(config.allowed_function_names) - set(names):
        raise invalid(f"Allowed function names are not declared: {', '.join(sorted(unknown))}")
    if config.mode == "ANY" and not names:
        raise invalid("Function calling config is set without function_declarations.")


def _check_schema(schema: Mapping[str, object], place: str) -> None:
    # `parameters` is a message of its own with a fixed set of fields, unlike `parametersJsonSchema`.
    if unknown := {_camel(name) for name in schema} - _SCHEMA_FIELDS:
        raise invalid(
            f"Invalid JSON payload received. Unknown name \"{min(unknown)}\" at '{place}': Cannot find field."
        )
    properties = schema.get("properties")
    inner = dict(properties) if isinstance(properties, dict) else {}
    for name in ("items", "anyOf"):
        found = schema.get(name)
        inner |= {f"{name}[{i}]": s for i, s in enumerate(found if isinstance(found, list) else [found])}
    for name, value in inner.items():
        if isinstance(value, dict):
            _check_schema(value, f"{place}.{name}")
    required = schema.get("required")
    if isinstance(required, list):
        missing = [name for name in required if name not in (properties if isinstance(properties, dict) else {})]
        if missing:
            raise invalid(f"{place}.required: property is not defined: {missing[0]}")


def _check_generation(config: GenerationConfig, model: str) -> None:
    image_model = "image" in model
    modalities = {name.upper() for name in config.response_modalities or ()}
    if unknown := modalities - {"TEXT", "IMAGE", "AUDIO"}:
        raise invalid(f"Invalid value at 'generation_config.response_modalities': {min(unknown)}")
    if "AUDIO" in modalities or ("IMAGE" in modalities and not image_model):
        raise invalid(
            "Model does not support the requested response modalities: " + ",".join(sorted(modalities)).lower()
        )
    ratio, size = config.image_config.aspect_ratio, config.image_config.image_size
    if ratio is not None and ratio not in ASPECT_RATIOS:
        raise invalid(f"aspect_ratio must be one of {', '.join(ASPECT_RATIOS)}")
    if size is not None and size not in {"1K", "2K", "4K"}:
        raise invalid("image_size must be one of 1K, 2K, 4K")
    if (ratio or size) and not image_model:
        raise invalid("image_config is not supported by this model")
    _check_thinking(config.thinking_config, model)


def _check_thinking(config: ThinkingConfig, model: str) -> None:
    budget, level = config.thinking_budget, config.thinking_level
    if budget is not None and level is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if level is not None and not model.startswith("gemini-3"):
        raise invalid("Thinking level is not supported for this model.")
    if level is not None and level.lower() not in {"minimal", "low", "medium", "high"}:
        raise invalid(f"Invalid value at 'generation_config.thinking_config.thinking_level': {level}")
    if budget is None or budget == -1:
        return
    low, high = (128, 32768) if "pro" in model else (0, 24576)
    if not low <= budget <= high:
        raise invalid(f"The thinking budget {budget} is invalid. Please choose a value between {low} and {high}.")


def _check_signatures(contents: list[Content]) -> None:
    # Only the current turn is checked: from the last message of the user that is not a function result on.
    start = max((i for i, content in enumerate(contents) if _is_question(content)), default=0)
    for index, content in enumerate(contents[start:], start):
        first = next((p for p in content.parts if p.function_call is not None), None)
        if first is not None and first.function_call is not None:
            _check_signature(first.function_call, first.thought_signature, index)


def _check_signature(call: FunctionCall, signature: str | None, index: int) -> None:
    if not signature:
        raise invalid(
            f"Function call is missing a thought_signature in functionCall parts: {call.name}, position {index}."
        )
    if signature not in _SIGNATURE_SENTINELS and signature != call_signature(call.name, call.args):
        raise RpcError(400, "Corrupted thought signature.")


def _is_question(content: Content) -> bool:
    return content.role != "model" and any(part.function_response is None for part in content.parts)
