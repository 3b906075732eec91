import time

from broker.translate.responses_spaces import Spaces
from broker.translate.responses_wire import WireTool


def function(name):
    return WireTool("function", name)


def group(name, *tools):
    return WireTool("namespace", name, tools=list(tools))


def test_tools_of_a_namespace_stand_among_the_others_by_one_name():
    spaces = Spaces([function("a"), group("agents", function("a"), WireTool("custom", "b")), function("z")])
    assert [(path, tool.type, tool.name) for path, tool in spaces.tools] == [
        ("tools[0]", "function", "a"),
        ("tools[1].tools[0]", "function", "agents__a"),
        ("tools[1].tools[1]", "custom", "agents__b"),
        ("tools[2]", "function", "z"),
    ]
    assert spaces.back == {"agents__a": ("agents", "a"), "agents__b": ("agents", "b")}


def test_a_name_is_asked_for_by_namespace():
    spaces = Spaces([group("agents", function("a"))])
    assert spaces.one("agents", "a") == "agents__a"
    assert spaces.one(None, "a") == "a"
    assert spaces.one("gone", "a") == "gone__a"


def test_no_two_tools_become_one():
    spaces = Spaces([group("x", function("y__z")), group("x__y", function("z")), function("x__y__z")])
    assert [tool.name for _, tool in spaces.tools] == ["x__y__z_2", "x__y__z_3", "x__y__z"]
    assert spaces.one("x", "y__z") == "x__y__z_2"
    assert spaces.one("x__y", "z") == "x__y__z_3"


def test_what_has_no_name_is_left_as_it_is():
    spaces = Spaces([group("x", WireTool("function")), group(None, function("f")), WireTool("namespace", "empty")])
    assert [tool.name for _, tool in spaces.tools] == [None, "f"]
    assert spaces.back == {}


def test_very_many_tools_of_one_name_cost_no_time():
    begun = time.process_time()
    spaces = Spaces([group("a", *[function("b")] * 20_000)])
    assert time.process_time() - begun < 5  # a tenth of a second; with its square it would be minutes
    assert len({tool.name for _, tool in spaces.tools}) == 20_000
