"""What the upstream says: a deterministic function of the request.

Owns: the answers (echo, thoughts, calls, images, refusals), how they are cut into chunks, and the usage figures. It must never wait
or write: `stream` paces and sends.

A streamed answer, folded, equals the whole one.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from broker.sandbox.gemini_request import (
    TOKENS_PER_CALL,
    FunctionDeclaration,
    FunctionResponse,
    GenerateRequest,
    Part,
    call_signature,
    count_tokens,
    text_signature,
)
from broker.sandbox.png import dimensions, draw
from broker.sandbox.rpc import invalid

JsonObject = dict[str, object]

_DIRECTIVE = re.compile(r"\[\[([^\[\]]*)\]\]")
_CALL = re.compile(r"\bcall\s+([A-Za-z_][A-Za-z0-9_.:-]*)")
_DEFAULT_CHUNKS = 4
_TOKENS_PER_IMAGE_OUT = 1290  # what Gemini counts for an image it makes
_MAX_STREAM_BYTES = 256 * 1024 * 1024
_MAX_IMAGE_BYTES = 64 * 1024 * 1024


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a directive in the prompt asks for, like `[[chunks=50 delay=0.05]]`.

    `chunks` pieces of text of at least `size` bytes, `delay` seconds before each; `images` how many, each of at least `image_bytes`;
    `finish` the finish reason.
    """

    chunks: int | None = None
    delay: float = 0.0
    size: int = 0
    images: int = 1
    image_bytes: int = 0
    finish: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """An answer before it is cut into messages: the parts of each chunk, and how it ends.

    `blocked` is the reason a prompt was refused for; then there are no parts.
    """

    steps: tuple[tuple[JsonObject, ...], ...]
    finish: str
    delay: float
    prompt_tokens: int
    candidates: int
    model: str
    blocked: str | None = None


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens sent so far, in one candidate: of the answer and of thoughts."""

    spoken: int = 0
    thought: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.spoken + other.spoken, self.thought + other.thought)


def plan(request: GenerateRequest, model: str) -> Plan:
    """Decide what to answer.

    Raises:
        RpcError: 400 for a directive that cannot be read.
    """
    last = request.contents[-1]
    prompt, pace = read_directive(_text(last.parts))
    steps, finish = _steps(request, model, prompt, pace)
    blocked = "SAFETY" if re.search(r"\bblocked\b", prompt) else None
    return Plan(
        steps=() if blocked else steps,
        finish=pace.finish or finish,
        delay=pace.delay,
        prompt_tokens=count_tokens(request.contents, request.system_instruction),
        candidates=request.generation_config.candidate_count,
        model=model,
        blocked=blocked,
    )


def whole(answer: Plan, response_id: str) -> JsonObject:
    """Return the answer as one message."""
    if answer.blocked:
        return _refusal(answer, response_id)
    parts = [part for step in answer.steps for part in step]
    return _message(answer, response_id, _folded(parts), answer.finish, _tokens_out(parts))


def chunks(answer: Plan, response_id: str) -> Iterator[JsonObject]:
    """Return the answer as the messages of a stream, usage figures growing; only the last one says how it ended."""
    if answer.blocked:
        yield _refusal(answer, response_id)
        return
    sent = Spent()
    steps = answer.steps or ((),)
    for number, step in enumerate(steps, 1):
        sent += _tokens_out(step)
        finish = answer.finish if number == len(steps) else None
        yield _message(answer, response_id, list(step), finish, sent)


def read_directive(text: str) -> tuple[str, Pace]:
    """Return the prompt without its directive, and the directive.

    Raises:
        RpcError: 400 for an unknown name or a value out of range.
    """
    found = _DIRECTIVE.search(text)
    if found is None:
        return text.strip(), Pace()
    pairs = dict(pair.partition("=")[::2] for pair in found[1].split())
    try:
        pace = msgspec.convert(pairs, Pace, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"sandbox directive: {error}") from None
    pieces = 1 if pace.chunks is None else pace.chunks
    fits = pieces >= 1 and pace.size >= 0 and pieces * (pace.size + 16) <= _MAX_STREAM_BYTES
    if not (fits and 0 <= pace.delay <= 60 and 0 <= pace.images <= 8 and 0 <= pace.image_bytes <= _MAX_IMAGE_BYTES):
        raise invalid("sandbox directive: a value is out of range")
    return _DIRECTIVE.sub("", text).strip(), pace


def sample(schema: Mapping[str, object], hint: str = "example") -> object:
    """Return a value that fits a JSON schema: the first enum value, else one made from the type; objects get their required members."""
    values = schema.get("enum")
    if isinstance(values, list) and values:
        return values[0]
    kind = schema.get("type")
    name = str(kind[0] if isinstance(kind, list) and kind else kind).lower()
    properties = schema.get("properties")
    if name == "object" or isinstance(properties, dict):
        return _sample_object(schema, properties if isinstance(properties, dict) else {}, hint)
    if name == "array":
        items = schema.get("items")
        return [sample(items, hint)] if isinstance(items, dict) else []
    scalars: dict[str, object] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}
    return scalars.get(name, hint)


def _sample_object(schema: Mapping[str, object], properties: Mapping[str, object], hint: str) -> JsonObject:
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    members = {str(name): properties.get(str(name)) for name in names}
    return {name: sample(inner if isinstance(inner, dict) else {}, hint) for name, inner in members.items()}


def _steps(
    request: GenerateRequest, model: str, prompt: str, pace: Pace
) -> tuple[tuple[tuple[JsonObject, ...], ...], str]:
    thoughts = _thoughts(request, model, prompt)
    calls = _calls(request, prompt)
    if calls:
        return (*thoughts, tuple(calls)), "STOP"
    if _wants_image(request, model):
        if "unsafe image" in prompt:
            return thoughts, "IMAGE_SAFETY"
        return (*thoughts, *_images(request, model, prompt, pace)), "STOP"
    pieces, finish = _limited(_pieces(_words(request, prompt), pace), request)
    text_steps: tuple[tuple[JsonObject, ...], ...] = tuple(({"text": piece},) for piece in pieces)
    if thoughts and model.startswith("gemini-3"):
        # Gemini 3 may send the signature of its thinking alone, on an empty text part after the answer.
        text_steps = (*text_steps, ({"text": "", "thoughtSignature": text_signature(prompt)},))
    return (*thoughts, *text_steps), finish


def _thoughts(request: GenerateRequest, model: str, prompt: str) -> tuple[tuple[JsonObject, ...], ...]:
    if not request.generation_config.thinking_config.include_thoughts:
        return ()
    steps: list[tuple[JsonObject, ...]] = [({"text": f"Thinking about: {prompt[:200]}", "thought": True},)]
    if _wants_image(request, model) and model.startswith("gemini-3"):
        draft = draw("draft " + prompt, *dimensions(request.generation_config.image_config.aspect_ratio, None))
        steps.append(({"inlineData": {"mimeType": "image/png", "data": draft}, "thought": True},))
    return tuple(steps)


def _calls(request: GenerateRequest, prompt: str) -> list[JsonObject]:
    declared = request.declarations()
    config = request.tool_config.function_calling_config
    allowed = [name for name in declared if name in config.allowed_function_names or not config.allowed_function_names]
    if config.mode == "NONE" or _results(request):
        return []
    found = ((match[1].rstrip(".:-"), prompt[match.end() :]) for match in _CALL.finditer(prompt))
    wanted = [(name, rest) for name, rest in found if name in allowed]
    if not wanted and config.mode == "ANY":
        wanted = [(allowed[0], "")]
    calls = [_call(declared[name], rest) for name, rest in wanted]
    for part in calls[:1]:  # of parallel calls only the first carries the signature
        part["thoughtSignature"] = _signature_of(part)
    return calls


def _call(declaration: FunctionDeclaration, rest: str) -> JsonObject:
    spelled = _spelled_out(rest)
    args = sample({"type": "object", **declaration.schema()}) if spelled is None else spelled
    return {"functionCall": {"name": declaration.name, "args": args}}


def _signature_of(part: Mapping[str, object]) -> str:
    call = part["functionCall"]
    assert isinstance(call, dict)
    return call_signature(call["name"], call["args"])


def _spelled_out(rest: str) -> JsonObject | None:
    # `call NAME {"a": 1}`: arguments the prompt spells out itself.
    try:
        args, _ = json.JSONDecoder().raw_decode(rest.lstrip())
    except ValueError:
        return None
    return args if isinstance(args, dict) else None


def _wants_image(request: GenerateRequest, model: str) -> bool:
    if "image" not in model or "text only" in _text(request.contents[-1].parts):
        return False
    modalities = request.generation_config.response_modalities
    return modalities is None or "IMAGE" in {name.upper() for name in modalities}


def _images(request: GenerateRequest, model: str, prompt: str, pace: Pace) -> list[tuple[JsonObject, ...]]:
    config = request.generation_config
    modalities = {name.upper() for name in config.response_modalities or ("TEXT", "IMAGE")}
    steps: list[tuple[JsonObject, ...]] = []
    if "TEXT" in modalities:
        steps.append(({"text": f"Here is: {prompt}"},))
    width, height = dimensions(config.image_config.aspect_ratio, config.image_config.image_size)
    for number in range(pace.images):
        data = draw(f"{number} {prompt}", width, height, pace.image_bytes)
        part: JsonObject = {"inlineData": {"mimeType": "image/png", "data": data}}
        if model.startswith("gemini-3"):
            part["thoughtSignature"] = text_signature(prompt)
        steps.append((part,))
    return steps


def _words(request: GenerateRequest, prompt: str) -> str:
    config = request.generation_config
    if config.response_mime_type == "application/json":
        schema = config.response_schema or config.response_json_schema or config.response_json_schema_
        value = sample(schema, prompt) if isinstance(schema, dict) else {"echo": prompt, "words": len(prompt.split())}
        return msgspec.json.encode(value).decode()
    seen = [f"[{b.mime_type} {len(b.data)} bytes]" for p in request.contents[-1].parts if (b := p.inline_data)]
    if results := _results(request):
        told = [f"Result of {r.name}: {msgspec.json.encode(r.response).decode()}" for r in results]
        return " ".join([*told, *seen])
    return " ".join([f"Echo: {prompt}", *seen, f"({len(prompt.split())} words)"])


def _results(request: GenerateRequest) -> list[FunctionResponse]:
    return [part.function_response for part in request.contents[-1].parts if part.function_response is not None]


def _pieces(text: str, pace: Pace) -> list[str]:
    if pace.chunks is None and not pace.size:
        pieces = re.findall(r"\S+\s*", text)  # whole words: then the pieces' tokens add up to the text's
        step = max(1, -(-len(pieces) // _DEFAULT_CHUNKS))
        return ["".join(pieces[i : i + step]) for i in range(0, len(pieces), step)]
    # Numbered, so that a lost, doubled or swapped chunk shows.
    words = text.split()
    return [
        f"{number}:{words[(number - 1) % len(words)]} ".rjust(pace.size, ".")
        for number in range(1, (pace.chunks or 1) + 1)
    ]


def _limited(pieces: list[str], request: GenerateRequest) -> tuple[list[str], str]:
    config = request.generation_config
    text = "".join(pieces)
    stops = [at for stop in config.stop_sequences if stop and (at := text.find(stop)) >= 0]
    end, finish = min(stops, default=len(text)), "STOP"
    if config.max_output_tokens is not None:
        words = [found.end() for found in re.finditer(r"\S+", text[:end])]
        if len(words) > config.max_output_tokens:
            end, finish = words[config.max_output_tokens - 1], "MAX_TOKENS"
    kept: list[str] = []
    for piece in pieces:
        if end <= 0:
            break
        kept.append(piece[:end])
        end -= len(piece)
    return kept, finish


def _message(answer: Plan, response_id: str, parts: list[JsonObject], finish: str | None, spent: Spent) -> JsonObject:
    content: JsonObject = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    ending: JsonObject = {} if finish is None else {"finishReason": finish}
    return {
        "candidates": [{"content": content, **ending, "index": i} for i in range(answer.candidates)],
        "usageMetadata": _usage(answer, spent),
        "modelVersion": answer.model,
        "responseId": response_id,
    }


def _refusal(answer: Plan, response_id: str) -> JsonObject:
    return {
        "promptFeedback": {"blockReason": answer.blocked},
        "usageMetadata": {"promptTokenCount": answer.prompt_tokens, "totalTokenCount": answer.prompt_tokens},
        "modelVersion": answer.model,
        "responseId": response_id,
    }


def _usage(answer: Plan, spent: Spent) -> JsonObject:
    spoken, thought = answer.candidates * spent.spoken, answer.candidates * spent.thought
    usage: JsonObject = {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": spoken,
        "totalTokenCount": answer.prompt_tokens + spoken + thought,
    }
    if thought:
        usage["thoughtsTokenCount"] = thought
    return usage


def _tokens_out(parts: Sequence[Mapping[str, object]]) -> Spent:
    spent = Spent()
    for part in parts:
        count = len(str(part.get("text", "")).split())
        count += _TOKENS_PER_IMAGE_OUT * ("inlineData" in part) + TOKENS_PER_CALL * ("functionCall" in part)
        spent += Spent(0, count) if part.get("thought") else Spent(count, 0)
    return spent


def _folded(parts: list[JsonObject]) -> list[JsonObject]:
    # Neighbouring pieces of text become one part, as the service gives them in a whole answer.
    folded: list[JsonObject] = []
    for part in parts:
        if folded and set(part) == set(folded[-1]) <= {"text", "thought"} and "text" in part:
            folded[-1] = {**folded[-1], "text": f"{folded[-1]['text']}{part['text']}"}
        else:
            folded.append(part)
    return folded


def _text(parts: Sequence[Part]) -> str:
    return "\n".join(part.text for part in parts if part.text is not None and not part.thought)
