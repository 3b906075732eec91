from broker.model.secret import Secret
from broker.oauth.client import Client, token_request

URL = "https://idp.example.com/token"
FIELDS = {"grant_type": "refresh_token"}


def test_a_public_client_names_itself_in_the_form() -> None:
    request = token_request(URL, Client("me"), FIELDS)
    assert request.form == {"grant_type": "refresh_token", "client_id": "me"}
    assert request.basic is None
    assert not request.spends


def test_a_secret_goes_into_the_form_by_default() -> None:
    request = token_request(URL, Client("me", Secret("fake-secret")), FIELDS, spends=True)
    assert request.form == {**FIELDS, "client_id": "me", "client_secret": Secret("fake-secret")}
    assert request.spends


def test_basic_puts_id_and_secret_into_the_header_and_nowhere_else() -> None:
    request = token_request(URL, Client("me", Secret("fake-secret"), basic=True), FIELDS)
    assert request.form == FIELDS
    assert request.basic == ("me", Secret("fake-secret"))


def test_basic_without_a_secret_is_a_public_client() -> None:
    request = token_request(URL, Client("me", basic=True), FIELDS)
    assert request.form == {**FIELDS, "client_id": "me"}
    assert request.basic is None
