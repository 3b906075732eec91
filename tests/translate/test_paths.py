import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate.paths import found, put, put_default, removed

NAMES = st.sampled_from(["a", "b", "0", "1", 'q"\\é'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", '}"{', "é\\"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)
PATHS = st.lists(NAMES, min_size=1, max_size=3)


@pytest.mark.parametrize(
    ("body", "path", "there"),
    [
        (b'{"a": {"b" : [1, {"c":1e0 }]}}', "a.b.1.c", b"1e0"),
        (b'{"a":1,"a":2}', "a", b"2"),
        (b'{"a":[1]}', "a.1", None),
        (b'{"a":"x"}', "a.b", None),
        (b"{}", "a.b", None),
    ],
)
def test_what_stands_at_a_path(body: bytes, path: str, there: bytes | None) -> None:
    assert found(body, path.split(".")) == there


@pytest.mark.parametrize(
    ("body", "path", "made"),
    [
        (b'{ "a" : { "b" :1e0 , "c": 2}}', "a.b", b'{ "a" : { "b" :7 , "c": 2}}'),
        (b'{ "x":1 }', "a.b.0", b'{ "x":1,"a":{"b":{"0":7}} }'),
        (b'{"a":null}', "a.b", b'{"a":{"b":7}}'),
        (b'{"a":[1 , {"b": 2} ]}', "a.1.b", b'{"a":[1 , {"b": 7} ]}'),
        (b'{"a":[1 , 2]}', "a.1", b'{"a":[1 , 7]}'),
        (b'{"a":[1 , 2]}', "a.2", b'{"a":[1 , 2]}'),
        (b'{"a":[1 , 2]}', "a.b", b'{"a":[1 , 2]}'),
        (b'{"a": "text"}', "a.b", b'{"a": "text"}'),
        (b'{"a":{"b":1},"a":{}}', "a.b", b'{"a":{"b":7},"a":{"b":7}}'),
    ],
)
def test_something_is_put_in_its_place(body: bytes, path: str, made: bytes) -> None:
    assert put(body, path.split("."), b"7") == made


@pytest.mark.parametrize(
    ("body", "path", "made"),
    [
        (b'{"a": {"b": 1e0}}', "a.b", b'{"a": {"b": 1e0}}'),
        (b'{"a": {"b": null}}', "a.b", b'{"a": {"b": null}}'),
        (b'{"a": {}}', "a.b", b'{"a": {"b":7}}'),
        (b'{"a": null}', "a.b", b'{"a": {"b":7}}'),
        (b'{"a": 1e0}', "a.b", b'{"a": 1e0}'),
    ],
)
def test_a_default_is_put_where_nothing_is(body: bytes, path: str, made: bytes) -> None:
    assert put_default(body, path.split("."), b"7") == made


@pytest.mark.parametrize(
    ("body", "path", "made"),
    [
        (b'{"a" : {"b": 1 , "c":2}}', "a.b", b'{"a" : {"c":2}}'),
        (b'{"a" : [ 1 , 2 , 3 ]}', "a.1", b'{"a" : [ 1 , 3 ]}'),
        (b'{"a" : [ 1 ]}', "a.0", b'{"a" : [  ]}'),
        (b'{"a" : null}', "a.b", b'{"a" : null}'),
        (b'{"x" : 1}', "a.b", b'{"x" : 1}'),
        (b'{"a":1, "x":2, "a":3}', "a", b'{"x":2}'),
    ],
)
def test_something_is_taken_away(body: bytes, path: str, made: bytes) -> None:
    assert removed(body, path.split(".")) == made


@pytest.mark.parametrize("body", [b"", b"7", b"null", b'{"a":}', b"[1,]"])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(BrokerError):
        put(body, ["a"], b"1")
    with pytest.raises(BrokerError):
        removed(body, ["a"])


class Nothing:
    """What stands where nothing does."""


def naive(body: object, path: list[str], action: str, told: object) -> object:
    """The same, slowly, on decoded values."""
    name, rest = path[0], path[1:]
    if isinstance(body, list):
        if not name.isdecimal() or int(name) >= len(body):
            return body
        out: dict[str, object] = dict(zip(map(str, range(len(body))), body, strict=True))
    else:
        assert isinstance(body, dict)
        out = dict(body)
    there = out.get(name, Nothing)
    if there is Nothing or (rest and there is None):
        made = told
        for inner in reversed(rest):
            made = {inner: made}
        if action != "remove":
            out[name] = made
    elif rest:
        if isinstance(there, dict | list):
            out[name] = naive(there, rest, action, told)
    elif action == "remove":
        del out[name]
    elif action == "override":
        out[name] = told
    return list(out.values()) if isinstance(body, list) else out


ACTIONS = {"default": put_default, "override": put, "remove": lambda body, path, _: removed(body, path)}


@given(
    body=OBJECTS, path=PATHS, action=st.sampled_from(sorted(ACTIONS)), told=VALUES, indent=st.sampled_from([None, 1])
)
def test_over_random_bodies_it_does_what_a_slow_one_does(
    body: dict[str, object], path: list[str], action: str, told: object, indent: int | None
) -> None:
    text = json.dumps(body, indent=indent, ensure_ascii=False).encode()
    made = ACTIONS[action](text, path, json.dumps(told).encode())
    wanted = naive(body, path, action, told)
    assert json.loads(made) == wanted
    if wanted == body and action != "override":
        assert made == text


@given(body=OBJECTS, rest=OBJECTS, path=PATHS, told=st.integers(), indent=st.sampled_from([None, 1, 2]))
def test_bytes_of_other_members_stay(
    body: dict[str, object], rest: dict[str, object], path: list[str], told: int, indent: int | None
) -> None:
    inner = json.dumps(body, indent=indent)
    others = json.dumps(rest, indent=indent, ensure_ascii=False)
    text = f'{{ "x": {others} ,"here" : {inner},\t"y":1e0, "z" :{others} }}'.encode()
    for change in (lambda: put(text, ["here", *path], b"%d" % told), lambda: removed(text, ["here", *path])):
        made = change()
        assert made.startswith(f'{{ "x": {others} ,"here" : '.encode())
        assert made.endswith(f',\t"y":1e0, "z" :{others} }}'.encode())
