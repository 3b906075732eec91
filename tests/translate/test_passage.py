import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate.passage import (
    Peeked,
    inserted,
    is_list,
    is_object,
    peek,
    value_of,
    with_member,
    with_members,
    with_model,
)
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
    with pytest.raises(BrokerError):
        with_members(body, {"a": b"1"})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", b'{"x":true}'),
        (b' { "a" : 1e0 }\n', b' { "a" : 1e0,"x":true }\n'),
        (b'{ "x" : 7 , "a":1e0}', b'{ "x" : true , "a":1e0}'),
        (b'{ "gone": [1] , "a":1e0 }', b'{ "a":1e0,"x":true }'),
        (b'{"a":1e0 , "gone":{"x":1}  }', b'{"a":1e0,"x":true  }'),
        (b'{"a":1 , "gone":0, "b" : 2 }', b'{"a":1, "b" : 2,"x":true }'),
        (b'{"gone":1}', b'{"x":true}'),
        (b'{"x":1,"\\u0078":2}', b'{"x":true,"\\u0078":true}'),
    ],
)
def test_members_are_changed_in_place_put_at_the_end_or_left_out(body, told):
    assert with_members(body, {"x": b"true", "gone": None}) == told


@given(
    body=st.dictionaries(st.text(), VALUES, max_size=6),
    wanted=st.dictionaries(st.text() | st.sampled_from("ab"), st.none() | st.booleans() | st.integers(), max_size=4),
)
def test_members_over_random_bodies(body, wanted):
    told = {name: None if value is None else json.dumps(value).encode() for name, value in wanted.items()}
    made = with_members(json.dumps(body).encode(), told)
    expected = {
        name: value for name, value in {**body, **wanted}.items() if name not in wanted or wanted[name] is not None
    }
    assert json.loads(made) == expected
    assert with_members(json.dumps(body).encode(), {}) == json.dumps(body).encode()


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


@pytest.mark.parametrize(
    ("body", "name", "made"),
    [
        (b' { "a" : 1e0 }', "a", b' { "a" : <1e0> }'),
        (b' { "b" : 1e0 }', "a", b' { "b" : 1e0,"a":<> }'),
        (b" { }", "a", b' {"a":<> }'),
        (b'[ [1] , {"a":[]}]', "1", b'[ [1] , <{"a":[]}>]'),
        (b"[1, 2]", "2", b"[1, 2]"),
        (b"[ ]", "0", b"[ ]"),
    ],
)
def test_one_member_or_element_is_changed(body, name, made):
    assert with_member(body, name, lambda there: b"<" + (there or b"") + b">") == made


def test_one_member_or_element_is_left_out():
    assert with_member(b'{"a":1, "b" : 2}', "a", lambda _: None) == b'{"b" : 2}'
    assert with_member(b"[1 , 2 , 3]", "0", lambda _: None) == b"[2 , 3]"
    assert with_member(b'{"b" : 2}', "a", lambda _: None) == b'{"b" : 2}'


@pytest.mark.parametrize(
    ("body", "place", "made"),
    [
        (b"[ ]", 0, b"[7 ]"),
        (b"[ 1 ,2 ]", 0, b"[ 7,1 ,2 ]"),
        (b"[ 1 ,2 ]", 1, b"[ 1 ,7,2 ]"),
        (b"[ 1 ,2 ]", 2, b"[ 1 ,2,7 ]"),
        (b"\n[{}]", 9, b"\n[{},7]"),
    ],
)
def test_an_element_is_put_into_a_list(body, place, made):
    assert inserted(body, place, b"7") == made


def test_values_and_what_they_are():
    assert value_of(b'{"a": 1,"\\u0061": [2 ] }', "a") == b"[2 ]"
    assert value_of(b"[ 1, {} ]", "1") == b"{}"
    assert value_of(b"{}", "a") is None
    assert is_object(b" \n{")
    assert not is_object(b"[")
    assert is_list(b"\t[")
    with pytest.raises(BrokerError):
        inserted(b"{}", 0, b"1")
    for body in GARBAGE[:8]:
        with pytest.raises(BrokerError):
            value_of(body + b"]", "0")


@given(st.lists(VALUES, max_size=5), st.integers(0, 5), st.booleans())
def test_elements_over_random_lists(values, place, wide):
    text = json.dumps(values, indent=2 if wide else None).encode()
    assert json.loads(inserted(text, place, b"7")) == [*values[:place], 7, *values[place:]]
    assert json.loads(with_member(text, str(place), lambda _: None)) == [*values[:place], *values[place + 1 :]]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m"' + b"".join(b',"x%d":0' % number for number in range(2048)) + b"}",
        b'{"model":"m"' + b',"x":[]' * 2048 + b"}",
    ],
)
def test_members_beyond_number_are_refused_before_they_hold_the_event_loop(body):
    with pytest.raises(BrokerError, match="more than 2048 members"):
        with_model(body, "n")


def test_elements_beyond_number_are_refused_before_they_hold_the_event_loop():
    most = b"[" + b",".join([b"0"] * 16_384) + b"]"
    assert inserted(most, 0, b"1") == b"[1," + most[1:]
    with pytest.raises(BrokerError, match="more than 16384 members"):
        inserted(most.replace(b"[", b"[0,"), 0, b"1")
    with pytest.raises(BrokerError, match="more than 16384 members"):
        value_of(most.replace(b"[", b"[0,"), "0")


def test_members_of_one_name_cost_no_copy_of_the_last_each():
    body = b'{"model":"m",' + b'"x":[],' * 2000 + b'"x":["' + b"y" * (16 << 20) + b'"]}'
    begun = time.process_time()
    assert with_model(body, "m") == body
    assert time.process_time() - begun < 1  # it takes 0.02, and 2000 copies some seconds
