from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from broker.model.quick import quickly_made


@dataclass(frozen=True, slots=True)
class Slow:
    a: int
    b: str = "b"
    c: dict[str, str] = field(default_factory=dict, compare=False)
    d: str = field(default="d", repr=False)


@quickly_made
@dataclass(frozen=True, slots=True)
class Quick:
    a: int
    b: str = "b"
    c: dict[str, str] = field(default_factory=dict, compare=False)
    d: str = field(default="d", repr=False)


@pytest.mark.parametrize(
    ("values", "named"),
    [((1,), {}), ((1, "x"), {"d": "y"}), ((), {"a": 1, "c": {"k": "v"}}), ((1, "x", {"k": "v"}, "z"), {})],
)
def test_it_is_made_as_it_would_be(values: tuple[object, ...], named: dict[str, object]) -> None:
    quick, slow = Quick(*values, **named), Slow(*values, **named)
    assert repr(quick) == repr(slow).replace("Slow", "Quick")
    assert (quick.a, quick.b, quick.c, quick.d) == (slow.a, slow.b, slow.c, slow.d)
    assert quick == Quick(*values, **named)
    assert replace(quick, a=7) == Quick(7, quick.b, d=quick.d)
    assert hash(Quick(1)) == hash(Quick(1))


def test_no_two_share_what_a_factory_makes() -> None:
    assert Quick(1).c is not Quick(1).c


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1,), {"a": 2}), ((1,), {"e": 2}), ((1, "b", {}, "d", 5), {})]
)
def test_wrong_arguments_are_refused(values: tuple[object, ...], named: dict[str, object]) -> None:
    with pytest.raises(TypeError):
        Slow(*values, **named)
    with pytest.raises(TypeError):
        Quick(*values, **named)


def test_it_stays_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Quick(1).a = 2  # type: ignore[misc]
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        Quick(1).other = 2  # type: ignore[attr-defined]


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(AssertionError, match="late"):

        @quickly_made
        @dataclass(frozen=True, slots=True)
        class Late:
            late: int = field(init=False, default=1)

    with pytest.raises(AssertionError, match="named"):

        @quickly_made
        @dataclass(frozen=True, slots=True)
        class Named:
            named: int = field(kw_only=True)

    with pytest.raises(AssertionError, match="Checked"):

        @quickly_made
        @dataclass(frozen=True, slots=True)
        class Checked:
            number: int

            def __post_init__(self) -> None:
                raise ValueError
