import json
from pathlib import Path

import msgspec

from broker.config import (
    Config,
    Loaded,
    NetworkConfig,
    NotifyConfig,
    ProviderConfig,
    ProxyConfig,
    RoutingConfig,
    StoreConfig,
    UpstreamConfig,
)
from broker.model.naming import Combo, Strategy
from broker.model.secret import Secret
from broker.settings.effective import Effective, Elsewhere, Origin, digest_of, effective, shown

FILE = Path("config.toml")
KEYED = ProxyConfig(api_keys=(Secret("fake-key-12345"),), port=2)
LINES = {("proxy",): 1, ("proxy", "port"): 2, ("proxy", "api_keys"): 3, ("combos", "c", "models"): 9}


def listed(config: Config, loaded: Loaded | None = None, **elsewhere: Elsewhere) -> dict[str, Effective]:
    there = {tuple(key.split("__")): told for key, told in elsewhere.items()}
    found = list(effective(config, loaded or Loaded(config, FILE, lines=LINES), there))
    assert len({each.key for each in found}) == len(found)
    return {each.key: each for each in found}


def test_each_setting_says_where_it_comes_from() -> None:
    found = listed(Config(proxy=KEYED, combos={"c": Combo(("m",))}))
    assert found["proxy.port"] == Effective(
        "proxy.port", 2, 8317, Origin.FILE, 2, restart="the listening socket stays open"
    )
    assert found["proxy.host"].origin is Origin.DEFAULT
    assert found["combos.c.models"] == Effective("combos.c.models", ["m"], None, Origin.FILE, 9)


def test_what_stands_in_for_an_unset_setting_has_its_own_origin() -> None:
    config = Config(providers={"gemini": ProviderConfig(title="Mine")})
    found = listed(
        config,
        store__directories=Elsewhere(["/a"], "CCS_DIR"),
        providers__gemini__lead_seconds=Elsewhere(300.0),
        providers__gemini__title=Elsewhere("Gemini"),
        providers__kiro__title=Elsewhere("Kiro"),
    )
    told = found["store.directories"]
    assert (told.value, told.default, told.origin, told.variable) == (["/a"], [], Origin.ENVIRONMENT, "CCS_DIR")
    assert found["providers.gemini.lead_seconds"] == Effective(
        "providers.gemini.lead_seconds", 300.0, None, Origin.BUILT_IN
    )
    assert found["providers.gemini.title"].value == "Mine"
    assert found["providers.kiro.title"] == Effective("providers.kiro.title", "Kiro", None, Origin.BUILT_IN)


def test_what_waits_for_a_restart_is_shown_beside_what_runs() -> None:
    wanted = Config(proxy=ProxyConfig(port=9))
    found = listed(Config(), Loaded(wanted, FILE, lines=LINES))
    assert (found["proxy.port"].value, found["proxy.port"].pending) == (8317, 9)
    assert found["proxy.host"].pending is None


def test_secrets_are_hidden_wherever_they_stand() -> None:
    config = Config(proxy=KEYED, network=NetworkConfig(proxy_url=Secret("http://fake-user:fake-pass@h.example")))
    text = json.dumps([each.value for each in listed(config).values()])
    assert "fake" not in text
    assert text.count("(hidden)") == 2
    assert shown({"a": (Secret("fake"), {"b": Secret("fake")})}) == {"a": ["(hidden)", {"b": "(hidden)"}]}
    assert shown(Strategy.ROUND_ROBIN) == "round-robin"
    headers = {"X-Portkey-Api-Key": "fake", "x-auth-token": "fake", "anthropic-beta": "b", "x-tokens": "9"}
    hidden = {"X-Portkey-Api-Key": "(hidden)", "x-auth-token": "(hidden)"}
    assert shown(UpstreamConfig(headers=headers))["headers"] == headers | hidden  # type: ignore[index]
    assert shown(RoutingConfig(aliases={"a": "b"}))["aliases"] == {"a": "b"}  # type: ignore[index]


def test_the_digest_follows_what_is_shown() -> None:
    assert digest_of(Config()) == digest_of(Config(store=StoreConfig()))
    assert digest_of(Config()) != digest_of(Config(notify=NotifyConfig(desktop=False)))
    assert digest_of(Config(proxy=KEYED)) == digest_of(
        Config(proxy=msgspec.structs.replace(KEYED, api_keys=(Secret("fake-key-67890"),)))
    )
    assert len(digest_of(Config())) == 12
