import pytest

from broker.translate.claude_signatures import of_next_call, of_thinking, read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (of_thinking("abc="), ("abc=", None)),
        (of_next_call("abc="), (None, "abc=")),
        ("EqQBCkYIARgCKkA=", (None, None)),
        ("", (None, None)),
        (None, (None, None)),
    ],
)
def test_only_marked_signatures_are_taken_back(text, told):
    assert read(text) == told
