import json
from dataclasses import replace

import pytest

from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.device import DeviceCode
from broker.oauth.failures import FlowFailedError, Misconfigured
from broker.oauth.messages import HttpResponse
from broker.providers.base import Authorization, Client, Endpoints, LoginFlow, SecretSource, SourceKind
from broker.providers.setup import Setup
from broker.providers.standard import StandardProvider
from tests.fakes.canned import run_canned

NOW = Now(1_750_000_000.0, 5.0)
ISSUER = "https://idp.example.com"
ENDPOINTS = Endpoints("https://idp.example.com/a", "https://idp.example.com/t", "https://idp.example.com/r")
PROVIDER = StandardProvider(Setup("acme", "Acme", "me", ENDPOINTS, scopes=("a",)))
RECORD = Record(AccountId("acme", "x"), Tokens(Secret("fake-a"), Secret("fake-r")))
CLIENT = Client("me", Secret("fake-secret"))
ANSWER = HttpResponse(200, body=b'{"access_token":"fake-a2"}')


def metadata(**fields: str) -> HttpResponse:
    return HttpResponse(200, body=json.dumps({"issuer": ISSUER, **fields}).encode())


def test_it_tells_its_settings() -> None:
    assert (PROVIDER.name, PROVIDER.title, PROVIDER.client_id, PROVIDER.scopes) == ("acme", "Acme", "me", ("a",))
    assert PROVIDER.endpoints == ENDPOINTS
    assert PROVIDER.redirect.path == "/callback"
    assert PROVIDER.policy.rotates
    assert PROVIDER.flows == (LoginFlow.CODE,)
    assert not PROVIDER.needs_secret
    assert not PROVIDER.google
    assert PROVIDER.secret_sources == ()
    assert PROVIDER.extra_params == {}
    assert PROVIDER.find_secret(SecretSource(SourceKind.ENV, "X"), "fake") is None


def test_exchange_and_refresh_go_to_the_token_endpoint_in_the_way_the_settings_say() -> None:
    authorization = Authorization("u", "http://localhost:1/cb", Secret("s"), Secret("v" * 43))
    asked, _ = run_canned(PROVIDER.exchange(authorization, Secret("fake-code"), CLIENT, NOW), [ANSWER])
    assert (asked[0].url, asked[0].basic) == (ENDPOINTS.token_url, None)
    basic = StandardProvider(Setup("acme", "Acme", "me", ENDPOINTS, basic=True))
    asked, _ = run_canned(basic.refresh(RECORD, CLIENT, NOW), [ANSWER])
    assert asked[0].basic == ("me", Secret("fake-secret"))


DEVICE_URL = "https://idp.example.com/d"
GIVEN = DeviceCode(Secret("fake-device"), "ABCD", "https://idp.example.com/activate", None, 600.0, 5.0)


@pytest.mark.parametrize(
    ("endpoints", "issuer", "flows"),
    [
        (ENDPOINTS, None, (LoginFlow.CODE,)),
        (replace(ENDPOINTS, device_url=DEVICE_URL), None, (LoginFlow.CODE, LoginFlow.DEVICE)),
        (Endpoints(token_url="https://idp.example.com/t", device_url=DEVICE_URL), None, (LoginFlow.DEVICE,)),
        (Endpoints(device_url=DEVICE_URL), ISSUER, (LoginFlow.CODE, LoginFlow.DEVICE)),
        (Endpoints(), ISSUER, (LoginFlow.CODE,)),
        (Endpoints(), None, (LoginFlow.CODE,)),
    ],
)
def test_the_ways_to_log_in_follow_from_the_endpoints(
    endpoints: Endpoints, issuer: str | None, flows: tuple[LoginFlow, ...]
) -> None:
    assert StandardProvider(Setup("acme", "Acme", "me", endpoints, issuer=issuer)).flows == flows


def test_a_login_by_device_goes_to_its_two_endpoints_in_the_way_the_settings_say() -> None:
    setup = Setup(
        "acme", "Acme", "me", replace(ENDPOINTS, device_url=DEVICE_URL), scopes=("a",), extra_params={"x": "y"}, basic=True
    )  # fmt: skip
    provider = StandardProvider(setup)
    answer = {"device_code": "fake-device", "user_code": "ABCD", "verification_uri": "https://idp.example.com/activate"}
    asked, code = run_canned(
        provider.request_code(CLIENT, NOW), [HttpResponse(200, body=json.dumps({**answer, "expires_in": 600}).encode())]
    )
    assert code == GIVEN
    assert (asked[0].url, asked[0].form) == (DEVICE_URL, {"scope": "a", "x": "y"})
    assert asked[0].basic == ("me", Secret("fake-secret"))
    asked, tokens = run_canned(provider.poll(GIVEN, CLIENT, lambda: NOW), [ANSWER])
    assert (asked[0].url, asked[0].basic) == (ENDPOINTS.token_url, ("me", Secret("fake-secret")))
    assert tokens.access_token == Secret("fake-a2")


def test_without_a_device_endpoint_no_code_is_asked_for() -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(PROVIDER.request_code(CLIENT, NOW), [])
    assert isinstance(caught.value.failure, Misconfigured)
    with pytest.raises(FlowFailedError):
        run_canned(PROVIDER.with_endpoints(Endpoints(device_url=DEVICE_URL)).poll(GIVEN, CLIENT, lambda: NOW), [])


def test_revocation_needs_an_endpoint() -> None:
    request = PROVIDER.revoke(RECORD, CLIENT)
    assert request is not None
    assert request.url == ENDPOINTS.revoke_url
    assert PROVIDER.with_endpoints(Endpoints(token_url="https://t")).revoke(RECORD, CLIENT) is None


def test_without_a_token_endpoint_nothing_is_sent_and_the_config_is_blamed() -> None:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(PROVIDER.with_endpoints(Endpoints()).refresh(RECORD, CLIENT, NOW), [])
    assert isinstance(caught.value.failure, Misconfigured)


def test_discovery_is_needed_only_where_something_is_missing() -> None:
    assert PROVIDER.endpoints_needed() is None
    assert StandardProvider(Setup("acme", "Acme", endpoints=ENDPOINTS, issuer=ISSUER)).endpoints_needed() is None
    assert StandardProvider(Setup("acme", "Acme")).endpoints_needed() is None


def test_discovery_fills_the_gaps_and_what_the_config_says_stays() -> None:
    unresolved = StandardProvider(
        Setup("acme", "Acme", endpoints=Endpoints(revoke_url="https://mine/r"), issuer=ISSUER)
    )
    flow = unresolved.endpoints_needed()
    assert flow is not None
    _, endpoints = run_canned(
        flow,
        [
            metadata(
                authorization_endpoint="https://x/a",
                token_endpoint="https://x/t",
                revocation_endpoint="https://x/r",
                device_authorization_endpoint="https://x/d",
            )
        ],
    )
    assert endpoints == Endpoints("https://x/a", "https://x/t", "https://mine/r", device_url="https://x/d")
    resolved = unresolved.with_endpoints(endpoints)
    assert resolved.endpoints == endpoints
    assert resolved.endpoints_needed() is None
    assert resolved.flows == (LoginFlow.CODE, LoginFlow.DEVICE)


def test_metadata_without_a_token_endpoint_is_of_no_use() -> None:
    flow = StandardProvider(Setup("acme", "Acme", issuer=ISSUER)).endpoints_needed()
    assert flow is not None
    with pytest.raises(FlowFailedError) as caught:
        run_canned(flow, [metadata(authorization_endpoint="https://x/a")])
    assert isinstance(caught.value.failure, Misconfigured)


def test_a_login_has_the_options_the_provider_knows_and_no_others() -> None:
    with pytest.raises(BrokerError) as caught:
        PROVIDER.for_login({"region": "x"}, Secret("s"))
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert "its options: none" in caught.value.detail
    made = Regional(Setup("acme", "Acme", "me", ENDPOINTS, options={"region": "a", "host": "h"})).for_login(
        {"region": "b"}, Secret("seed")
    )
    assert made.setup.options == {"region": "b", "host": "h"}
    assert made.seed == Secret("seed")


class Regional(StandardProvider):
    @property
    def options(self) -> dict[str, str]:
        return {"region": "Where it is.", "host": "Which one."}


def test_every_request_has_the_user_agent_of_the_settings() -> None:
    named = StandardProvider(
        Setup("acme", "Acme", "me", replace(ENDPOINTS, device_url=DEVICE_URL), user_agent="agent/1")
    )
    assert PROVIDER.headers == {}
    authorization = Authorization("u", "http://localhost:1/cb", Secret("s"), Secret("v" * 43))
    code = HttpResponse(
        200, body=b'{"device_code":"fake","user_code":"A","verification_uri":"https://idp.example.com/a"}'
    )
    asked = [
        *run_canned(named.exchange(authorization, Secret("fake-code"), CLIENT, NOW), [ANSWER])[0],
        *run_canned(named.refresh(RECORD, CLIENT, NOW), [ANSWER])[0],
        *run_canned(named.request_code(CLIENT, NOW), [code])[0],
        *run_canned(named.poll(GIVEN, CLIENT, lambda: NOW), [ANSWER])[0],
        named.revoke(RECORD, CLIENT),
    ]
    assert [each.headers["User-Agent"] for each in asked if each] == ["agent/1"] * 5


def test_the_standards_know_no_quota() -> None:
    assert PROVIDER.quota(RECORD, NOW) is None


def test_the_authorization_url_is_the_standard_s_and_a_notice_the_settings() -> None:
    url = PROVIDER.authorization_url(CLIENT, "http://localhost:1/cb", Secret("fake-state"), Secret("v" * 43))
    assert url.startswith("https://idp.example.com/a?response_type=code&client_id=me&redirect_uri=http%3A%2F%2Flocal")
    assert "&scope=a&state=fake-state&code_challenge=" in url
    assert PROVIDER.notice == ""
    assert StandardProvider(Setup("acme", "Acme", notice="It ends.")).notice == "It ends."


def test_logins_are_people_s() -> None:
    with pytest.raises(FlowFailedError, match="no grants to programs"):
        run_canned(PROVIDER.grant_to_client(Client("x"), Now(0.0, 0.0)), [])
