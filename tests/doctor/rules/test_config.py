from pathlib import Path

import pytest

from broker.config import Config, ProxyConfig
from broker.doctor.facts import ConfigFile, CredentialsFile, Person, Registration, SecretFile
from broker.doctor.finding import Finding, SetMode, Severity
from broker.doctor.rules import config as rules
from broker.doctor.rules.config import unknown_in

PATH = Path("/c.toml")
FINE = ConfigFile(PATH, True, Config(), mode=0o600)


def file(**fields: object) -> ConfigFile:
    values: dict[str, object] = {"path": PATH, "exists": True, "config": Config(), "mode": 0o600}
    return ConfigFile(**(values | fields))  # type: ignore[arg-type]


def ids(findings: object) -> list[str]:
    return [each.id for each in findings]  # type: ignore[attr-defined]


def test_a_sound_config() -> None:
    for rule in (rules.invalid, rules.unknown_keys, rules.writable, rules.readable):
        assert list(rule(FINE)) == []


def test_a_fault_is_told_unless_an_unknown_key_says_it_better() -> None:
    assert ids(rules.invalid(file(fault="line 3"))) == ["config-invalid"]
    assert ids(rules.invalid(file(fault="unknown field", unknown={"a": None}))) == []


def test_unknown_keys_have_a_nearest_or_none() -> None:
    first, second = rules.unknown_keys(file(unknown={"proxy.prot": "proxy.port", "q": None}))
    assert first.mend == "Write proxy.port, or remove it."
    assert second.mend.startswith("Remove it")


def test_who_may_change_it() -> None:
    (finding,) = rules.writable(file(mode=0o620))
    assert finding.fix == SetMode(PATH, 0o600)
    (finding,) = rules.writable(file(mine=False))
    assert finding.fix is None
    assert list(rules.writable(file(exists=False, mode=0o666))) == []


@pytest.mark.parametrize(
    ("mode", "keys", "told"), [(0o644, True, 1), (0o644, False, 0), (0o600, True, 0), (0o666, True, 0)]
)
def test_who_may_read_its_keys(mode: int, keys: bool, told: int) -> None:
    assert len(list(rules.readable(file(mode=mode, names_keys=keys)))) == told


def test_providers_that_make_no_sense() -> None:
    assert list(rules.provider_settings(None, "", FINE)) == []
    (finding,) = rules.provider_settings("providers.x: no", "See the docs.", FINE)
    assert (finding.what, finding.mend) == ("providers.x: no", "See the docs.")


def test_a_registration_that_is_wanted_is_a_fault() -> None:
    wanted = Registration("own", "Own", "no client secret", "Set it.", "[providers.own] is set")
    first, second = rules.secret_missing([wanted, Registration("own", "Own", "no client secret", "Set it.")])
    assert (first.severity, first.what) == (Severity.ERROR, "[providers.own] is set: no client secret")
    assert second.severity is Severity.INFO


def test_secrets_of_others_and_open_ones() -> None:
    made = [SecretFile("s", PATH, 0o600, True), SecretFile("s", PATH, 0o640, True), SecretFile("s", PATH, 0o644, False)]
    first, second = rules.secret_mode(made)
    assert [ids(rules.credentials_mode(CredentialsFile(each))) for each in made] == [
        [],
        *[["provider-credentials-mode"]] * 2,
    ]
    assert [ids(rules.local_keys_mode(each)) for each in made] == [[], *[["local-keys-mode"]] * 2]
    assert list(rules.local_keys_mode(None)) == []
    assert list(rules.credentials_mode(None)) == list(rules.credentials_unusable(None)) == []
    (told,) = rules.credentials_unusable(CredentialsFile(made[0], ("own is not an object",)))
    assert told.what == "Own is not an object; that is left out"
    assert first.fix == SetMode(PATH, 0o600)
    assert "belongs to another user" in second.what


def default_key(config: Config, *others: str) -> list[Finding]:
    return list(rules.default_key(config, Person(1000, others=others)))


def test_the_public_key() -> None:
    beyond = Config(proxy=ProxyConfig(host="0.0.0.0"))
    assert default_key(Config()) == []
    assert default_key(Config(proxy=ProxyConfig(internal_key=False)), "ann") == []
    assert "(ann, bob, cy ...)" in default_key(Config(), "ann", "bob", "cy", "dan")[0].what
    assert "listens on 0.0.0.0" in default_key(beyond)[0].what


def test_a_proxy_beyond_loopback() -> None:
    assert list(rules.exposed(Config())) == []
    assert ids(rules.exposed(Config(proxy=ProxyConfig(host="0.0.0.0")))) == ["proxy-exposed"]


def test_keys_are_looked_for_in_every_table() -> None:
    tree = {
        "store": {"mode": "plain", "moode": 1}, "proxy": 7, "nonsense": {"a": 1}, "upstreams": {"gemini": {"base_url": "x"}, "b": 3},
        "providers": {"own": {"kind": "oauth2", "clientid": "x", "extra_params": {"any": "thing"}}}, "a\nb": 1,
    }  # fmt: skip
    assert unknown_in(tree) == {
        "store.moode": "store.mode",
        "nonsense": None,
        "providers.own.clientid": "providers.own.client_id",
        "'a\\nb'": None,
    }
    assert unknown_in({}) == {}
