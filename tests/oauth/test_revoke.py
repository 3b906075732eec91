from broker.model.account import Tokens
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.oauth.messages import HttpResponse
from broker.oauth.revoke import revoke, revoked

URL = "https://idp.example.com/revoke"


def test_the_refresh_token_is_revoked_where_there_is_one() -> None:
    request = revoke(URL, Client("me"), Tokens(Secret("fake-access"), Secret("fake-refresh")))
    assert request is not None
    assert request.form == {"token": Secret("fake-refresh"), "token_type_hint": "refresh_token", "client_id": "me"}
    assert not request.spends


def test_else_the_access_token() -> None:
    request = revoke(URL, Client("me"), Tokens(Secret("fake-access")))
    assert request is not None
    assert request.form == {"token": Secret("fake-access"), "token_type_hint": "access_token", "client_id": "me"}


def test_the_token_alone_where_no_client_is_asked_for() -> None:
    request = revoke(URL, None, Tokens(Secret("fake-access"), Secret("fake-refresh")))
    assert request is not None
    assert request.form == {"token": Secret("fake-refresh")}
    assert request.basic is None
    assert revoke(URL, None, Tokens(None)) is None


def test_with_no_token_there_is_nothing_to_revoke() -> None:
    assert revoke(URL, Client("me"), Tokens(None)) is None


def test_what_the_answer_means() -> None:
    assert revoked(HttpResponse(200))
    assert revoked(HttpResponse(204))
    assert revoked(HttpResponse(400, body=b'{"error":"invalid_token"}'))
    assert not revoked(HttpResponse(400, body=b'{"error":"unsupported_token_type"}'))
    assert not revoked(HttpResponse(503))
