import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.translate.gemini_client_signatures import pack, read
from broker.translate.gemini_request import UNSIGNED
from broker.translate.ir import Thinking
from broker.translate.signers import Signer, marked

THOUGHTS = st.lists(
    st.builds(Thinking, st.text(max_size=5), st.none() | st.text(max_size=5), st.none() | st.text(max_size=5)),
    min_size=1,
    max_size=3,
)


@given(st.none() | st.text(max_size=5), THOUGHTS)
def test_what_is_packed_comes_back_in_either_alphabet(own, thoughts):
    packed = pack(own, thoughts)
    for returned in (packed, packed.replace("+", "-").replace("/", "_"), packed.rstrip("=")):
        assert read(returned) == (own, tuple(thoughts))
    assert base64.b64decode(packed, validate=True)


def test_a_signature_of_google_alone_stays_as_it_is_and_a_marked_one_becomes_base64():
    assert pack("CiQB", ()) == "CiQB"
    assert pack(None, ()) is None
    assert read("CiQB") == ("CiQB", ())
    theirs = marked(Signer.ANTHROPIC, "EqQB")
    assert base64.b64decode(pack(theirs, ()), validate=True)
    assert read(pack(theirs, ())) == (theirs, ())


@pytest.mark.parametrize("broken", ["", "!!!!", "AAAA", base64.b64encode(b'["x",[["\xff"]]]').decode(), "W10="])
def test_what_is_broken_or_stands_for_a_lost_one_proves_nothing(broken):
    assert read(base64.b64encode(b"ccsb01").decode() + broken) == (None, ())
    assert read(UNSIGNED) == (None, ())
    assert read("") == (None, ())
    assert read(None) == (None, ())
