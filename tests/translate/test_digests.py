import uuid

from hypothesis import given
from hypothesis import strategies as st

from broker.translate.digests import number_of, uuid_of


@given(st.text())
def test_a_text_keeps_its_ids(text: str) -> None:
    assert uuid.UUID(uuid_of(text)).version == 4
    assert uuid_of(text) == uuid_of(text)
    assert 0 <= number_of(text) < 2**63
    assert number_of(text) == number_of(text)


def test_texts_differ() -> None:
    assert uuid_of("a") != uuid_of("b")
    assert number_of("a") != number_of("b")
    assert uuid_of("\ud800")


@given(text=st.text())
def test_bytes_have_the_number_of_their_text(text: str) -> None:
    assert number_of(memoryview(text.encode())) == number_of(text)
