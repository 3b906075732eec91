"""A signature goes back to its own signer only."""

import pytest

from broker.translate.signers import Signer, marked, of_google, unmarked


@pytest.mark.parametrize("signer", Signer)
def test_a_signature_goes_back_to_its_signer_only(signer):
    told = marked(signer, "EqQB+/==")
    assert [other for other in Signer if unmarked(other, told) is not None] == [signer]
    assert unmarked(signer, told) == "EqQB+/=="
    assert of_google(told) is None


@pytest.mark.parametrize("signer", Signer)
def test_what_nobody_marked_is_not_the_signers(signer):
    assert unmarked(signer, "EqQB") is None
    assert unmarked(signer, None) is None


def test_googles_bear_no_mark():
    assert of_google("CiQB+/==") == "CiQB+/=="
    assert of_google(None) is None


def test_marks_stay_as_they_are_for_clients_hold_them():
    assert marked(Signer.ANTHROPIC, "EqQB") == "anthropic.EqQB"
    assert marked(Signer.OPENAI, "gAAA") == "openai.gAAA"
