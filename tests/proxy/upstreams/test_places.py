import ast

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.upstreams.places import TOLD, Places
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from tests.architecture.imports import modules, tree

NOWHERE = Places({}, {})
HERE = "http://127.0.0.1:1"


def lease(provider: str, **facts: str) -> Lease:
    return Lease(
        account=f"{provider}/a", provider=provider, generation=1, access_token=Secret("fake-access-1"), facts=facts
    )


def places(provider: str, places: Places = NOWHERE, **facts: str) -> tuple[str, ...]:
    return places.of(UPSTREAMS[PROVIDERS[provider]], lease(provider, **facts))


def refused(provider: str, places_: Places = NOWHERE, **facts: str) -> str:
    with pytest.raises(BrokerError) as caught:
        places(provider, places_, **facts)
    assert caught.value.code is ErrorCode.MISCONFIGURED
    assert caught.value.account == f"{provider}/a"
    return caught.value.detail


def test_every_vendor_lies_where_it_says() -> None:
    for provider in PROVIDERS.keys() - {"anthropic-compatible", "openai-compatible"}:
        assert all(url.startswith("https://") for url in places(provider, project_id="p", host="github.com"))


@pytest.mark.parametrize("provider", sorted(name for name in TOLD if name in PROVIDERS and not TOLD[name].anywhere))
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example",
        "https://evil.example/v1",
        "http://127.0.0.1:9999",
        "https://{0}.evil.example",
        "https://evil{0}",
        "https://{0}@evil.example",
        "https://evil.example#.{0}",
        "https://evil.example?.{0}",
        "https://evil.example\\.{0}",
        "https://evil.example/.{0}",
        "https://evil.example:443/{0}",
        "//{0}",
        "https:/{0}",
        "ftp://{0}",
        "https://{0}\r\nx: y",
        "nonsense",
    ],
)
def test_a_tampered_file_sends_no_token_elsewhere(provider: str, url: str) -> None:
    told = TOLD[provider]
    for domain in told.domains:
        text = refused(provider, **{told.fact: url.format(domain), "project_id": "p"})
        assert "none of its vendor's" in text or "has no TLS" in text or "should be the address" in text


@pytest.mark.parametrize("provider", sorted(name for name in TOLD if name in PROVIDERS and not TOLD[name].anywhere))
def test_an_account_may_name_another_host_of_its_vendor(provider: str) -> None:
    told = TOLD[provider]
    for domain in told.domains:
        url = f"https://eu.{domain}/Path/v1/"
        assert places(provider, **{told.fact: url}) == (url.rstrip("/"),)
        assert "no TLS" in refused(provider, **{told.fact: f"http://{domain}"})


def test_a_key_of_an_api_of_one_s_own_goes_where_its_file_says() -> None:
    there = Places({PROVIDERS["openai-compatible"]: (HERE,)}, {})
    assert places("openai-compatible", there, base_url="https://llm.example:8443/v1/") == (
        "https://llm.example:8443/v1",
    )
    assert places("openai-compatible", there) == (HERE,)
    assert places("openai-compatible", base_url="http://[::1]:8000/v1") == ("http://[::1]:8000/v1",)
    assert places("anthropic-compatible", base_url="HTTP://LocalHost") == ("http://localhost",)
    assert "no base_url" in refused("anthropic-compatible")
    for url in ("http://llm.example/v1", "http://127.evil.example", "http://localhost.evil.example"):
        assert "no TLS" in refused("openai-compatible", base_url=url)
    for url in (
        "https://me:fake-pass@llm.example",
        "https://a b",
        "https://a/?q=1",
        "https://a/#f",
        "https://ä.example",
    ):
        assert "fake-pass" not in refused("openai-compatible", base_url=url)


def test_the_config_counts_before_the_file() -> None:
    there = Places({"anthropic": (HERE, "https://b.example/")}, {})
    assert places("claude", there) == (HERE, "https://b.example")
    assert places("claude", there, base_url="https://evil.example") == (HERE, "https://b.example")
    assert places("claude", Places({"anthropic": ()}, {})) == ("https://api.anthropic.com",)


def test_the_usual_address_and_the_one_the_config_names_for_the_provider_are_known() -> None:
    assert places("openai-api", base_url="https://api.openai.com/v1") == ("https://api.openai.com/v1",)
    api = Places({}, {"openai-api": "https://gateway.example/v1/"})
    assert places("openai-api", api, base_url="https://gateway.example/v1") == ("https://gateway.example/v1",)
    assert "gateway.example" in refused("openai-api", base_url="https://gateway.example/v1")


def test_a_provider_without_a_rule_is_reached_at_home_only() -> None:
    other = UPSTREAMS[PROVIDERS["openai-api"]]
    assert NOWHERE.of(other, lease("mystery")) == (other.default_url,)
    with pytest.raises(BrokerError, match=r"evil\.example"):
        NOWHERE.of(other, lease("mystery", base_url="https://evil.example"))


def test_nobody_else_reads_an_address_or_asks_for_an_origin() -> None:
    """Every token goes where `Places` says: no other module of the proxy looks at the facts that name addresses."""
    readers, openers = set(), set()
    for module in (name for name in modules() if name.startswith("broker.proxy")):
        nodes = list(ast.walk(tree(module)))
        words = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        if words & {told.fact for told in TOLD.values()} or "resource_url" in words:
            readers.add(module)
        if "Origin.of" in {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}:
            openers.add(module)
    assert readers == {"broker.proxy.upstreams.places"}
    assert openers == {"broker.proxy.shop"}
