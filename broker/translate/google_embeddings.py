"""Embeddings as Google's two APIs make them.

Owns: `batchEmbedContents` of the Gemini API and `predict` of Vertex, both ways. It must never make up a number of tokens that no upstream told.

Sources: ai.google.dev/api/embeddings (models.batchEmbedContents); cloud.google.com/vertex-ai, "Text embeddings API".
"""

from typing import Final, Protocol

import msgspec

from broker.translate.embeddings import Texts, Vectors
from broker.translate.failures import broken_answer
from broker.translate.ir import Failure


class EmbeddingCodec(Protocol):
    """An upstream's own way to ask for vectors."""

    def encode(self, asked: Texts, model: str) -> bytes:
        """Write the request."""
        ...

    def decode(self, body: bytes) -> Vectors | Failure:
        """Read the answer. Never raises."""
        ...


class GeminiEmbeddings:
    """`models/MODEL:batchEmbedContents`, one request a text."""

    def encode(self, asked: Texts, model: str) -> bytes:
        """Write the request."""
        size = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
        name = f"models/{model.removeprefix('models/')}"
        each = [{"model": name, "content": {"parts": [{"text": text}]}, **size} for text in asked.texts]
        return msgspec.json.encode({"requests": each})

    def decode(self, body: bytes) -> Vectors | Failure:
        """Read the answer; of tokens only newer models tell."""
        try:
            answer = _BATCH.decode(body)
        except _UNREADABLE as error:
            return _broken(error)
        return Vectors([each.values for each in answer.embeddings], answer.usage.tokens if answer.usage else None)


class VertexEmbeddings:
    """`models/MODEL:predict`, one instance a text. A text that is too long is an error, as it is at OpenAI, and not cut without a word."""

    def encode(self, asked: Texts, model: str) -> bytes:
        """Write the request; its model is in the URL."""
        del model
        size = {} if asked.dimensions is None else {"outputDimensionality": asked.dimensions}
        instances = [{"content": text} for text in asked.texts]
        return msgspec.json.encode({"instances": instances, "parameters": {"autoTruncate": False, **size}})

    def decode(self, body: bytes) -> Vectors | Failure:
        """Read the answer; tokens are told vector by vector."""
        try:
            found = [each.embeddings for each in _PREDICTIONS.decode(body).predictions]
        except _UNREADABLE as error:
            return _broken(error)
        counts = [each.statistics.tokens for each in found if each.statistics and each.statistics.tokens is not None]
        return Vectors([each.values for each in found], int(sum(counts)) if len(counts) == len(found) else None)


class _Vector(msgspec.Struct):
    values: list[float]


class _Usage(msgspec.Struct):
    tokens: int | None = msgspec.field(name="promptTokenCount", default=None)


class _Batch(msgspec.Struct):
    embeddings: list[_Vector]
    usage: _Usage | None = msgspec.field(name="usageMetadata", default=None)


class _Statistics(msgspec.Struct):
    tokens: float | None = msgspec.field(name="token_count", default=None)


class _Found(msgspec.Struct):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct):
    embeddings: _Found


class _Predictions(msgspec.Struct):
    predictions: list[_Prediction]


_BATCH: Final = msgspec.json.Decoder(_Batch)
_PREDICTIONS: Final = msgspec.json.Decoder(_Predictions)
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _broken(error: Exception) -> Failure:
    return broken_answer(f"the upstream's answer cannot be read: {error}").failure
