from pathlib import Path

import pytest

from broker.doctor.finding import (
    Finding,
    Fix,
    MakeFolder,
    RemoveSocket,
    RemoveTemporary,
    SetMode,
    Severity,
    aside,
    capital,
    command,
    mendable,
    quoted,
)


@pytest.mark.parametrize(
    ("fix", "line"),
    [
        (SetMode(Path("/a b"), 0o700), "chmod 700 '/a b'"),
        (MakeFolder(Path("/a")), "mkdir -p -m 700 /a"),
        (RemoveSocket(Path("/a")), "rm /a"),
        (RemoveTemporary(Path("/$a")), "rm '/$a'"),
    ],
)
def test_a_repair_is_a_command_a_shell_understands(fix: Fix, line: str) -> None:
    assert command(fix) == line


def test_what_can_be_mended_says_where_and_how() -> None:
    fix = SetMode(Path("/a"), 0o600)
    assert mendable("x", Severity.ERROR, "It is open", fix) == Finding(
        "x", Severity.ERROR, "It is open", "Run: chmod 600 /a", "/a", fix
    )


def test_what_is_in_the_way_is_moved_and_not_removed() -> None:
    assert aside(Path("/a b")) == "mv '/a b' '/a b.old'"


@pytest.mark.parametrize(("text", "said"), [("the A", "The A"), ("", ""), ("a", "A")])
def test_a_sentence_begins_with_a_capital(text: str, said: str) -> None:
    assert capital(text) == said


def test_paths_are_quoted() -> None:
    assert quoted("it's") == """'it'"'"'s'"""
