from urllib.parse import parse_qs, urlsplit

import pytest

from broker.login.google import authorization_url
from broker.model.secret import Secret
from broker.oauth import code

STATE, VERIFIER = Secret("fake-state"), Secret("v" * 64)
ARGUMENTS = ("me", "http://localhost:8085/oauth2callback", ("a", "b"), STATE, VERIFIER)
EXTRA = {"access_type": "offline", "prompt": "consent"}


@pytest.mark.parametrize("endpoint", ["https://accounts.example.com/auth", "http://127.0.0.1:4321/authorize"])
def test_google_s_library_and_ours_build_the_same_request(endpoint: str) -> None:
    theirs = urlsplit(authorization_url(endpoint, *ARGUMENTS, EXTRA))
    ours = urlsplit(code.authorization_url(endpoint, *ARGUMENTS, EXTRA))
    assert theirs[:3] == ours[:3]
    assert parse_qs(theirs.query) == parse_qs(ours.query)


def test_the_verifier_is_not_in_the_url() -> None:
    assert VERIFIER.reveal() not in authorization_url("https://accounts.example.com/auth", *ARGUMENTS, EXTRA)
