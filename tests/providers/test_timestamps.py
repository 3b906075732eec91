import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.providers.timestamps import RFC3339, Civil, Notation, Unix, read, read_seconds, write

T = 1_777_630_830.0  # 2026-05-01T10:20:30Z

SHAPES = [
    ("2026-05-01T10:20:30Z", T),
    ("2026-05-01T12:20:30+02:00", T),
    ("2026-05-01T04:50:30-05:30", T),
    ("2026-05-01T10:20:30.5Z", T + 0.5),
    ("2026-05-01T12:20:30.123456789+02:00", T + 0.123456789),
    ("2026-05-01 10:20:30Z", T),
    ("2026-05-01 10:20:30", T),
    ("2026-05-01 10:20", T - 30),
    ("2026-05-01t10:20:30z", T),
    (1_777_630_830, T),
    (1_777_630_830.25, T + 0.25),
    (1_777_630_830_000, T),
    (1_777_630_830_250, T + 0.25),
    ("1777630830", T),
    ("1777630830.5", T + 0.5),
    ("1777630830000", T),
    (" 2026-05-01T10:20:30Z ", T),
]


@pytest.mark.parametrize(("value", "seconds"), SHAPES)
def test_every_shape_is_read(value: object, seconds: float) -> None:
    stamp = read(value)
    assert stamp is not None
    assert stamp.seconds == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", 0, -5, "0", True, False, [], {}, float("inf"), float("nan"), 1e300, "soon", "2026-05-01", "2026-05-01T10:20:30",
        "2026-13-01T10:20:30Z", "2026-05-01T10:20:30+99:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1" * 19, "٢٠٢٦-٠٥-٠١T١٠:٢٠:٣٠Z",
    ],
)  # fmt: skip
def test_what_is_no_time_is_none(value: object) -> None:
    assert read(value) is None


@pytest.mark.parametrize(
    ("value", "later"),
    [
        ("2026-05-01T10:20:30Z", "2026-05-01T11:20:31Z"),
        ("2026-05-01T12:20:30+02:00", "2026-05-01T13:20:31+02:00"),
        ("2026-05-01T04:50:30-05:30", "2026-05-01T05:50:31-05:30"),
        ("2026-05-01T10:20:30.5Z", "2026-05-01T11:20:31.5Z"),
        ("2026-05-01T12:20:30.000000000+02:00", "2026-05-01T13:20:31.500000000+02:00"),
        ("2026-05-01 10:20:30", "2026-05-01 11:20:31"),
        ("2026-05-01 10:20", "2026-05-01 11:20:31"),
        (1_777_630_830, 1_777_634_431),
        (1_777_630_830.5, 1_777_634_431.5),
        (1_777_630_830_000, 1_777_634_431_500),
        ("1777630830", "1777634431"),
        ("1777630830000", "1777634431500"),
    ],
)
def test_a_new_time_is_written_as_the_old_one_was(value: object, later: object) -> None:
    stamp = read(value)
    assert stamp is not None
    made = write(T + 3601.5, stamp.notation)
    assert made == later
    assert type(made) is type(later)


def test_new_files_get_rfc_3339() -> None:
    assert write(T) == "2026-05-01T10:20:30Z"


def test_times_outside_civil_reckoning_are_brought_inside() -> None:
    assert write(-5.0) == "1970-01-01T00:00:00Z"
    assert write(1e18, Civil(offset=14 * 60)) == "9999-12-31T14:00:00+14:00"


NOTATIONS: st.SearchStrategy[Notation] = st.one_of(
    st.builds(Unix, st.booleans(), st.booleans(), st.booleans()),
    st.builds(Civil, st.sampled_from("T "), st.integers(0, 9), st.none() | st.integers(-1439, 1439)),
    st.builds(Civil, st.just(" "), st.integers(0, 9), st.none(), st.just(False)),
)


@given(st.floats(1_000_000_001, 4e9), NOTATIONS)
def test_what_is_written_is_read_again_and_never_later(seconds: float, notation: Notation) -> None:
    stamp = read(write(seconds, notation))
    assert stamp is not None
    assert seconds - 1 <= stamp.seconds <= seconds + 1e-6


@given(st.floats(1_000_000_001, 4e9), NOTATIONS)
def test_writing_what_was_read_changes_nothing(seconds: float, notation: Notation) -> None:
    text = write(seconds, notation)
    stamp = read(text)
    assert stamp is not None
    if isinstance(notation, Civil) and notation.digits < 6:
        assert write(stamp.seconds + 1e-6, stamp.notation) == text


@given(st.text() | st.integers() | st.floats())
def test_no_value_makes_reading_crash(value: object) -> None:
    stamp = read(value)
    assert stamp is None or write(stamp.seconds, stamp.notation) is not None


def test_the_default_is_the_standard_notation() -> None:
    assert Civil("T", 0, None, zoned=True) == RFC3339


_DIGITS = st.text("0123456789", min_size=2, max_size=2)
_CIVILS = st.builds(
    "{}{}-{}-{}{}{}:{}:{}{}".format,
    st.sampled_from(["20", "19", "00", "99"]), _DIGITS, _DIGITS, _DIGITS, st.sampled_from(["T", "t", " ", "W"]), _DIGITS, _DIGITS, _DIGITS,
    st.sampled_from(["Z", "z", ""]) | st.builds("{}{}:{}".format, st.sampled_from("+-"), _DIGITS, _DIGITS),
)  # fmt: skip


@given(
    _CIVILS
    | st.text(max_size=26)
    | st.floats()
    | st.integers()
    | st.none()
    | st.booleans()
    | st.sampled_from([value for value, _ in SHAPES])
)
@example("2026-W20-5T10:20:30Z")
@example("2026-05-01T24:00:00Z")
@example("2026-05-01T10:20:60Z")
@example("2026-05-01T10:20:30+24:00")
@example("2026-05-01T10:20:30+05:75")
@example("0001-01-01T00:00:00Z")
@example("9999-12-31T23:59:59Z")
@example("2026-05-01T10:20:30+0200")
@example("\u0662026-05-01T10:20:3Z")
def test_the_seconds_alone_are_those_of_the_whole(value: object) -> None:
    whole = read(value)
    assert read_seconds(value) == (whole.seconds if whole is not None else None)
