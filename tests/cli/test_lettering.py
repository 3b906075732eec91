import string

import pytest

from broker.cli.lettering import HEIGHT, large, width


def test_letters_stand_beside_each_other() -> None:
    assert large("I-1", 19, "#") == [
        "#####           #",
        "  #            ##",
        "  #    #####    #",
        "  #             #",
        "#####          ###",
    ]


def test_every_letter_is_another_one_and_as_high_as_wide() -> None:
    alphabet = string.ascii_uppercase + string.digits + "-"
    drawn = {each: large(each, 5) for each in alphabet}
    assert all(lines is not None and len(lines) == HEIGHT for lines in drawn.values())
    assert len({tuple(lines or ()) for lines in drawn.values()}) == len(alphabet)
    assert all(len(line) <= 5 for lines in drawn.values() for line in lines or ())


@pytest.mark.parametrize("text", ["", "abc", "A B", "Ä"])
def test_what_there_is_no_letter_for_is_not_drawn(text: str) -> None:
    assert large(text, 1000) is None


def test_what_is_too_wide_is_not_drawn() -> None:
    assert width("ABCD-EFGH") == 61
    assert large("ABCD-EFGH", 60) is None
    assert large("ABCD-EFGH", 61)
