import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId, Tokens
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.providers.base import Identity
from broker.providers.naming import file_piece, first_label, new_record, relabelled, safe_label, stem

TOKENS = Tokens(Secret("fake-a"), Secret("fake-r"))


@given(st.text(max_size=300))
def test_a_safe_label_is_one_or_nothing(text: str) -> None:
    label = safe_label(text)
    assert label == "" or AccountId("x", label).label == label


def test_the_first_candidate_that_can_be_a_label_counts() -> None:
    assert first_label(None, " ", "/", "a/b", "c") == "a-b"
    with pytest.raises(ValueError, match="no label"):
        first_label(None, "")


@given(st.text(max_size=300))
def test_a_piece_of_a_file_name_is_safe(text: str) -> None:
    piece = file_piece(text)
    assert not piece.startswith(".")
    assert not set(piece) & set('/\\:*?"<>|\0\n')
    assert len(piece) <= 100


def test_stems() -> None:
    assert stem("gemini-a.json") == "gemini-a"
    assert stem("sub/X.JSON") == "X"
    assert stem("plain") == "plain"


@pytest.mark.parametrize(
    ("identity", "label"),
    [
        (Identity("a@example.com", "1", {"project_id": "p"}), "a@example.com"),
        (Identity(None, "1", {"project_id": "p"}), "1"),
        (Identity(None, None, {"project_id": "p"}), "p"),
    ],
)
def test_a_new_login_is_named_after_who_it_is(identity: Identity, label: str) -> None:
    record = new_record("acme", TOKENS, identity, None)
    assert record.account == AccountId("acme", label)
    assert (record.email, record.subject, record.facts) == (identity.email, identity.subject, identity.facts)


def test_a_login_nobody_names_is_named_after_its_grant() -> None:
    named = new_record("acme", TOKENS, Identity(), None).account.label
    assert named == f"login-{Secret('fake-r').digest().text[:8]}"
    assert new_record("acme", Tokens(Secret("fake-a")), Identity(), None).account.label.startswith("login-")
    assert new_record("acme", Tokens(None), Identity(), None).account.label == "login"


def test_the_user_s_label_counts_and_must_be_one() -> None:
    assert new_record("acme", TOKENS, Identity("a@example.com"), "work").account.label == "work"
    with pytest.raises(BrokerError, match="label"):
        new_record("acme", TOKENS, Identity(), "a/b")


def test_a_relabelled_file_keeps_its_other_fields_and_their_order() -> None:
    assert relabelled({"type": "x", "label": "old", "a": 1}, "new") == {"type": "x", "label": "new", "a": 1}
    assert list(relabelled({"type": "x"}, "new")) == ["type", "label"]
