import msgspec
import pytest

from broker.oauth.discovery import Metadata, acceptable_url, discover, well_known
from broker.oauth.failures import FlowFailedError, Misconfigured, Transient
from broker.oauth.messages import HttpResponse
from tests.fakes.canned import run_canned

ISSUER = "https://idp.example.com/tenant"
FULL = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://idp.example.com/authorize",
    "token_endpoint": "https://idp.example.com/token",
    "revocation_endpoint": "https://idp.example.com/revoke",
    "userinfo_endpoint": "https://idp.example.com/me",
    "device_authorization_endpoint": "https://idp.example.com/device",
}


def document(**changes: object) -> HttpResponse:
    return HttpResponse(200, body=msgspec.json.encode({**FULL, **changes}))


MISSING = HttpResponse(404)


def failure(answers: list[HttpResponse], issuer: str = ISSUER) -> object:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(discover(issuer), answers)
    return caught.value.failure


def test_where_metadata_lives_for_issuers_with_and_without_a_path() -> None:
    assert well_known("https://a.example") == (
        "https://a.example/.well-known/oauth-authorization-server",
        "https://a.example/.well-known/openid-configuration",
    )
    assert well_known("https://a.example/x/") == (
        "https://a.example/.well-known/oauth-authorization-server/x",
        "https://a.example/x/.well-known/openid-configuration",
    )


def test_the_first_address_that_answers_counts() -> None:
    asked, found = run_canned(discover(ISSUER), [document()])
    assert [request.url for request in asked] == [well_known(ISSUER)[0]]
    assert found == Metadata(ISSUER, *(str(FULL[key]) for key in list(FULL)[1:]))


@pytest.mark.parametrize("first", [MISSING, HttpResponse(200, body=b"<html>"), HttpResponse(200, body=b"[]")])
def test_openid_configuration_comes_second(first: HttpResponse) -> None:
    asked, found = run_canned(discover(ISSUER), [first, document()])
    assert [request.url for request in asked] == list(well_known(ISSUER))
    assert found.token_url == FULL["token_endpoint"]


def test_endpoints_may_be_missing() -> None:
    _, found = run_canned(discover(ISSUER), [document(revocation_endpoint=None)])
    assert found.revoke_url is None


def test_a_trailing_slash_is_the_same_issuer() -> None:
    _, found = run_canned(discover(ISSUER + "/"), [document()])
    assert found.issuer == ISSUER


@pytest.mark.parametrize("issuer", ["https://evil.example", None, 5])
def test_metadata_of_another_issuer_is_refused(issuer: object) -> None:
    assert failure([document(issuer=issuer)]) == Misconfigured(
        "discovery_failed", f"the metadata of {ISSUER} names another issuer"
    )


@pytest.mark.parametrize(
    "url", ["http://idp.example.com/token", "ftp://x", "token", 5, "https://u@idp.example.com/t", "https://[::1"]
)
def test_an_endpoint_that_is_not_https_is_refused(url: object) -> None:
    found = failure([document(token_endpoint=url)])
    assert isinstance(found, Misconfigured)
    assert "token_endpoint" in found.reason


def test_no_metadata_anywhere_is_a_fault_of_the_config() -> None:
    found = failure([MISSING, MISSING])
    assert isinstance(found, Misconfigured)
    assert "token_url" in found.reason


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_issuer_in_trouble_may_get_better(status: int) -> None:
    assert isinstance(failure([HttpResponse(status), MISSING]), Transient)


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://idp.example.com/x", True),
        ("http://localhost:8000/x", True),
        ("http://127.0.0.1:1/x", True),
        ("http://[::1]:1/x", True),
        ("http://idp.example.com/x", False),
        ("https:///x", False),
        ("https://user@idp.example.com", False),
        ("https://[::1", False),
        ("javascript:alert(1)", False),
    ],
)
def test_which_endpoints_may_be_used(url: str, good: bool) -> None:
    assert acceptable_url(url) is good
