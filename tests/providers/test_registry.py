import pytest

from broker.config import ProviderConfig
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.discovery import acceptable_url
from broker.providers.base import Endpoints, LoginFlow
from broker.providers.registry import BUILT_IN, build

OWN = ProviderConfig(kind="oauth2", issuer="https://idp.example.com", client_id="me")


def test_with_no_config_there_are_the_built_in_ones() -> None:
    registry = build({})
    assert registry.names == tuple(sorted(BUILT_IN))
    assert "gemini" in registry
    assert [provider.name for provider in registry] == list(BUILT_IN)


def test_the_config_changes_a_built_in_one_and_adds_its_own() -> None:
    registry = build({"gemini": ProviderConfig(redirect_port=0, token_url="https://t.example.com"), "acme": OWN})
    assert registry.names == tuple(sorted(["acme", *BUILT_IN]))
    assert registry.get("gemini").redirect.port == 0
    assert registry.get("gemini").endpoints.token_url == "https://t.example.com"
    assert registry.get("acme").endpoints_needed() is not None


def test_an_unknown_provider_is_told_with_those_there_are() -> None:
    with pytest.raises(BrokerError, match=r"there are: acme, .*gemini, ") as caught:
        build({"acme": OWN}).get("nope")
    assert caught.value.code is ErrorCode.UNKNOWN_PROVIDER


def test_an_auth_file_finds_its_provider() -> None:
    registry = build({"acme": OWN})
    for kind, name in (("gemini", "gemini"), ("gemini-cli", "gemini"), ("acme", "acme")):
        found = registry.of_document({"type": kind})
        assert found is not None
        assert found.name == name
    assert registry.of_document({"type": "nobodys"}) is None
    assert registry.of_document({}) is None


def test_a_resolved_provider_takes_the_place_of_the_other() -> None:
    registry = build({"acme": OWN})
    resolved = registry.get("acme").with_endpoints(Endpoints(token_url="https://t.example.com"))
    after = registry.replaced(resolved)
    assert after.get("acme").endpoints_needed() is None
    assert registry.get("acme").endpoints_needed() is not None


@pytest.mark.parametrize(
    ("name", "table", "words"),
    [
        ("gemini", OWN, "built-in"),
        ("gemini-cli", OWN, "built-in"),
        ("acme", ProviderConfig(client_id="me"), 'kind = "oauth2"'),
    ],
)
def test_a_table_that_is_neither_or_both_is_a_fault(name: str, table: ProviderConfig, words: str) -> None:
    with pytest.raises(BrokerError, match=words) as caught:
        build({name: table})
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_the_table_of_built_in_providers_is_sound() -> None:
    ports = [port for setup, _ in BUILT_IN.values() for port in setup.redirect.ports if port]
    assert len(ports) == len(set(ports))
    for name, (setup, make) in BUILT_IN.items():
        provider = make(setup)
        assert provider.name == setup.name == name
        if not provider.flows:
            continue  # a key: no OAuth at all
        assert provider.client_id
        assert provider.scopes or name in {"iflow", "kimi"}  # whose registrations know no scopes
        assert provider.claims({"type": name})
        urls = [setup.endpoints.token_url, setup.endpoints.api_url]
        urls += [setup.endpoints.authorize_url] if LoginFlow.CODE in provider.flows else []
        urls += [setup.endpoints.device_url] if LoginFlow.DEVICE in provider.flows else []
        assert all(url and url.startswith("https://") and acceptable_url(url) for url in urls)


def test_an_option_nobody_knows_is_a_fault() -> None:
    with pytest.raises(BrokerError) as caught:
        build({"gemini": ProviderConfig(options={"colour": "red"})})
    assert "providers.gemini.options: there is no 'colour'" in caught.value.detail


@pytest.mark.parametrize("name", BUILT_IN)
def test_no_other_provider_claims_what_is_called_like_a_built_in_one(name: str) -> None:
    registry = build({"acme": OWN})
    claiming = [each.name for each in registry if each.claims({"type": name})]
    assert claiming in ([name], [])  # an API key's type is another word
