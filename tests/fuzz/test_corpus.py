"""Replays what fuzzing starts from and what it found: `make fuzz` looks for more (tests/fuzz/__main__.py)."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parents[1] / "corpus" / "framing"


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once_is_not_found_again(target: str) -> None:
    files = sorted((CORPUS / target).iterdir())
    assert files
    for each in files:
        try:
            TARGETS[target](each.read_bytes())
        except Exception as error:
            raise AssertionError(f"{target}/{each.name}") from error


def test_every_folder_of_the_corpus_is_replayed_and_is_small() -> None:
    assert {each.name for each in CORPUS.iterdir()} == set(TARGETS)
    assert all(each.stat().st_size <= 4096 for each in CORPUS.rglob("*") if each.is_file())
