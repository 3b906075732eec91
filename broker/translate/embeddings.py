"""Embeddings as OpenAI's clients ask for them, and as they are told.

Owns: reading `POST /v1/embeddings` and writing its answer. It must never make up a number of tokens that no upstream told.

Source: platform.openai.com/docs/api-reference/embeddings.
"""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from broker.translate.failures import broken_answer
from broker.translate.fields import bad_field, read
from broker.translate.ir import Failure, Value


class Texts(Value, frozen=True):
    """What to embed: each text becomes one vector, in order, of `dimensions` numbers where that is said. `packed` asks for base64."""

    texts: tuple[str, ...]
    dimensions: int | None = None
    packed: bool = False


class Vectors(Value, frozen=True):
    """The vectors, and how many tokens the texts had, where the upstream told."""

    vectors: Sequence[Sequence[float]]
    tokens: int | None = None


class _Asked(msgspec.Struct):
    input: str | list[str | int | list[int]]
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None
    encoding_format: str | None = None


class _Vector(msgspec.Struct):
    index: int
    embedding: Sequence[float] | str
    object: str = "embedding"


class _Usage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int


class _Answer(msgspec.Struct):
    data: list[_Vector]
    model: str
    usage: _Usage | msgspec.UnsetType = msgspec.UNSET
    object: str = "list"


_ASKED: Final = msgspec.json.Decoder(_Asked)


def decode_request(body: bytes) -> Texts:
    """Understand a request; its model is read elsewhere, and `user` says nothing to others.

    Raises:
        BrokerError: `bad_request` naming the field.
    """
    asked = read(_ASKED, body)
    packed = asked.encoding_format == "base64"
    if not packed and asked.encoding_format not in (None, "float"):
        bad_field("encoding_format", "expected float or base64")
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if not texts:
        bad_field("input", "must not be empty")
    told = tuple(text for text in texts if isinstance(text, str))
    if len(told) < len(texts):
        bad_field("input", "tokens mean something to the model they were counted out for only; send text")
    return Texts(told, asked.dimensions, packed)


def encode_answer(found: Vectors, asked: Texts, model: str) -> bytes | Failure:
    """Return the answer, or the failure that what was found is none: as many vectors as texts, of numbers that fit."""
    if len(found.vectors) != len(asked.texts):
        told = f"the upstream answered {len(found.vectors)} vectors to {len(asked.texts)} texts"
        return broken_answer(told).failure
    try:
        vectors = [_packed(each) if asked.packed else each for each in found.vectors]
    except OverflowError:
        return broken_answer("the upstream's vectors hold numbers of more than 32 bits").failure
    usage = msgspec.UNSET if found.tokens is None else _Usage(found.tokens, found.tokens)
    data = [_Vector(index, vector) for index, vector in enumerate(vectors)]
    return msgspec.json.encode(_Answer(data, model, usage))


def _packed(vector: Sequence[float]) -> str:
    """Return numbers of 32 bits, the lowest byte first, as base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
