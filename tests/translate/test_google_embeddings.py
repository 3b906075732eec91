import json

import pytest

from broker.translate.embeddings import Texts, Vectors
from broker.translate.google_embeddings import EmbeddingCodec, GeminiEmbeddings, VertexEmbeddings
from broker.translate.ir import Failure


def test_gemini_s_request() -> None:
    content = {"model": "models/m", "content": {"parts": [{"text": "a"}]}}
    assert json.loads(GeminiEmbeddings().encode(Texts(("a",)), "m")) == {"requests": [content]}
    both = json.loads(GeminiEmbeddings().encode(Texts(("a", "b"), 64), "models/m"))["requests"]
    assert both[0] == content | {"outputDimensionality": 64}
    assert both[1]["content"] == {"parts": [{"text": "b"}]}


def test_vertex_s_request() -> None:
    told = json.loads(VertexEmbeddings().encode(Texts(("a", "b")), "m"))
    assert told == {"instances": [{"content": "a"}, {"content": "b"}], "parameters": {"autoTruncate": False}}
    told = json.loads(VertexEmbeddings().encode(Texts(("a",), 64), "m"))
    assert told["parameters"] == {"autoTruncate": False, "outputDimensionality": 64}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"embeddings": [{"values": [1, 0.5]}, {"values": []}]}, Vectors([[1.0, 0.5], []])),
        ({"embeddings": [{"values": [1]}], "usageMetadata": {"promptTokenCount": 4}}, Vectors([[1.0]], 4)),
        ({"embeddings": [{"values": [1]}], "usageMetadata": {}}, Vectors([[1.0]])),
    ],
)
def test_gemini_s_answer(told: object, expected: Vectors) -> None:
    assert GeminiEmbeddings().decode(json.dumps(told).encode()) == expected


def prediction(values: list[float], **statistics: object) -> object:
    return {"embeddings": {"values": values, **({"statistics": statistics} if statistics else {})}}


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        ([prediction([1], token_count=2, truncated=False), prediction([1], token_count=3.0)], 5),
        ([prediction([1], token_count=2), prediction([1])], None),
        ([prediction([1], token_count=2), prediction([1], truncated=False)], None),
    ],
)
def test_vertex_s_answer(told: object, tokens: int | None) -> None:
    assert VertexEmbeddings().decode(json.dumps({"predictions": told}).encode()) == Vectors([[1.0], [1.0]], tokens)


@pytest.mark.parametrize("codec", [GeminiEmbeddings(), VertexEmbeddings()])
@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"embeddings":[{}],"predictions":[{}]}', b'{"x":"\xff"}', b"[" * 9999]
)
def test_what_is_no_answer(codec: EmbeddingCodec, body: bytes) -> None:
    told = codec.decode(body)
    assert isinstance(told, Failure)
    assert (told.status, told.code) == (502, "bad_upstream_answer")
