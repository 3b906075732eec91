import pytest

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.messages import HttpResponse
from broker.oauth.refresh import refresh, request
from tests.fakes.canned import run_canned

URL = "https://idp.example.com/token"
NOW = Now(1_750_000_000.0, 5.0)
OLD = Tokens(Secret("fake-access-1"), Secret("fake-refresh-1"), expires_at=1.0)
CLIENT = Client("me", Secret("fake-secret"))


def renewed(body: bytes, status: int = 200) -> Tokens:
    asked, tokens = run_canned(refresh(URL, CLIENT, OLD, NOW), [HttpResponse(status, body=body)])
    assert [request.spends for request in asked] == [True]
    return tokens


def test_the_request_is_the_standard_s_and_spends() -> None:
    asked, _ = run_canned(refresh(URL, CLIENT, OLD, NOW), [HttpResponse(200, body=b'{"access_token":"fake-access-2"}')])
    (request,) = asked
    assert (request.method, request.url, request.spends) == ("POST", URL, True)
    assert request.form == {
        "grant_type": "refresh_token",
        "refresh_token": OLD.refresh_token,
        "client_id": "me",
        "client_secret": CLIENT.secret,
    }


def test_a_rotated_token_replaces_the_old() -> None:
    tokens = renewed(b'{"access_token":"fake-access-2","refresh_token":"fake-refresh-2","expires_in":60}')
    assert tokens.refresh_token == Secret("fake-refresh-2")
    assert tokens.expires_at == NOW.wall + 60


def test_an_answer_without_a_new_refresh_token_keeps_the_old() -> None:
    assert renewed(b'{"access_token":"fake-access-2"}').refresh_token == OLD.refresh_token


def test_a_refusal_is_sorted() -> None:
    with pytest.raises(FlowFailedError) as caught:
        renewed(b'{"error":"invalid_grant"}', 400)
    assert isinstance(caught.value.failure, Permanent)


def test_a_vendor_s_own_fields_stand_in_the_form() -> None:
    made = request(URL, Client("app"), OLD, {"scope": "a b"})
    assert made.spends
    assert made.form == {
        "grant_type": "refresh_token",
        "refresh_token": OLD.refresh_token,
        "scope": "a b",
        "client_id": "app",
    }


def test_without_a_refresh_token_nothing_is_sent() -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(refresh(URL, CLIENT, Tokens(Secret("fake-access-1")), NOW), [])
    assert caught.value.failure == Permanent(
        "no_refresh_token", "the login has no refresh token, so it cannot be renewed"
    )
