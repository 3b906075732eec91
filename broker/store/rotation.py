r"""The text of a journal record.

Owns: how an intent and an answer are written, and how they are read back after a crash. Pure.
The first line is written before anything is sent, and its last word becomes `true` in place when the connection stands and the token is about to go out.
A record that cannot be trusted to the last byte counts as one without an answer; it must never be half believed.

    {"v":1,"account":"gemini/alice","generation":7,"digest":"…","since":1750000000.0,"presented":false}\n
    {"status":200,"headers":{"date":"…"},"sealed":false,"length":1234,"sha256":"…"}\n
    1234 bytes of body, then zeros up to the room that was reserved for them
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from broker.model.account import AccountId, Generation
from broker.model.errors import BrokerError
from broker.model.secret import Digest
from broker.oauth.messages import HttpResponse

VERSION = 1
ROOM_BYTES = 64 << 10  # reserved for the answer before the POST; token answers have 1 to 8 KiB
_NO, _YES = b"false}\n", b"true }\n"
KEPT_HEADERS = ("content-type", "date", "retry-after")


@dataclass(frozen=True, slots=True)
class Intent:
    """A refresh token is about to be spent; once `presented` is durable, it may have been. `since` is wall-clock seconds."""

    account: AccountId
    generation: Generation
    digest: Digest
    since: float
    presented: bool = False


class Answer(msgspec.Struct, frozen=True):
    """What stands in the journal after the intent. `body` is as stored: sealed or not."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sealed: bool = False

    def __repr__(self) -> str:
        # The body may hold tokens.
        return f"Answer(status={self.status}, {len(self.body)} bytes)"


class _IntentLine(msgspec.Struct, frozen=True):
    v: int
    account: str
    generation: int
    digest: str
    since: float
    presented: bool = True  # where a record does not say


class _AnswerLine(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    sealed: bool
    length: int
    sha256: str


def encode_intent(intent: Intent) -> bytes:
    """Return the first line."""
    line = _IntentLine(
        VERSION, str(intent.account), intent.generation, intent.digest.text, intent.since, presented=False
    )
    data = msgspec.json.encode(line) + b"\n"
    if not intent.presented:
        return data
    place, mark = presented_mark(data)
    return data[:place] + mark + data[place + len(mark) :]


def presented_mark(line: bytes) -> tuple[int, bytes]:
    """Return what to write, and where, into an intent's line that says "not presented", so that it says the contrary. Its length stays."""
    return len(line) - len(_NO), _YES


def encode_answer(answer: HttpResponse, body: bytes, *, sealed: bool) -> bytes:
    """Return what follows the first line, for one write. `body` is the answer's, sealed where the store is."""
    # A header that is not UTF-8 reaches us with lone surrogates, and must not cost the answer.
    headers = {
        name: answer.headers[name].encode(errors="replace").decode() for name in KEPT_HEADERS if name in answer.headers
    }
    line = _AnswerLine(answer.status, headers, sealed, len(body), hashlib.sha256(body).hexdigest())
    return msgspec.json.encode(line) + b"\n" + body


def decode(data: bytes) -> tuple[Intent | None, Answer | None]:
    """Read a journal file. Never raises: what cannot be read is None."""
    first, _, rest = data.partition(b"\n")
    try:
        line = msgspec.json.decode(first, type=_IntentLine)
        intent = Intent(
            AccountId.parse(line.account), Generation(line.generation), Digest(line.digest), line.since, line.presented
        )
    except (msgspec.MsgspecError, BrokerError, ValueError):
        return None, None
    return (intent, _decode_answer(rest)) if line.v == VERSION else (None, None)


def _decode_answer(data: bytes) -> Answer | None:
    first, newline, rest = data.partition(b"\n")
    if not newline:
        return None
    try:
        line = msgspec.json.decode(first, type=_AnswerLine)
    except (msgspec.MsgspecError, ValueError):
        return None
    body = rest[: max(line.length, 0)]
    if len(body) != line.length or hashlib.sha256(body).hexdigest() != line.sha256:
        return None
    return Answer(line.status, line.headers, body, line.sealed)
