import pytest

from broker.config import (
    Config,
    NetworkConfig,
    NotifyConfig,
    ProviderConfig,
    ProxyConfig,
    RequestLogConfig,
    RoutingConfig,
    UpstreamConfig,
)
from broker.model.naming import Combo
from broker.model.policy import Payload, Policy, Removal
from broker.model.secret import Secret
from broker.model.told import ToldModel
from broker.settings.checks import Fault, dotted, faults, is_loopback, url_faults

PROVIDER = ("providers", "x")
UPSTREAM = ("upstreams", "x")


def test_the_defaults_have_no_fault() -> None:
    assert list(faults(Config())) == []


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        (Config(proxy=ProxyConfig(port=70000)), [("proxy", "port")]),
        (Config(proxy=ProxyConfig(port=-1, workers=0)), [("proxy", "workers"), ("proxy", "port")]),
        (Config(proxy=ProxyConfig(host="0.0.0.0")), [("proxy", "host")]),
        (Config(proxy=ProxyConfig(host="0.0.0.0", api_keys=(Secret("fake-key-1"),))), []),
        (Config(proxy=ProxyConfig(api_keys=(Secret("short"),))), [("proxy", "api_keys")]),
        (Config(proxy=ProxyConfig(allow=("10.0.0.1/8", "10.0.0.0/8"))), [("proxy", "allow")]),
        (Config(proxy=ProxyConfig(deny=("nonsense",))), [("proxy", "deny")]),
        (Config(notify=NotifyConfig(command=("", "\0"))), [("notify", "command")] * 2),
        (Config(notify=NotifyConfig(command=("hook", ""))), []),
        (Config(request_log=RequestLogConfig(directory="~/log")), []),
        (Config(request_log=RequestLogConfig(directory="log")), [("request_log", "directory")]),
        (Config(request_log=RequestLogConfig(max_megabytes=0)), [("request_log", "max_megabytes")]),
        (Config(routing=RoutingConfig(rounds=0)), [("routing", "rounds")]),
        (Config(routing=RoutingConfig(max_wait_seconds=0)), []),
        (Config(routing=RoutingConfig(max_wait_seconds=-1)), [("routing", "max_wait_seconds")]),
        (Config(routing=RoutingConfig(aliases={"a.b": ""})), [("routing", "aliases", "a.b")]),
        (Config(combos={"c": Combo(())}), [("combos", "c")]),
        (Config(models={"m": ToldModel(output_tokens=0)}), [("models", "m", "output_tokens")]),
        (Config(policies={"gpt-*": Policy(thinking=-1)}), [("policies", "gpt-*", "thinking")]),
        (Config(payload=Payload(remove=(Removal(path="model"),))), [("payload", "remove", "0", "path")]),
        (Config(providers={"X": ProviderConfig()}), [("providers", "X")]),
        (Config(providers={"x": ProviderConfig(token_url="ftp://a.example")}), [(*PROVIDER, "token_url")]),
        (
            Config(providers={"x": ProviderConfig(client_secret_file="a", client_secret_env="B")}),
            [(*PROVIDER, "client_secret_file")],
        ),
        (Config(providers={"x": ProviderConfig(redirect_port=-1)}), [(*PROVIDER, "redirect_port")]),
        (Config(providers={"x": ProviderConfig(kind="oauth2")}), [(*PROVIDER, "client_id"), PROVIDER]),
        (Config(providers={"x": ProviderConfig(kind="oauth2", client_id="c", issuer="https://a.example")}), []),
        (Config(upstreams={"x": UpstreamConfig(base_url=("https://a.example", "x"))}), [(*UPSTREAM, "base_url")]),
        (Config(upstreams={"x": UpstreamConfig(headers={"a b": "x"})}), [(*UPSTREAM, "headers", "a b")]),
        (Config(upstreams={"x": UpstreamConfig(headers={"Cookie": "x"})}), [(*UPSTREAM, "headers", "Cookie")]),
        (Config(upstreams={"x": UpstreamConfig(headers={"a": "\n"})}), [(*UPSTREAM, "headers", "a")]),
        (Config(upstreams={"x": UpstreamConfig(headers={"a": "b"})}), []),
        (
            Config(
                network=NetworkConfig(
                    proxy_url=Secret("socks5h://me:fake@a.example"), no_proxy=("a.example", "10.0.0.0/8")
                )
            ),
            [],
        ),
        (Config(network=NetworkConfig(proxy_url=Secret("socks4://a.example"))), [("network", "proxy_url")]),
        (Config(network=NetworkConfig(no_proxy=("a b", "c d"))), [("network", "no_proxy")] * 2),
        (Config(providers={"x": ProviderConfig(proxy_url=Secret("direct"))}), []),
        (Config(providers={"x": ProviderConfig(proxy_url=Secret("a.example:1"))}), [(*PROVIDER, "proxy_url")]),
    ],
)
def test_each_fault_names_its_key_and_none_hides_another(config: Config, keys: list[tuple[str, ...]]) -> None:
    assert [fault.key for fault in faults(config)] == keys


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://a.example/x", None),
        ("http://127.0.0.1:1", None),
        ("http://a.example", "loopback"),
        ("https://me@a.example", "user name"),
        ("https://", "https URL"),
    ],
)
def test_urls(url: str, said: str | None) -> None:
    found = list(url_faults(("k",), url))
    assert len(found) == (said is not None)
    assert all(said is not None and said in fault.text for fault in found)


def test_a_fault_is_said_with_its_key_as_the_file_writes_it() -> None:
    assert str(Fault(("routing", "aliases", "gpt-5.4"), "is odd")) == 'routing.aliases."gpt-5.4": is odd'
    assert dotted(("a", "b-c_1", "")) == 'a.b-c_1.""'


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("example.com", False),
    ],
)
def test_loopback(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer
