"""Which conversation a request belongs to, so that it can stay with one account and find its prompt cached there.

Owns: the places clients put such an id, in the order they are believed, and the last resort: what a conversation begins with. Pure. It must never fail: a body
that is not understood belongs to no conversation.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from broker.proxy.headers import Headers

_FIRST: Final = (b"x-claude-code-session-id",)
_LATER: Final = (b"session-id", b"session_id", b"x-session-id", b"x-session-affinity", b"x-client-request-id")
_LONGEST: Final = 512
_TEXT: Final = 4096  # of each text a conversation begins with; the rest rarely tells two apart
_NONE: Final = msgspec.Raw(b"null")


class _Body(msgspec.Struct, frozen=True):
    """What may be in a body of any dialect. Everything is read later, and apart: one field of a strange type must not hide the others."""

    metadata: msgspec.Raw = _NONE
    session_id: msgspec.Raw = _NONE
    sessionId: msgspec.Raw = _NONE  # noqa: N815 - as clients write it
    prompt_cache_key: msgspec.Raw = _NONE
    conversation: msgspec.Raw = _NONE
    conversation_id: msgspec.Raw = _NONE
    system: msgspec.Raw = _NONE
    instructions: msgspec.Raw = _NONE
    systemInstruction: msgspec.Raw = _NONE  # noqa: N815
    messages: msgspec.Raw = _NONE
    input: msgspec.Raw = _NONE
    contents: msgspec.Raw = _NONE


_BODY: Final = msgspec.json.Decoder(_Body)
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()


def session_of(headers: Headers, body: bytes) -> str | None:
    """Return an id that all requests of a conversation have in common; None where there is nothing to tell it by."""
    by_header = _header(headers, _FIRST)
    if by_header:
        return by_header
    try:
        said = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = _Body()
    user = _member(said.metadata, "user_id")
    return (
        _session_part(user)
        or _header(headers, _LATER)
        or _text(said.session_id)
        or _text(said.sessionId)
        or _text(said.prompt_cache_key)
        or _text(said.conversation)
        or _member(said.conversation, "id")
        or user
        or _text(said.conversation_id)
        or _beginning(said)
    )


def _header(headers: Headers, names: Sequence[bytes]) -> str | None:
    for wanted in names:
        for name, value in headers:
            if name == wanted and value:
                return value[:_LONGEST].decode("latin-1")
    return None


def _session_part(user: str | None) -> str | None:
    """Claude Code writes `user_…_account_…_session_ID`, newer releases an object in a string."""
    if not user:
        return None
    if user.startswith("{"):
        return _member(msgspec.Raw(user.encode()), "session_id")
    return user.partition("_session_")[2] or None


def _beginning(said: _Body) -> str | None:
    """Return a digest of the first system and user texts."""
    texts = [text for raw in (said.system, said.instructions, said.systemInstruction) if (text := _words(_read(raw)))]
    for raw in (said.messages, said.input, said.contents):
        texts += _until_user(raw)
    if not texts:
        return None
    return hashlib.sha256("\0".join(texts).encode(errors="backslashreplace")).hexdigest()


def _until_user(turns: msgspec.Raw) -> list[str]:
    try:
        each = _LIST.decode(turns)
    except msgspec.ValidationError:
        words = _words(_read(turns))
        return [words] if words else []
    texts: list[str] = []
    for raw in each:
        turn = _read(raw)
        words = _words(turn)
        if words:
            texts.append(words)
        if isinstance(turn, dict) and turn.get("role") == "user":
            break
    return texts


def _words(value: object) -> str:
    """Return the text in a message, a content, or a list of parts; what is not text does not count, since clients move marks about in it."""
    if isinstance(value, str):
        return value[:_TEXT]
    if isinstance(value, list):
        return "\n".join(words for part in value if (words := _words(part)))[:_TEXT]
    if isinstance(value, dict):
        return next((words for key in ("text", "content", "parts") if (words := _words(value.get(key)))), "")
    return ""


def _member(raw: msgspec.Raw, name: str) -> str | None:
    value = _read(raw)
    found = value.get(name) if isinstance(value, dict) else None
    return found[:_LONGEST] if isinstance(found, str) and found else None


def _text(raw: msgspec.Raw) -> str | None:
    value = _read(raw)
    return value[:_LONGEST] if isinstance(value, str) and value else None


def _read(raw: msgspec.Raw) -> object:
    try:
        found: object = _ANY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found
