import re

import pytest

from broker.model.secret import Secret
from broker.oauth.pkce import challenge, new_state, new_verifier
from tests.fakes.clock import FakeChance


def test_the_challenge_of_the_standard_s_example() -> None:
    # RFC 7636 appendix B
    assert (
        challenge(Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
        == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_a_drawn_verifier_has_the_form_the_standard_asks_for() -> None:
    chance = FakeChance()
    one, other = new_verifier(chance), new_verifier(chance)
    assert re.fullmatch(r"[A-Za-z0-9\-._~]{43,128}", one.reveal())
    assert one != other
    assert len(challenge(one)) == 43


def test_a_state_has_256_bits_and_is_new_each_time() -> None:
    chance = FakeChance()
    one, other = new_state(chance), new_state(chance)
    assert len(one.reveal()) == 43
    assert one != other


@pytest.mark.parametrize("text", ["", "a" * 42, "a" * 129, "a" * 50 + "=", "ä" * 50])
def test_a_verifier_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="43 to 128"):
        challenge(Secret(text))
