import pytest

from broker.model.errors import BrokerError
from broker.model.network import Level, ProxyServer, Scheme, Target
from broker.network.settings import network_of
from broker.settings.reading import parse

API = Target("api.example.com", 443)


def test_config_and_environment_become_one_value() -> None:
    config = parse(
        b'[network]\nproxy_url = "socks5h://all.example"\nno_proxy = ["a.example"]\n'
        b'[providers.codex]\nproxy_url = "http://codex.example"\n[providers.gemini]\nproxy_url = "direct"\n'
    )
    network = network_of(config, {"HTTPS_PROXY": "env.example:3128", "NO_PROXY": "b.example"})
    assert network.route("codex", None, API).proxy() == ProxyServer(Scheme.HTTP, "codex.example", 80)
    assert network.route("gemini", None, API).proxy() is None
    assert network.route("claude", None, API).proxy() == ProxyServer(Scheme.SOCKS5H, "all.example", 1080)
    assert [network.route("claude", None, Target(f"{name}.example", 443)).level for name in "ab"] == [Level.NONE] * 2


def test_without_a_config_the_environment_counts() -> None:
    network = network_of(parse(b""), {"HTTPS_PROXY": "env.example:3128"})
    assert network.route("claude", None, API).proxy() == ProxyServer(Scheme.HTTP, "env.example", 3128)
    assert network_of(parse(b""), {}).silent


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[network]\nproxy_url = "socks4://user:canary-pass@x.example"', "network.proxy_url: is neither http://"),
        ('[network]\nproxy_url = ""', "network.proxy_url: is neither http://"),
        ('[providers.codex]\nproxy_url = "http://user:canary-pass@/"', "providers.codex.proxy_url: names no host"),
        ('[network]\nno_proxy = ["a.example", "10.0.0.0/33"]', "network.no_proxy: '10.0.0.0/33' is no host"),
    ],
)
def test_what_cannot_be_is_told_with_its_key(text: str, told: str) -> None:
    with pytest.raises(BrokerError) as caught:
        parse(text.encode())
    assert told in caught.value.detail
    assert "canary-pass" not in caught.value.detail
