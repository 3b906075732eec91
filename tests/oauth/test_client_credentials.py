import pytest

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.oauth.client_credentials import request
from broker.oauth.failures import FlowFailedError, Misconfigured, RateLimited
from broker.oauth.messages import HttpResponse
from tests.fakes.canned import run_canned

NOW = Now(1_750_000_000.0, 5.0)
URL = "https://idp.example.com/token"
CLIENT = Client("program", Secret("fake-secret"))
ANSWER = HttpResponse(200, body=b'{"access_token":"fake-a","expires_in":600,"refresh_token":"fake-r"}')


def test_it_is_one_request_in_the_client_s_name() -> None:
    [asked], tokens = run_canned(request(URL, CLIENT, ("a", "b"), {"audience": "api"}, NOW), [ANSWER])
    assert asked.form == {
        "grant_type": "client_credentials", "scope": "a b", "audience": "api", "client_id": "program", "client_secret": Secret("fake-secret"),
    }  # fmt: skip
    assert not asked.spends
    assert tokens.access_token == Secret("fake-a")
    assert tokens.expires_at == NOW.wall + 600
    assert tokens.refresh_token is None  # section 4.4.3 knows none, and none is needed


def test_a_renewal_is_the_same_and_spends() -> None:
    basic = Client("program", Secret("fake-secret"), basic=True)
    [asked], _ = run_canned(request(URL, basic, (), {}, NOW, spends=True), [ANSWER])
    assert asked.form == {"grant_type": "client_credentials"}
    assert asked.basic == ("program", Secret("fake-secret"))
    assert asked.spends


def test_extra_parameters_replace_nothing() -> None:
    extra = {"grant_type": "password", "client_id": "x", "client_secret": "x", "resource": "r"}
    [asked], _ = run_canned(request(URL, CLIENT, (), extra, NOW), [ANSWER])
    assert asked.form is not None
    assert (asked.form["grant_type"], asked.form["client_id"]) == ("client_credentials", "program")
    assert asked.form["resource"] == "r"


def test_a_public_client_may_not() -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(request(URL, Client("program"), (), {}, NOW), [])
    assert isinstance(caught.value.failure, Misconfigured)


@pytest.mark.parametrize(
    ("code", "kind"), [("invalid_client", Misconfigured), ("invalid_grant", Misconfigured), ("slow_down", RateLimited)]
)
def test_refusals_are_sorted(code: str, kind: type) -> None:
    refused = HttpResponse(401, body=b'{"error":"' + code.encode() + b'"}')
    with pytest.raises(FlowFailedError) as caught:
        run_canned(request(URL, CLIENT, (), {}, NOW), [refused])
    assert isinstance(caught.value.failure, kind)
