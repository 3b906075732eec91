"""Function names are mended, told apart and restored."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.ir import FunctionTool, Message, NativeKind, NativeTool, Request, Role, Text, ToolCall
from broker.translate.names import MAX_LENGTH, ToolNames


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("plain_name", "plain_name"),
        ("a.b:c-d", "a_b_c-d"),
        ("mcp/server tool", "mcp_server_tool"),
        ("1st", "_1st"),
        (".dot", "_dot"),
        ("-dash", "_-dash"),
        ("", "_"),
        ("é", "_"),
        ("x" * 70, "x" * 64),
    ],
)
def test_mending(name, sent):
    names = ToolNames([name])
    assert names.outward(name) == sent
    assert names.inward(sent) == name


@pytest.mark.parametrize(("name", "sent"), [("a.b:c-d", "a.b:c-d"), (".dot", "_.dot"), ("a/b", "a_b")])
def test_google_takes_dots_and_colons(name, sent):
    names = ToolNames([name], dotted=True)
    assert names.outward(name) == sent
    assert names.inward(sent) == name


def test_a_good_name_is_never_renamed_by_a_mended_one():
    names = ToolNames(["f g", "f_g"])
    assert (names.outward("f g"), names.outward("f_g")) == ("f_g_2", "f_g")


def test_names_that_look_alike_after_cutting_stay_apart():
    first, second, third = "y" * 80, "y" * 81, "y" * 82
    names = ToolNames([first, second, third])
    sent = [names.outward(n) for n in (first, second, third)]
    assert sent == ["y" * 64, "y" * 62 + "_2", "y" * 62 + "_3"]


def test_a_name_never_sent_comes_back_as_it_is():
    assert ToolNames(["f"]).inward("other") == "other"


def test_names_of_a_request_are_what_it_offers_and_then_what_was_called():
    said = Message(Role.ASSISTANT, (Text("x"), ToolCall("1", "a/b", {}), ToolCall("2", "a_b", {})))
    tools = (NativeTool(NativeKind.WEB_SEARCH), FunctionTool("a b"))
    names = ToolNames.of(Request("m", (said,), "m", tools=tools))
    assert [names.inward(sent) for sent in ("a_b", "a_b_2", "a_b_3")] == ["a_b", "a b", "a/b"]


@given(st.lists(st.text(max_size=90), max_size=12))
def test_every_set_of_names_survives_the_way_out_and_back(given_names):
    _survives(given_names, ToolNames(given_names), r"[A-Za-z_][A-Za-z0-9_-]*")
    _survives(given_names, ToolNames(given_names, dotted=True), r"[A-Za-z_][A-Za-z0-9_.:-]*")


def _survives(given_names, names, allowed):
    sent = {name: names.outward(name) for name in given_names}
    assert len(set(sent.values())) == len(sent)
    for name, out in sent.items():
        assert re.fullmatch(allowed, out)
        assert len(out) <= MAX_LENGTH
        assert names.inward(out) == name


def test_very_many_names_that_look_alike_cost_no_time() -> None:
    begun = time.process_time()
    names = ToolNames("x" * MAX_LENGTH + str(number) for number in range(20_000))
    assert time.process_time() - begun < 5  # a tenth of a second; with its square it would be minutes
    assert len({names.outward("x" * MAX_LENGTH + str(number)) for number in range(20_000)}) == 20_000
