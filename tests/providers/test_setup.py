from dataclasses import replace

import pytest

from broker.config import ProviderConfig
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.providers.base import Endpoints, Redirect, RefreshPolicy
from broker.providers.setup import Setup, filled

BASE = Setup(
    name="acme",
    title="Acme",
    client_id="ours",
    endpoints=Endpoints("https://a", "https://t", "https://r", "https://u", "https://d", "https://api"),
    scopes=("a",),
    redirect=Redirect("localhost", 8085, "/cb"),
    policy=RefreshPolicy(lead_seconds=300.0, rotates=False),
    extra_params={"access_type": "offline", "prompt": "consent"},
)


def test_an_empty_table_changes_nothing() -> None:
    assert BASE.overridden(ProviderConfig()) == BASE


def test_every_setting_can_be_put_in_the_place_of_ours() -> None:
    made = BASE.overridden(
        ProviderConfig(
            title="Mine", issuer="https://i", authorize_url="https://a2", token_url="https://t2", revoke_url="https://r2",
            userinfo_url="https://u2", device_url="https://d2", api_url="https://api2", client_id="mine", client_auth="basic",
            scopes=("x", "y"), redirect_port=0, extra_params={"prompt": "none", "hd": "example.com"}, lead_seconds=60.0,
            user_agent="agent/1", options={"region": "x"},
        )
    )  # fmt: skip
    assert made == Setup(
        name="acme",
        title="Mine",
        client_id="mine",
        endpoints=Endpoints("https://a2", "https://t2", "https://r2", "https://u2", "https://d2", "https://api2"),
        issuer="https://i",
        scopes=("x", "y"),
        redirect=Redirect("localhost", 0, "/cb"),
        policy=RefreshPolicy(lead_seconds=60.0, rotates=False),
        extra_params={"access_type": "offline", "prompt": "none", "hd": "example.com"},
        basic=True,
        user_agent="agent/1",
        options={"region": "x"},
        own_client=False,
    )


def test_a_port_of_the_user_s_own_has_no_fallbacks() -> None:
    setup = Setup("acme", "Acme", redirect=Redirect(port=1455, fallback_ports=(1457,)))
    assert setup.overridden(ProviderConfig()).redirect.ports == (1455, 1457)
    assert setup.overridden(ProviderConfig(redirect_port=9)).redirect.ports == (9,)


def test_no_scopes_at_all_is_a_choice() -> None:
    assert BASE.overridden(ProviderConfig(scopes=())).scopes == ()


def test_naming_the_same_client_again_keeps_it_the_vendor_s_own() -> None:
    assert BASE.overridden(ProviderConfig(client_id="ours")).own_client


def test_how_a_client_proves_itself_is_a_setting() -> None:
    client = Client("x", Secret("fake"))
    assert BASE.client(client) is client
    assert BASE.overridden(ProviderConfig(client_auth="basic")).client(client).basic


def test_gaps_are_filled_and_what_is_known_stays() -> None:
    assert filled(Endpoints(token_url="https://mine"), BASE.endpoints).token_url == "https://mine"
    assert filled(Endpoints(token_url="https://mine"), BASE.endpoints).revoke_url == "https://r"


def with_options(**options: str) -> Setup:
    return replace(BASE, options=options)


@pytest.mark.parametrize(
    ("said", "wanted"), [("true", True), (" Yes ", True), ("1", True), ("off", False), ("0", False)]
)
def test_an_option_is_true_or_false(said: str, wanted: bool) -> None:
    assert with_options(sure=said).wants("sure") is wanted
    assert not BASE.wants("sure")


def test_an_option_that_is_neither_is_refused() -> None:
    with pytest.raises(BrokerError, match="sure is true or false") as caught:
        with_options(sure="perhaps").wants("sure")
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_a_page_that_shows_the_code_takes_the_callback_s_place_where_wanted() -> None:
    assert with_options(paste="no").pasting("https://page") == with_options(paste="no")
    made = with_options(paste="true").pasting("https://page").redirect
    assert made == Redirect("localhost", 8085, "/cb", manual_uri="https://page", loopback=False)
