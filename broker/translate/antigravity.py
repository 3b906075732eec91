"""Antigravity's envelope around Gemini requests: Code Assist's, with fields of its own.

Owns: `{project, model, userAgent, requestType, requestId, request}` and what Antigravity wants otherwise inside `request`: a `sessionId`, no safety settings,
no limit of output but for Claude's models, function calls in the mode VALIDATED with those, and schemas of functions as `parameters`, in the part of JSON
Schema that Google takes. It must never re-encode anything else inside. Answers, errors and counts are Code Assist's.

Claude's models check the signatures of thoughts: in a translated conversation an unsigned thought is left out, and no call is signed with what stands for a
lost signature with Gemini's.

Facts from CLIProxyAPI; Google documents none of it.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from broker.translate import codeassist, gemini_request
from broker.translate.blob import written
from broker.translate.codeassist import CodeAssist
from broker.translate.digests import number_of, uuid_of
from broker.translate.exchange import Encoded, Target
from broker.translate.fields import read
from broker.translate.ir import Request
from broker.translate.schema_memory import KNOWN

_Members = dict[str, msgspec.Raw]

_MEMBERS: Final = msgspec.json.Decoder(_Members)
_TOOLS: Final = msgspec.json.Decoder(list[_Members])
_SCHEMA: Final = msgspec.json.Decoder(dict[str, object])
_TEXT: Final = msgspec.json.Decoder(str)
_CONTENTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_SESSION: Final = re.compile(r"-?\d{1,19}", re.ASCII)
_NOTHING: Final = msgspec.Raw(b"")
_VALIDATED: Final = msgspec.Raw(b'"VALIDATED"')

# Google's JSON takes both spellings of a name.
_SAFETY: Final = ("safetySettings", "safety_settings")
_SESSIONS: Final = ("sessionId", "session_id")
_GENERATION: Final = ("generationConfig", "generation_config")
_LIMITS: Final = ("maxOutputTokens", "max_output_tokens")
_TOOL_CONFIG: Final = ("toolConfig", "tool_config")
_CALLING: Final = ("functionCallingConfig", "function_calling_config")
_DECLARATIONS: Final = frozenset({"functionDeclarations", "function_declarations"})
_SCHEMAS: Final = ("parametersJsonSchema", "parameters_json_schema")
_SEARCHES: Final = frozenset({"googleSearch", "google_search"})


class Antigravity(CodeAssist):
    """See `codecs.UpstreamCodec`."""

    __slots__ = ()

    def encode_request(self, request: Request, target: Target) -> Encoded:
        """Write the enveloped body of generateContent or streamGenerateContent."""
        inner, names = gemini_request.build(request, target, KNOWN.cleaned)
        if _is_claude(target.model):
            inner["contents"] = _signed_only(inner["contents"])
        if request.session is not None:
            inner["sessionId"] = request.session
        return Encoded(wrap_request(written(inner), target), names)


def wrap_request(body: bytes, target: Target) -> bytes:
    """Put a generateContent body into the envelope.

    Raises:
        BrokerError: `bad_request` where it, or one of the objects in it that must be changed, is no JSON object.
    """
    inner = read(_MEMBERS, body)
    session = _session(inner)
    for name in (*_SAFETY, *_SESSIONS):
        inner.pop(name, None)
    _declare(inner)
    if _is_claude(target.model):
        _validate(inner)
    else:
        _unlimit(inner)
    inner["sessionId"] = msgspec.Raw(msgspec.json.encode(session))
    head = {
        **({"project": target.project} if target.project is not None else {}),
        "model": target.model,
        "userAgent": "antigravity",
        "requestType": _kind(inner, target.model),
        "requestId": f"agent-{uuid_of(target.prompt_id or '')}",
    }
    return b"".join((msgspec.json.encode(head)[:-1], b',"request":', *_joined(inner), b"}"))


def _joined(members: _Members) -> Iterator[bytes | msgspec.Raw]:
    """Yield the pieces of an object: an encoder would write the longest of them into room it makes for half as much again."""
    before = b"{"
    for name, value in members.items():
        yield before + msgspec.json.encode(name) + b":"
        yield value
        before = b","
    yield b"}"


wrap_count_tokens = codeassist.wrap_count_tokens


def _session(inner: _Members) -> str:
    """Return the id of a conversation: the client's where it has the shape, else one of the client's, else one of what was said first."""
    given = next((inner[name] for name in _SESSIONS if name in inner), None)
    if given is not None and bytes(given)[:1] == b'"':
        text = read(_TEXT, bytes(given))
        return text if _SESSION.fullmatch(text) else f"-{number_of(text)}"
    contents = inner.get("contents", _NOTHING)
    said = read(_CONTENTS, contents) if bytes(memoryview(contents)[:1]) == b"[" else []
    return f"-{number_of(memoryview(said[0] if said else b''))}"


def _unlimit(inner: _Members) -> None:
    for name in _GENERATION:
        if bytes(inner.get(name, b""))[:1] == b"{":
            config = read(_MEMBERS, bytes(inner[name]))
            inner[name] = _raw({key: value for key, value in config.items() if key not in _LIMITS})


def _validate(inner: _Members) -> None:
    """Have Claude's calls checked against their schemas, unless the client forbids calls or has no functions."""
    if not _declares(_tools(inner)):
        return
    outer = _object(inner, _TOOL_CONFIG)
    calling = _object(outer, _CALLING)
    if bytes(calling.get("mode", b"")).upper() == b'"NONE"':
        return
    calling["mode"] = _VALIDATED
    for name in _TOOL_CONFIG:
        inner.pop(name, None)
    for name in _CALLING:
        outer.pop(name, None)
    outer["functionCallingConfig"] = _raw(calling)
    inner["toolConfig"] = _raw(outer)


def _declare(inner: _Members) -> None:
    """Put the schemas of functions where CLIProxyAPI puts them."""
    tools, changed = _tools(inner), False
    for tool in tools:
        for name in _DECLARATIONS & tool.keys():
            declarations = read(_TOOLS, bytes(tool[name]))
            for each in declarations:
                schema = next((each.pop(key) for key in _SCHEMAS if key in each), None)
                if schema is not None and "parameters" not in each:
                    each["parameters"] = KNOWN.cleaned(read(_SCHEMA, bytes(schema)))
                changed = changed or schema is not None
            tool[name] = msgspec.Raw(msgspec.json.encode(declarations))
    if changed:
        inner["tools"] = msgspec.Raw(msgspec.json.encode(tools))


def _signed_only(contents: object) -> list[object]:
    """Return a conversation as Claude's models take it: without thoughts and calls that nobody signed with a signature of their own."""
    assert isinstance(contents, list)
    turns = [{**turn, "parts": [_honest(part) for part in turn["parts"] if not _unsigned(part)]} for turn in contents]
    return [turn for turn in turns if turn["parts"]]


def _unsigned(part: dict[str, object]) -> bool:
    return part.get("thought") is True and part.get("thoughtSignature") in (None, gemini_request.UNSIGNED)


def _honest(part: dict[str, object]) -> dict[str, object]:
    lost = part.get("thoughtSignature") == gemini_request.UNSIGNED
    return {key: value for key, value in part.items() if key != "thoughtSignature"} if lost else part


def _is_claude(model: str) -> bool:
    return "claude" in model


def _kind(inner: _Members, model: str) -> str:
    if "image" in model:
        return "image_gen"
    tools = _tools(inner)
    searches = any(_SEARCHES & tool.keys() for tool in tools)
    return "web_search" if searches and not _declares(tools) else "agent"


def _tools(inner: _Members) -> list[_Members]:
    return read(_TOOLS, bytes(inner["tools"])) if bytes(inner.get("tools", b""))[:1] == b"[" else []


def _declares(tools: list[_Members]) -> bool:
    return any(_DECLARATIONS & tool.keys() for tool in tools)


def _object(members: _Members, names: tuple[str, ...]) -> _Members:
    found = next((members[name] for name in names if name in members), None)
    return read(_MEMBERS, bytes(found)) if found is not None and bytes(found)[:1] == b"{" else {}


def _raw(members: _Members) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(members))
