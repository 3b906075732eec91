import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.wording import clean, count, moment, percent, progress_line, size, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7300, "2 h"),
        (200_000, "2 d"),
    ],
)
def test_span(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [(None, "-"), (1000.4, "now"), (999.5, "now"), (1090, "in 1 min"), (400, "10 min ago")],
)
def test_moment(at: float | None, text: str) -> None:
    assert moment(at, 1000.0) == text


def test_never_has_its_own_word() -> None:
    assert moment(None, 0, never="never") == "never"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (20 << 20, "20.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (5000 << 30, "5000.0 GiB"),
    ],
)
def test_size(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("foreign", "text"),
    [
        ("a\x1b[31mb", "a?[31mb"),
        ("a\r\nb\tc", "a b c"),
        ("\u202egnp.exe", "?gnp.exe"),
        ("Grüße 你好", "Grüße 你好"),
        ("  a ", "a"),
    ],
)
def test_clean(foreign: str, text: str) -> None:
    assert clean(foreign) == text


@given(st.text())
def test_cleaned_text_cannot_steer_a_terminal(text: str) -> None:
    cleaned = clean(text)
    assert "\x1b" not in cleaned
    assert "\n" not in cleaned
    assert clean(cleaned) == cleaned


def test_count() -> None:
    assert [count(0, "fault"), count(1, "fault"), count(2, "fault"), count(2, "child", "children")] == [
        "0 faults", "1 fault", "2 faults", "2 children",
    ]  # fmt: skip


def test_progress_line() -> None:
    assert progress_line("Working", 3.2) == "Working (3 s)"
    assert progress_line("Working", 61, 2048) == "Working (1 min, 2.0 KiB)"


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0 %"), (0.001, "<1 %"), (0.01, "1 %"), (0.29, "29 %"), (0.999, "99 %"), (1.0, "100 %"), (1.3, "130 %")],
)
def test_percent(share: float, said: str) -> None:
    assert percent(share) == said
