"""A conversation laid out for APIs that are strict about calls: each is answered at once, all of one turn together, in the order of the calls.

Owns: merging neighbours of one role, finding the answer of every call, and giving each call an id of its own: some clients send none, and some servers number
the calls of each answer from 0. Other dialects are not strict, so what a client sent is laid out anew. It must never lose what somebody said: an answer to no
call stays where it stands.
"""

from collections import deque
from collections.abc import Iterable
from itertools import groupby, pairwise, takewhile
from operator import attrgetter
from typing import Final

import msgspec

from broker.translate.ir import Message, Part, Role, ToolCall, ToolResult, Value

_ROLE: Final = attrgetter("role")
_Stray = dict[str, deque[tuple[int, ToolResult]]]
"""Answers that name no call, by the function they name, each with its place among all."""


class Answered(Value, frozen=True):
    """A call and what its tool said; None where the conversation holds no answer."""

    call: ToolCall
    result: ToolResult | None


class Turn(Value, frozen=True):
    """What one side says. `answers` stand alone in a turn of the user's, right after the turn of their calls."""

    role: Role
    parts: tuple[Part, ...] = ()
    answers: tuple[Answered, ...] = ()


def laid_out(messages: Iterable[Message]) -> list[Turn]:
    """Return the turns. Two turns of the user's follow each other where the first holds answers."""
    left = _merged(messages)[::-1]  # the next one last
    turns: list[Turn] = []
    called = False
    while left:
        message = left.pop()
        turns.append(Turn(message.role, message.parts))
        if message.role is Role.ASSISTANT:
            calls = [part for part in message.parts if type(part) is ToolCall]
            if calls:
                called = True
                turns.append(Turn(Role.USER, answers=_answers(calls, left)))
    return _told_apart(turns) if called else turns


def _told_apart(turns: list[Turn]) -> list[Turn]:
    """Give calls without an id, or with that of an earlier one, one of their own; the same every time, for the caches' sake."""
    taken: set[str] = set()
    number = 0
    for place, (turn, after) in enumerate(pairwise(turns)):
        if not after.answers:
            continue
        calls: list[ToolCall] = []
        for answered in after.answers:
            call = answered.call
            one, number = call.id, number + 1
            while not one or one in taken:
                one = f"{one or 'call'}_{number}"
            taken.add(one)
            calls.append(call if one == call.id else msgspec.structs.replace(call, id=one))
        if calls != [answer.call for answer in after.answers]:
            left = iter(calls)
            parts = tuple(next(left) if isinstance(part, ToolCall) else part for part in turn.parts)
            answers = tuple(Answered(call, answer.result) for call, answer in zip(calls, after.answers, strict=True))
            turns[place : place + 2] = [Turn(turn.role, parts), Turn(after.role, after.parts, answers)]
    return turns


def _merged(messages: Iterable[Message]) -> list[Message]:
    turns: list[Message] = []
    for role, said in groupby(messages, _ROLE):
        first, *more = said
        if more:
            first = Message(role, tuple([part for message in (first, *more) for part in message.parts]))
        turns.append(first)
    return turns


def _answers(calls: list[ToolCall], left: list[Message]) -> tuple[Answered, ...]:
    """Take the answers to these calls out of the messages before the next calls; of several to one call, the last counts."""
    window = list(takewhile(_calls_nothing, reversed(left)))
    found = _paired(calls, [part for message in window for part in message.parts if type(part) is ToolResult])
    used = {id(result) for results in found for result in results}
    for i, message in enumerate(window, 1):
        parts = tuple([part for part in message.parts if id(part) not in used])
        if len(parts) < len(message.parts):
            left[-i] = Message(message.role, parts)
    return tuple([Answered(call, results[-1] if results else None) for call, results in zip(calls, found, strict=True)])


def _calls_nothing(message: Message) -> bool:
    for part in message.parts:  # noqa: SIM110 - a generator costs more than most messages have parts
        if type(part) is ToolCall:
            return False
    return True


def _paired(calls: list[ToolCall], results: list[ToolResult]) -> list[list[ToolResult]]:
    """Give each call its answers: all that name its id; to a call without any, the first stray one that may be meant for it."""
    by_id: dict[str, list[ToolResult]] = {call.id: [] for call in calls if call.id}
    stray: _Stray = {}
    for place, result in enumerate(results):
        mine = by_id.get(result.call_id)
        if mine is not None:
            mine.append(result)
        else:
            stray.setdefault(result.name or "", deque()).append((place, result))
    found = [by_id.pop(call.id, []) for call in calls]
    for call, mine in zip(calls, found, strict=True):
        if not mine and (meant := _meant(call, stray)) is not None:
            mine.append(meant)
    return found


def _meant(call: ToolCall, stray: _Stray) -> ToolResult | None:
    """Take the first answer that names the function of a call, or none."""
    waiting = [answers for name in ("", call.name) if (answers := stray.get(name))]
    return min(waiting, key=lambda answers: answers[0][0]).popleft()[1] if waiting else None
