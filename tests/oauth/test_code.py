from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.oauth.code import (
    Approved,
    Authorization,
    Denied,
    Unreadable,
    address,
    authorization_url,
    exchange,
    read_callback,
    refusal,
    state_matches,
)
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.messages import HttpResponse
from broker.oauth.pkce import challenge
from tests.fakes.canned import run_canned

VERIFIER = Secret("fake-verifier-" + "v" * 40)
STATE = Secret("fake-state")
NOW = Now(1_750_000_000.0, 5.0)
AUTHORIZATION = Authorization("https://idp.example.com/a", "http://localhost:8085/cb", STATE, VERIFIER)


def url(endpoint: str = "https://idp.example.com/a", scopes: tuple[str, ...] = ("a", "b")) -> str:
    return authorization_url(endpoint, "me", "http://localhost:8085/cb", scopes, STATE, VERIFIER, {"prompt": "consent"})


def test_a_parameter_set_to_nothing_is_left_out() -> None:
    absent = {"response_type": "", "client_id": "", "idp": "Google"}
    made = authorization_url("https://idp.example.com/a", "me", "x://y", ("a",), STATE, VERIFIER, absent)
    assert set(parse_qs(urlsplit(made).query)) == {
        "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method", "idp"
    }  # fmt: skip


def test_the_url_has_what_the_standards_ask_for() -> None:
    query = parse_qs(urlsplit(url()).query)
    assert query == {
        "response_type": ["code"],
        "client_id": ["me"],
        "redirect_uri": ["http://localhost:8085/cb"],
        "scope": ["a b"],
        "state": ["fake-state"],
        "code_challenge": [challenge(VERIFIER)],
        "code_challenge_method": ["S256"],
        "prompt": ["consent"],
    }


def test_the_verifier_is_not_in_the_url() -> None:
    assert VERIFIER.reveal() not in url()


def test_a_query_the_endpoint_has_is_kept_and_a_fragment_is_not() -> None:
    made = urlsplit(url("https://idp.example.com/a?tenant=x#frag"))
    assert made.query.startswith("tenant=x&response_type=code")
    assert made.fragment == ""


def test_an_address_has_the_parameters_that_are_not_empty_behind_its_own() -> None:
    made = address("https://x.example/p?a=1#f", {"redirect": "http://y", "state": Secret("s t"), "none": ""})
    assert made == "https://x.example/p?a=1&redirect=http%3A%2F%2Fy&state=s+t"
    assert address("https://x.example/p", {}) == "https://x.example/p"


def test_no_scopes_is_no_scope_parameter() -> None:
    assert "scope=" not in url(scopes=())


def test_the_exchange_repeats_redirect_and_verifier() -> None:
    flow = exchange("https://idp.example.com/t", AUTHORIZATION, Secret("fake-code"), Client("me"), NOW)
    asked, tokens = run_canned(flow, [HttpResponse(200, body=b'{"access_token":"fake-access"}')])
    assert asked[0].form == {
        "grant_type": "authorization_code",
        "code": Secret("fake-code"),
        "redirect_uri": "http://localhost:8085/cb",
        "code_verifier": VERIFIER,
        "client_id": "me",
    }
    assert not asked[0].spends
    assert tokens.access_token == Secret("fake-access")


def test_a_refused_exchange_is_sorted() -> None:
    flow = exchange("https://idp.example.com/t", AUTHORIZATION, Secret("fake-code"), Client("me"), NOW)
    with pytest.raises(FlowFailedError) as caught:
        run_canned(flow, [HttpResponse(400, body=b'{"error":"invalid_grant"}')])
    assert isinstance(caught.value.failure, Permanent)


@pytest.mark.parametrize(
    ("pasted", "code", "state"),
    [
        ("http://localhost:8085/oauth2callback?state=S&code=4/0fake-code&scope=x", "4/0fake-code", "S"),
        ("http://127.0.0.1:8085/cb?code=4%2F0fake&state=S", "4/0fake", "S"),
        ("?code=fake-code&state=S", "fake-code", "S"),
        ("code=fake-code&state=S", "fake-code", "S"),
        ("state=S&code=fake-code", "fake-code", "S"),
        ("localhost:8085/cb?code=fake-code&state=S", "fake-code", "S"),
        ("http://localhost/cb#code=fake-code&state=S", "fake-code", "S"),
        ("#code=fake-code&state=S", "fake-code", "S"),
        ("fake-code#S123", "fake-code", "S123"),
        ("http://localhost/cb?code=fake-code#S123", "fake-code", "S123"),
        ("fake-code", "fake-code", None),
        ("4/0AbFake_code-1", "4/0AbFake_code-1", None),
        ("  'fake-code'\n", "fake-code", None),
        ("<http://localhost/cb?code=fake-code&state=S>", "fake-code", "S"),
        ("http://localhost/cb?code=fake-\n  code&state=S", "fake-code", "S"),
        ("?code=first&code=second&state=S", "first", "S"),
        ("?code=fake-code#code=other&state=S", "fake-code", "S"),
        ("?code=fake-code&state=", "fake-code", None),
    ],
)
def test_every_way_to_paste_an_approval(pasted: str, code: str, state: str | None) -> None:
    assert read_callback(Secret(pasted)) == Approved(Secret(code), Secret(state) if state else None)


def test_an_error_is_told_in_plain_words() -> None:
    assert read_callback(Secret("http://localhost/cb?error=access_denied&state=S")) == Denied(
        "access_denied", "the access was refused on the provider's page", Secret("S")
    )


def test_the_provider_s_own_words_are_added() -> None:
    told = read_callback(Secret("?error=odd_thing&error_description=Ask+your+admin."))
    assert told == Denied(
        "odd_thing", "the provider refused the login (odd_thing) (the provider says: Ask your admin.)", None
    )


def test_what_only_the_description_says_is_told_in_plain_words() -> None:
    given = read_callback(Secret("?error=access_denied&error_description=missing_codex_entitlement+for+org&state=s"))
    assert isinstance(given, Denied)
    assert given.reason.startswith("this account, or its workspace, has no right to use Codex (the provider says: ")


def test_an_error_wins_over_a_code() -> None:
    assert isinstance(read_callback(Secret("?error=access_denied&code=fake-code")), Denied)


def test_a_description_cannot_smuggle_a_token_or_a_line_break() -> None:
    shown = refusal("access_denied", "bad\x1b[2J " + "aZ9" * 20)
    assert "aZ9" not in shown
    assert shown.isprintable()
    assert refusal("\n") == "the provider refused the login (no reason given)"


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "   ",
        "x" * 20_000,
        "http://localhost/cb",
        "http://localhost/cb?state=S",
        "not a code!",
        "code=",
        "abc#",
        "fake-code#ä",
        "hello there",
    ],
)
def test_what_is_no_callback_is_told_as_such(pasted: str) -> None:
    assert isinstance(read_callback(Secret(pasted)), Unreadable)


@given(st.text(max_size=200))
def test_no_text_makes_reading_crash_or_be_repeated(text: str) -> None:
    match read_callback(Secret(text)):
        case Unreadable(reason):
            assert len(text.strip()) < 8 or text.strip() not in reason
        case Approved(code, _):
            assert code
        case Denied(_, reason, _):
            assert reason.isprintable()


def test_states_are_compared() -> None:
    assert state_matches(Secret("a"), Secret("a"))
    assert not state_matches(Secret("b"), Secret("a"))
    assert not state_matches(None, Secret("a"))
