"""Faults of the config file and of what it names, planted for real."""

import os
from pathlib import Path

import keyring
import keyring.backends.fail
import pytest

from broker.doctor.examine import examine
from broker.doctor.finding import Severity
from broker.doctor.scene import Surroundings
from broker.system import SystemClock
from tests.doctor.planting import OWN, found, given_away, login, one, plants, put
from tests.store.test_keys import Desktop, desktop  # noqa: F401 - a fixture


@plants("config-invalid")
@pytest.mark.parametrize("text", ["[proxy\n", "[proxy]\nport = 99999\n", '[proxy]\nport = "a"\n'])
def test_a_config_that_cannot_be_used(config, text: str) -> None:
    file = config(text)
    finding = one("config-invalid")
    assert (finding.severity, finding.where) == (Severity.ERROR, str(file))
    assert found("config-unknown-key") == ()


def test_a_config_that_is_named_and_not_there(home: Path) -> None:
    assert "no such file" in one("config-invalid", {"CCS_BROKER_CONFIG": f"{home}/nowhere.toml"}).what


@plants("config-unknown-key")
def test_keys_that_no_setting_has(config) -> None:
    config('[proxy]\nprot = 1\n[zzz]\na = 1\n[upstreams.gemini]\nbase_ulr = "x"\n')
    told = {each.what.partition(";")[0]: each.mend for each in found("config-unknown-key")}
    assert told["There is no setting proxy.prot"] == "Write proxy.port, or remove it."
    assert told["There is no setting upstreams.gemini.base_ulr"] == "Write upstreams.gemini.base_url, or remove it."
    assert "There is no setting zzz" in told
    assert found("config-invalid") == ()


@plants("config-writable")
def test_a_config_others_may_change(config, monkeypatch: pytest.MonkeyPatch) -> None:
    file = config()
    file.chmod(0o666)
    assert one("config-writable").mend == f"Run: chmod 600 {file}"
    file.chmod(0o600)
    assert found("config-writable") == ()
    given_away(file, monkeypatch)
    assert one("config-writable").fix is None


@plants("config-readable")
def test_keys_others_can_read(config) -> None:
    file = config('[proxy]\napi_keys = ["canary-key-12345"]\n')
    assert found("config-readable") == ()
    file.chmod(0o644)
    assert one("config-readable").severity is Severity.WARNING
    config().chmod(0o644)
    assert found("config-readable") == ()


@plants("provider-settings")
def test_a_table_that_is_no_provider(config) -> None:
    config('[providers.nobody]\nclient_id = "x"\n')
    assert "providers.nobody" in one("provider-settings").what


@plants("client-secret-missing")
def test_a_secret_that_is_not_there_and_where_it_was_looked_for(config, home: Path) -> None:
    config(own=f'{OWN}client_secret_file = "{home}/nowhere"\n')
    mine = [each for each in found("client-secret-missing") if each.where == "providers.own"]
    assert [each.severity for each in mine] == [Severity.ERROR]
    assert f"{home}/nowhere" in mine[0].what
    config(own=f'{OWN}client_secret_env = "NOT_SET_HERE"\n')
    assert any("NOT_SET_HERE" in each.what for each in found("client-secret-missing"))


def test_a_login_that_cannot_be_renewed_for_want_of_a_secret(config, auth: Path, home: Path) -> None:
    put(auth / "own-a.json", login())
    config(own=f'{OWN}client_secret_file = "{home}/nowhere"\n')
    mine = [each for each in found("client-secret-missing") if each.where == "providers.own"]
    assert len(mine) == 1
    assert mine[0].what.startswith("own/a@example.com cannot be renewed: ")


def test_a_provider_nobody_wants_is_a_note(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    for name in ("GEMINI_OAUTH_CLIENT_SECRET", "GEMINI_CLI_OAUTH_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    findings = found("client-secret-missing")
    assert "providers.gemini" in {each.where for each in findings}
    assert {each.severity for each in findings} == {Severity.INFO}


@plants("client-secret-mode")
def test_a_secret_others_can_read(config, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = put(home / "secret", "canary-client-secret", 0o644)
    config(own=f'{OWN}client_secret_file = "{secret}"\n')
    assert one("client-secret-mode").mend == f"Run: chmod 600 {secret}"
    secret.chmod(0o600)
    assert found("client-secret-mode") == ()
    given_away(secret, monkeypatch)
    assert one("client-secret-mode").fix is None


@plants("provider-credentials-mode")
def test_registrations_others_can_read_or_change(config, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config()
    assert found("provider-credentials-mode") == ()
    beside = put(
        home / ".config" / "ccs-broker" / "provider-credentials.json", '{"own": {"clientSecret": "canary-s"}}', 0o644
    )
    finding = one("provider-credentials-mode")
    assert (finding.severity, finding.mend) == (Severity.ERROR, f"Run: chmod 600 {beside}")
    assert found("provider-credentials") == ()
    examine(Surroundings(os.environ, SystemClock()), ("provider-credentials-mode",), fix=True)
    assert beside.stat().st_mode & 0o777 == 0o600
    assert found("provider-credentials-mode") == ()
    named = put(home / "named.json", "{}", 0o620)
    config(f'[store]\nprovider_credentials = "{named}"\n')
    assert one("provider-credentials-mode").where == str(named)
    given_away(named, monkeypatch)
    assert one("provider-credentials-mode").fix is None


@plants("local-keys-mode")
def test_local_keys_others_can_make_or_read(config, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config()
    assert found("local-keys-mode") == ()
    file = put(home / ".config" / "ccs-broker" / "proxy-keys.json", '{"version": 1, "keys": []}', 0o640)
    assert (one("local-keys-mode").severity, one("local-keys-mode").where) == (Severity.WARNING, str(file))
    file.chmod(0o620)
    assert one("local-keys-mode").severity is Severity.ERROR
    examine(Surroundings(os.environ, SystemClock()), ("local-keys-mode",), fix=True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert found("local-keys-mode") == ()
    given_away(file, monkeypatch)
    assert one("local-keys-mode").fix is None


@plants("provider-credentials")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"nobody": {}}', "There is no provider 'nobody'; that is left out"), ('{"own": {"clientSecret": 7}}', "Own.clientSecret is not text"),
        ('{"own": {"tokenUrl": "http://evil.example/canary"}}', "Own.tokenUrl is no https address"), ("{", "It is not JSON"),
    ],
)  # fmt: skip
def test_registrations_that_cannot_be(config, home: Path, text: str, said: str) -> None:
    config()
    put(home / ".config" / "ccs-broker" / "provider-credentials.json", text)
    finding = one("provider-credentials")
    assert finding.severity is Severity.WARNING
    assert finding.what.startswith(said)


def test_places_where_no_file_of_registrations_can_be(config, home: Path) -> None:
    folder = home / "folder"
    folder.mkdir()
    config(f'[store]\nprovider_credentials = "{folder}"\n')
    folder.chmod(0o700)
    assert "Is a directory" in one("provider-credentials").what
    os.mkfifo(home / "pipe", 0o600)
    config(f'[store]\nprovider_credentials = "{home}/pipe"\n')
    assert "is not a regular file" in one("provider-credentials").what
    config(f'[store]\nprovider_credentials = "{home}/{"x" * 300}"\n')
    assert "It cannot be read" in one("provider-credentials").what


def test_a_secret_in_the_file_of_registrations_is_not_missing(config, home: Path) -> None:
    config(own=f'{OWN}client_secret_file = "{home}/nowhere"\n')
    assert [each.where for each in found("client-secret-missing") if each.where == "providers.own"] == ["providers.own"]
    config(
        own=OWN.replace(
            'client_id = "fake-client"\n', 'client_id = "fake-client"\nclient_auth = "client_secret_post"\n'
        )
    )
    put(
        home / ".config" / "ccs-broker" / "provider-credentials.json",
        '{"own": {"clientSecret": "canary-s"}, "gemini": {"clientSecret": "canary-g"}}',
    )
    assert {"providers.own", "providers.gemini"}.isdisjoint({each.where for each in found("client-secret-missing")})


@plants("seal-key")
def test_a_key_that_is_gone(config, home: Path) -> None:
    config('[store]\nmode = "sealed"\nkey_source = "passphrase"\n')
    finding = one("seal-key")
    assert finding.severity is Severity.INFO  # the service may have what this shell has not
    put(home / "phrase", "")
    assert one("seal-key", {"CCS_BROKER_PASSPHRASE_FILE": f"{home}/phrase"}).severity is Severity.ERROR
    put(home / ".local" / "state" / "ccs-broker" / "seal.key", "canary", 0o644)
    config('[store]\nmode = "sealed"\nkey_source = "file"\n')
    assert "can be read by others" in one("seal-key").what
    config()
    assert found("seal-key") == ()


@plants("keyring-unusable")
def test_a_keyring_that_hangs_or_is_none(config, desktop: Desktop) -> None:  # noqa: F811
    import threading

    config('[store]\nmode = "sealed"\nkey_source = "keyring"\n')
    assert found("keyring-unusable") == ()
    desktop.hang = threading.Event()
    assert one("keyring-unusable", keyring_seconds=0.1).severity is Severity.ERROR
    desktop.hang.set()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    assert "Unlock" in one("keyring-unusable").mend
    assert found("seal-key") == ()


@plants("default-key")
def test_the_public_key_where_others_work(config, home: Path) -> None:
    users = put(home / "passwd", "root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/usr/sbin/nologin\nbroken\nann:x:1999:1999::/home/ann:/bin/bash\n"
                "ghost:x:1998:1998::/:/usr/sbin/nologin\n")  # fmt: skip
    finding = one("default-key", passwd=users)
    assert "(ann)" in finding.what
    assert "internal_key = false" in finding.mend
    config("[proxy]\ninternal_key = false\n")
    assert found("default-key", passwd=users) == ()
    config()
    assert found("default-key", passwd=home / "nowhere") == ()


@plants("proxy-exposed")
def test_a_proxy_for_the_whole_network(config, home: Path) -> None:
    config('[proxy]\nhost = "0.0.0.0"\napi_keys = ["canary-key-12345"]\n')
    assert "0.0.0.0" in one("proxy-exposed").what
    assert "0.0.0.0" in one("default-key", passwd=home / "nowhere").what
