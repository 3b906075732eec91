import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.renaming import Renaming, Rewriting, renamed


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"id":"1", "model" : "real","n":1.0}', b'{"id":"1", "model" : "mine","n":1.0}'),
        (b'{"type":"message_start","message":{"id":"1","model":"real"} }', b'{"type":"message_start","message":{"id":"1","model":"mine"} }'),
        (b'{"response": {"model":"real"},"type":"x"}', b'{"response": {"model":"mine"},"type":"x"}'),
        (b'{"message":"no object", "x":"\\"model\\""}', None),
        (b'{"message":null,"response":{"text":"a \\"model\\" b"}}', None),
        (b'{"choices":[{"model":"real"}]}', None),
        (b'{"delta":{"text":"model"}}', None),
        (b'{"model":', None),
        (b'["model"]', None),
        (b'{"a":"\xff","model":"real"}', b'{"a":"\xff","model":"mine"}'),
        (b"[DONE]", None),
        (b"", None),
    ],
)  # fmt: skip
def test_a_name_is_put_back_and_nothing_else_changes(data: bytes, expected: bytes | None) -> None:
    assert renamed(data, "mine") == (data if expected is None else expected)


def test_a_name_too_deep_to_be_the_models_passes() -> None:
    for depth in range(2, 1100):
        data = b'{"message":' * depth + b'{"model":"real"}' + b"}" * depth
        assert renamed(data, "mine") == data


STREAM = (
    b': hello "model"\r\n\r\nevent: message_start\ndata: {"type":"message_start","message":{"model":"real","x":1}}\n\n'
    b'data:{"model":"real","choices":[{"delta":{"content":"the \\"model\\" \xc3\xa9"}}]}\r\n\r\ndata: [DONE]\n\ndata: {"model":"real"}'
)


def fold(cuts: list[bytes]) -> bytes:
    renaming = Renaming("mine")
    return b"".join(renaming.feed(cut) for cut in cuts) + renaming.close()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_is_renamed_however_it_is_cut(places: list[int]) -> None:
    edges = [0, *sorted(places), len(STREAM)]
    cuts = [STREAM[a:b] for a, b in pairwise(edges)]
    assert fold(cuts) == STREAM.replace(b'"model":"real"', b'"model":"mine"')


def test_lines_go_out_as_soon_as_they_are_whole() -> None:
    renaming = Renaming("mine")
    assert renaming.feed(b"data: {") == b""
    assert renaming.feed(b'"model":"real"}\n\nda') == b'data: {"model":"mine"}\n\n'
    assert renaming.feed(b"ta: x\n") == b"data: x\n"
    assert renaming.close() == b""


@given(st.binary())
def test_any_bytes_pass(data: bytes) -> None:
    assert len(fold([data])) >= len(data) - data.count(b"model") * 20


@given(
    st.dictionaries(
        st.sampled_from(["model", "message", "response", "x"]), st.text() | st.dictionaries(st.just("model"), st.text())
    )
)
def test_json_stays_json(document: dict[str, object]) -> None:
    assert json.loads(renamed(json.dumps(document).encode(), "mine")).keys() == document.keys()


def test_a_whole_answer_is_renamed_at_its_end() -> None:
    rewriting = Rewriting("mine")
    assert [rewriting.feed(b'{"model":'), rewriting.feed(b'"real"}')] == [b"", b""]
    assert rewriting.close() == b'{"model":"mine"}'
