import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Digest, Secret


@given(st.text(), st.text())
def test_equality_is_that_of_the_text(a: str, b: str) -> None:
    a, b = (text.encode("utf-8", "replace").decode() for text in (a, b))
    assert (Secret(a) == Secret(b)) == (a == b)
    assert Secret(a) != a
    assert (Secret(a).digest() == Secret(b).digest()) == (a == b)


def test_truth_and_length_are_those_of_the_text() -> None:
    assert not Secret("")
    assert Secret("x")
    assert len(Secret("fake")) == 4


def test_secrets_can_be_keys() -> None:
    assert {Secret("a"): 1}[Secret("a")] == 1


def test_reveal_is_the_way_out() -> None:
    assert Secret("fake").reveal() == "fake"


def test_a_digest_is_stable_and_shows_little() -> None:
    digest = Secret("fake").digest()
    assert digest == Secret("fake").digest()
    assert digest == Digest(digest.text)
    assert digest != digest.text
    assert len({digest, Secret("fake").digest()}) == 1
    assert digest.text not in repr(digest)


@pytest.mark.parametrize("text", ["", "abc", "G" * 32, "A" * 32, "a" * 33])
def test_only_digests_are_digests(text: str) -> None:
    with pytest.raises(ValueError, match="32 lower-case"):
        Digest(text)
