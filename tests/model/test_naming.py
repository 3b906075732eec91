from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError, ErrorCode
from broker.model.naming import Combo, Names, Order, matched, split_wish


def once(_: str) -> int:
    return 0


def meant(names: Names, name: str) -> list[str]:
    return list(names.expanded(name, once))


@pytest.mark.parametrize(
    ("pattern", "name", "stars"),
    [
        ("a", "a", ()),
        ("a", "ab", None),
        ("*", "", ("",)),
        ("*", "x/y", ("x/y",)),
        ("claude-*", "claude-opus", ("opus",)),
        ("claude-*", "claude", None),
        ("*-image", "gemini-image", ("gemini",)),
        ("*-image", "-imag", None),
        ("*/gemini-*", "x/gemini-2/gemini-3", ("x", "2/gemini-3")),
        ("a*b*c", "aXbYc", ("X", "Y")),
        ("a*b*c", "aXc", None),
        ("ab*b", "ab", None),
        ("*a*", "bbb", None),
    ],
)
def test_patterns(pattern: str, name: str, stars: tuple[str, ...] | None) -> None:
    assert matched(pattern, name) == stars


@given(st.lists(st.text("ab/", max_size=4), min_size=1, max_size=4), st.lists(st.text("ab/", max_size=4)))
def test_a_name_made_from_a_pattern_fits_it(literals: list[str], fillings: list[str]) -> None:
    name = literals[0]
    for number, literal in enumerate(literals[1:]):
        name += (fillings[number] if number < len(fillings) else "") + literal
    stars = matched("*".join(literals), name)
    assert stars is not None
    rebuilt = literals[0] + "".join(star + literal for star, literal in zip(stars, literals[1:], strict=True))
    assert rebuilt == name


def test_a_name_without_meaning_is_itself() -> None:
    assert meant(Names(), "gemini/gemini-2.5-pro") == ["gemini/gemini-2.5-pro"]
    assert Names().listed == ()


def test_aliases() -> None:
    names = Names(
        {
            "fast": "gemini/flash",
            "claude-*": "antigravity/claude-*",
            "claude-opus-*": "claude/claude-opus-*",
            "*/x-*": "y",
            "*/gem-*": "api/gem-*",
        }
    )
    assert meant(names, "any/gem-3") == ["api/gem-3"]
    assert meant(names, "fast") == ["gemini/flash"]
    assert meant(names, "claude-sonnet") == ["antigravity/claude-sonnet"]
    assert meant(names, "claude-opus-4") == ["claude/claude-opus-4"]
    assert meant(names, "a/x-b") == ["y"]
    assert names.listed == ("fast",)


def test_an_exact_alias_comes_before_patterns_and_is_followed_once() -> None:
    names = Names({"a": "b*"[:1], "*": "other/*"})
    assert meant(names, "a") == ["b"]
    assert meant(names, "b") == ["other/b"]


def test_two_patterns_that_fit_equally_well_are_named() -> None:
    with pytest.raises(BrokerError, match=r"\*b and a\* equally well") as caught:
        meant(Names({"a*": "x", "*b": "y"}), "ab")
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_a_chain() -> None:
    names = Names(
        {"fast": "gemini/flash"}, {"best": Combo(("claude/opus", "fast", "more")), "more": Combo(("m1", "m2"))}
    )
    assert meant(names, "best") == ["claude/opus", "gemini/flash", "m1", "m2"]
    assert names.listed == ("best", "fast", "more")
    assert meant(Names({"b": "best"}, {"best": Combo(("m",))}), "b") == ["m"]


def test_a_suffix_on_a_name_of_the_users_holds_for_all_it_stands_for() -> None:
    names = Names(
        {"smart": "chain(high)", "fast": "gemini/flash(low)", "c-*": "claude/*", "odd(max)": "x"},
        {"chain": Combo(("inner(low)", "a", "fast")), "inner": Combo(("b", "c(max)", "c-d(9)"))},
    )
    assert meant(names, "smart") == ["b(high)", "c(high)", "claude/d(high)", "a(high)", "gemini/flash(high)"]
    assert meant(names, "chain") == ["b(low)", "c(low)", "claude/d(low)", "a", "gemini/flash(low)"]
    assert meant(names, "inner") == ["b", "c(max)", "claude/d(9)"]
    assert meant(names, "fast(none)") == ["gemini/flash(none)"]
    assert meant(names, "odd(max)") == ["x"]
    assert meant(names, "chain(banana)") == ["chain(banana)"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("m (High )", ("m", "(High )")),
        ("m(-1)", ("m", "(-1)")),
        ("m(123456789)", ("m", "(123456789)")),
        ("m(1234567890)", ("m(1234567890)", "")),
        ("m(low)(high)", ("m(low)", "(high)")),
        ("m(low) x", ("m(low) x", "")),
        ("(low)", ("(low)", "")),
        ("m()", ("m()", "")),
    ],
)
def test_suffixes(name: str, parts: tuple[str, str]) -> None:
    assert split_wish(name) == parts


def test_round_robin_begins_with_another_member_each_time_at_every_level() -> None:
    inner = Combo(("x", "y"), Order.ROUND_ROBIN)
    names = Names(combos={"outer": Combo(("a", "inner", "b"), Order.ROUND_ROBIN), "inner": inner})
    counters = {"outer": count(), "inner": count()}
    found = [list(names.expanded("outer", lambda name: next(counters[name]))) for _ in range(3)]
    assert found == [["a", "x", "y", "b"], ["y", "x", "b", "a"], ["b", "a", "x", "y"]]


@pytest.mark.parametrize(
    ("aliases", "combos", "text"),
    [
        ({"": "x"}, {}, "neither side"),
        ({"x": ""}, {}, "routing.aliases.x: neither side"),
        ({"x": "y-*"}, {}, r"routing.aliases.x: 'y-\*' has more"),
        ({"x": "y", "y": "z"}, {}, "routing.aliases.x: 'y' is an alias itself"),
        ({}, {"c": Combo(())}, "combos.c: models is empty"),
        ({"c": "x"}, {"c": Combo(("x",))}, "combos.c: routing.aliases has that name"),
        ({}, {"c": Combo(("c",))}, r"cannot hold itself \(c > c\)"),
        ({}, {"c": Combo(("x", "d")), "d": Combo(("c",))}, r"\(c > d > c\)"),
        ({"e": "c"}, {"c": Combo(("e",))}, r"\(c > c\)"),
        ({"e": "c(low)"}, {"c": Combo(("x", "d(high)")), "d": Combo(("e(9)",))}, r"\(c > d > c\)"),
        ({"x": "y(low)", "y": "z"}, {}, r"routing.aliases.x: 'y\(low\)' is an alias itself"),
        ({}, {"c": Combo(tuple(f"m{n}" for n in range(65)))}, "more than 64"),
        ({"a*": "x", "*b": "y"}, {"c": Combo(("ab",))}, "combos.c: model: 'ab' fits"),
    ],
)
def test_names_that_cannot_be(aliases: dict[str, str], combos: dict[str, Combo], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Names(aliases, combos)


def test_a_tower_of_chains_is_refused_before_it_is_climbed() -> None:
    combos = {f"c{n}": Combo((f"c{n + 1}",) * 2) for n in range(40)}
    with pytest.raises(ValueError, match="more than 64"):
        Names(combos=combos)
