from broker.providers.native.cliproxyapi import FORMAT
from tests.fakes.native import golden, login, refused


def test_a_file_is_taken_as_it_is() -> None:
    document = golden("cliproxyapi", "claude-ann@example.com.json")
    assert login(FORMAT, document).document == document


def test_a_file_of_nobody() -> None:
    assert "no provider" in refused(FORMAT, {"type": " "}).reason
    assert "no provider" in refused(FORMAT, {}).reason
