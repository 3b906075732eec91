import time

from broker.translate.ir import Message, Role, Text, ToolCall, ToolResult
from broker.translate.turns import Answered, Turn, laid_out

A, B = ToolCall("a", "f", {}), ToolCall("b", "g", {})


def user(*parts):
    return Message(Role.USER, parts)


def model(*parts):
    return Message(Role.ASSISTANT, parts)


def result(call_id, text="r", name=None):
    return ToolResult(call_id, (Text(text),), name)


def test_neighbours_of_one_role_are_one_turn():
    assert laid_out([user(Text("1")), user(Text("2")), model(Text("3"))]) == [
        Turn(Role.USER, (Text("1"), Text("2"))),
        Turn(Role.ASSISTANT, (Text("3"),)),
    ]


def test_calls_are_answered_at_once_in_their_order():
    later = [user(result("b", "rb")), model(Text("between")), user(Text("x"), result("a", "ra"))]
    assert laid_out([model(A, B), *later]) == [
        Turn(Role.ASSISTANT, (A, B)),
        Turn(Role.USER, answers=(Answered(A, result("a", "ra")), Answered(B, result("b", "rb")))),
        Turn(Role.USER),
        Turn(Role.ASSISTANT, (Text("between"),)),
        Turn(Role.USER, (Text("x"),)),
    ]


def test_the_last_of_several_answers_counts_and_none_is_none():
    turns = laid_out([model(A, B), user(result("a", "1"), result("a", "2"))])
    assert turns[1].answers == (Answered(A, result("a", "2")), Answered(B, None))


def test_an_answer_to_later_calls_is_not_taken():
    turns = laid_out([model(A), user(Text("x")), model(A), user(result("a"))])
    again = ToolCall("a_2", "f", {})
    assert [turn.answers for turn in turns if turn.answers] == [(Answered(A, None),), (Answered(again, result("a")),)]


def test_a_stray_answer_goes_to_the_call_it_may_be_meant_for():
    turns = laid_out([model(A, B), user(result("?", "by name", "g"), result("?", "by order", ""), result("?", "left"))])
    assert turns[1].answers == (Answered(A, result("?", "by order", "")), Answered(B, result("?", "by name", "g")))
    assert turns[2].parts == (result("?", "left"),)


def test_each_call_has_an_id_of_its_own():
    zero, nameless = ToolCall("0", "f", {}), ToolCall("", "g", {})
    said = [model(Text("x"), nameless, nameless, zero), user(result("0", "r0"), result("", "r1"), result("", "r2"))]
    turns = laid_out([*said, *said])
    assert [[answer.call.id for answer in turn.answers] for turn in turns if turn.answers] == [
        ["call_1", "call_2", "0"], ["call_4", "call_5", "0_6"],
    ]  # fmt: skip
    for calls, answers in zip(turns[::3], turns[1::3], strict=True):
        assert [part for part in calls.parts if isinstance(part, ToolCall)] == [each.call for each in answers.answers]
        assert [each.result.content[0].text for each in answers.answers] == ["r1", "r2", "r0"]
    assert laid_out(said) == turns[:3]  # what comes later changes nothing before it


def test_a_call_said_by_a_user_is_not_answered():
    assert laid_out([user(A)]) == [Turn(Role.USER, (A,))]


def test_what_stands_behind_the_next_calls_is_not_gone_through_for_each_call_before():
    later = model(Text("x"), B)
    turns = laid_out([model(A), user(result("a")), later, user(result("b"))])
    assert turns[3].parts is later.parts
    assert turns[4].answers == (Answered(B, result("b")),)


def test_very_long_conversations_are_laid_out_in_no_time():
    number = 20_000
    said = [Message(Role.USER, (Text("hi"),)) for _ in range(number)]
    calls = tuple(ToolCall(f"c{each}", "one", {}) for each in range(number))
    strays = tuple(ToolResult(f"r{each}", (Text("x"),), name="other") for each in range(number))
    begun = time.process_time()
    asked, called, answers, rest = laid_out([*said, Message(Role.ASSISTANT, calls), Message(Role.USER, strays)])
    assert time.process_time() - begun < 5  # a tenth of a second; with its square it would be half a minute
    assert (len(asked.parts), len(called.parts), rest.parts) == (number, number, strays)
    assert {answer.result for answer in answers.answers} == {None}
