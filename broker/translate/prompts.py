"""A text of the user's before or after the instructions of a request, once.

Owns: where instructions stand in each client's dialect, and the same for a request that was understood. Every byte of a body that is not part of the place
stays as it is, marks of a prompt cache among them. A text that stands at its place already is not put there again, so that a request that passes two proxies
says it once.

Lines by which Claude Code says what it is stay first: Anthropic reads them there.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from broker.translate.codecs import Dialect
from broker.translate.fields import attempt, read
from broker.translate.ir import Request, Text, Value
from broker.translate.passage import inserted, is_list, is_object
from broker.translate.paths import found, put
from broker.translate.thinking import spelled

_SEPARATOR: Final = "\n\n"
_NULL: Final = b"null"
_ATTRIBUTION: Final = ("x-anthropic-", "You are Claude Code", "You are a Claude agent")
_INSTRUCTIONS: Final = ("system", "developer")
_COUNTED: Final = ("generateContentRequest", "generate_content_request")
_SYSTEM: Final = ("systemInstruction", "system_instruction")


class Prompt(Value, frozen=True):
    """What stands before and after the instructions; an empty text is none."""

    before: str = ""
    after: str = ""


class _Message(msgspec.Struct):
    role: object = None


class _Block(msgspec.Struct):
    text: object = None


_TEXT: Final = msgspec.json.Decoder(str)
_MESSAGES: Final = msgspec.json.Decoder(list[_Message])
_BLOCKS: Final = msgspec.json.Decoder(list[_Block])


def prompted(request: Request, prompt: Prompt) -> Request:
    """Return a request whose instructions have the texts."""
    system = request.system
    first = _attributions([part.text for part in system])
    if prompt.before and not (first < len(system) and _begins(system[first].text, prompt.before)):
        system = (*system[:first], Text(prompt.before), *system[first:])
    if prompt.after and not (system and _ends(system[-1].text, prompt.after)):
        system = (*system, Text(prompt.after))
    return msgspec.structs.replace(request, system=system)


def with_prompt(dialect: Dialect, body: bytes, prompt: Prompt, *, count: bool = False) -> bytes:
    """Return a body whose instructions have the texts. `count` is for a request that only counts tokens; of Gemini's, such may hold contents alone.

    Where instructions should stand and something else does, nothing is changed: the upstream will say what it is. Raises:
        BrokerError: `bad_request` where the body is no JSON object.
    """
    for text, after in ((prompt.before, False), (prompt.after, True)):
        if text:
            body = _with_text(dialect, body, text, after=after, count=count)
    return body


def _with_text(dialect: Dialect, body: bytes, text: str, *, after: bool, count: bool) -> bytes:
    match dialect:
        case Dialect.CLAUDE:
            return _claude(body, text, after=after)
        case Dialect.OPENAI_CHAT:
            return _chat(body, text, after=after)
        case Dialect.RESPONSES:
            return _at(body, ("instructions",), text, after=after)
        case _:
            return _gemini(body, text, after=after, count=count)


# --------------------------------------------------------------------------------------------------------- dialects


def _claude(body: bytes, text: str, *, after: bool) -> bytes:
    return _at(body, ("system",), text, after=after)


def _chat(body: bytes, text: str, *, after: bool) -> bytes:
    """Put it into the first of the messages that instruct, or the last of those before all others."""
    messages = found(body, ("messages",)) or b""
    listed = attempt(_MESSAGES, messages)
    if listed is None:
        return body
    roles = [message.role for message in listed]
    leading = next((place for place, role in enumerate(roles) if role not in _INSTRUCTIONS), len(roles))
    if leading:
        return _at(body, ("messages", str(leading - 1 if after else 0), "content"), text, after=after)
    message = msgspec.json.encode({"role": "system", "content": text})
    return put(body, ("messages",), inserted(messages, 0, message))


def _gemini(body: bytes, text: str, *, after: bool, count: bool) -> bytes:
    above: tuple[str, ...] = ()
    if count:
        above = spelled(body, (), _COUNTED)
        if found(body, above) is None:
            return body
    path = (*spelled(body, above, _SYSTEM), "parts")
    parts = found(body, path)
    if parts is None or parts == _NULL:
        return put(body, path, msgspec.json.encode([{"text": text}]))
    listed = b"[" + parts + b"]" if is_object(parts) else parts
    return put(body, path, _with_block(listed, {"text": text}, text, after=after))


# ------------------------------------------------------------------------------------------------------------ texts


def _at(body: bytes, path: tuple[str, ...], text: str, *, after: bool) -> bytes:
    """Put it where a text, or a list of blocks with texts, may stand."""
    there = found(body, path)
    if there is None or there == _NULL:
        return put(body, path, msgspec.json.encode(text))
    if there[:1] == b'"':
        said = read(_TEXT, there, ".".join(path))
        joined = _joined(said, text, after=after)
        return body if joined == said else put(body, path, msgspec.json.encode(joined))
    if is_list(there):
        return put(body, path, _with_block(there, {"type": "text", "text": text}, text, after=after))
    return body


def _with_block(blocks: bytes, block: dict[str, str], text: str, *, after: bool) -> bytes:
    listed = attempt(_BLOCKS, blocks)
    if listed is None:
        return blocks
    said = [each.text if isinstance(each.text, str) else "" for each in listed]
    place = len(said) - 1 if after else _attributions(said)
    if 0 <= place < len(said) and (_ends if after else _begins)(said[place], text):
        return blocks
    return inserted(blocks, len(said) if after else place, msgspec.json.encode(block))


def _joined(said: str, text: str, *, after: bool) -> str:
    if after:
        return said if _ends(said, text) else _SEPARATOR.join(filter(None, (said, text)))
    lines = said.split("\n")
    first = _attributions(lines)
    rest = "\n".join(lines[first:])
    if _begins(rest, text):
        return said
    return "\n".join([*lines[:first], _SEPARATOR.join(filter(None, (text, rest)))])


def _begins(said: str, text: str) -> bool:
    return said == text or said.startswith(text + _SEPARATOR)


def _ends(said: str, text: str) -> bool:
    return said == text or said.endswith(_SEPARATOR + text)


def _attributions(texts: Sequence[str]) -> int:
    """Return how many of the first texts say what program asks."""
    return next((place for place, text in enumerate(texts) if not text.startswith(_ATTRIBUTION)), len(texts))
