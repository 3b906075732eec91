import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate.passage import Peeked, peek, with_model
from tests.contract.codec_contract import GARBAGE

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def test_a_body_says_model_and_stream():
    assert peek(b'{"model":"m","x":[1]}') == Peeked("m")
    assert peek(b'{"stream":true,"model":"m"}') == Peeked("m", True)


@pytest.mark.parametrize("body", [*GARBAGE, b'{"model":" "}', b'{"model":7}'])
def test_what_names_no_model_is_refused(body):
    with pytest.raises(BrokerError):
        peek(body)


@pytest.mark.parametrize("body", GARBAGE[:8])
def test_what_is_no_object_is_refused(body):
    with pytest.raises(BrokerError):
        with_model(body, "n")


def test_every_other_byte_stays():
    body = b' { "a" : 1e0 , "model":"old", "b":{"model":"inner }\\"","c":[ "]" ]}, "stream" :true\n}\r\n'
    assert with_model(body, "new/1") == body.replace(b'"old"', b'"new/1"')
    assert with_model(b'{"m\\u006fdel":"old","model" : "older"}', "n") == b'{"m\\u006fdel":"n","model" : "n"}'
    assert with_model(b"{}", "n") == b"{}"
    assert with_model(b'{"model":null}', "n") == b'{"model":"n"}'


@given(
    before=st.dictionaries(st.text(), VALUES, max_size=4),
    after=st.dictionaries(st.text(), VALUES, max_size=4),
    seed=st.integers(),
)
def test_over_random_bodies(before, after, seed):
    before.pop("model", None)
    after.pop("model", None)
    draw = random.Random(seed)
    space = lambda: "".join(draw.choices(" \t\r\n", k=draw.randrange(3)))  # noqa: E731 - once, and short
    members = [*before.items(), ("model", "OLD-MODEL"), *after.items()]
    inner = ",".join(
        f"{space()}{json.dumps(key)}{space()}:{space()}{json.dumps(value, ensure_ascii=draw.random() < 0.5, indent=draw.choice([None, 1]))}{space()}"
        for key, value in members
    )
    body = f"{space()}{{{inner}}}{space()}".encode("utf-8", "surrogatepass")
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    assert with_model(body, "n-1") == body.replace(b'"OLD-MODEL"', b'"n-1"')
