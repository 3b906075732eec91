import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli.settings import settings_of, toml
from broker.config import Config, Loaded, ProviderConfig
from broker.settings.reading import parse

FULL = """
[store]
directories = ["~/a", "/b c"]
[proxy]
port = 9000
api_keys = ["fake-key-12345"]
[providers.own]
kind = "oauth2"
issuer = "https://id.example"
client_id = "fake-client"
scopes = ["openid"]
extra_params = { prompt = "consent" }
[upstreams.gemini]
base_url = "http://127.0.0.1:9"
"""


@pytest.fixture
def daemon_with_config(home: Path, config, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A daemon in a process of its own; yields its config file."""
    file = config("[socket]\nmax_wait_seconds = 30\n")
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(home / "run"))
    names = ("PATH", "HOME", "CCS_BROKER_CONFIG", "CCS_BROKER_RUNTIME_DIR")
    environ = {name: os.environ[name] for name in names}
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", "serve"], env=environ, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        while "daemon ready" not in process.stderr.readline():
            assert process.poll() is None
        yield file
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
def config(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that writes the config file."""
    file = home / "config.toml"
    monkeypatch.setenv("CCS_BROKER_CONFIG", str(file))

    def write(text: str) -> Path:
        file.write_text(text)
        return file

    return write


def test_show_prints_every_setting(run, config) -> None:
    file = config(FULL)
    lines = run("config", "show").out.splitlines()
    assert lines[0] == f"# {file}"
    assert 'store.directories = ["~/a", "/b c"] # line 3' in lines
    assert "proxy.port = 9000 # line 5" in lines
    assert "refresh.ahead = true # default" in lines
    assert 'providers.own.extra_params = { "prompt" = "consent" } # line 12' in lines
    assert 'upstreams.gemini.base_url = "http://127.0.0.1:9" # line 14' in lines


def test_show_hides_keys(run, config) -> None:
    config(FULL)
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        ended = run(*arguments)
        assert "fake-key-12345" not in ended.out
        assert "(hidden)" in ended.out


def test_show_as_json(run, config) -> None:
    config(FULL)
    made = json.loads(run("config", "show", "--json").out)
    assert (made["version"], made["exists"]) == (1, True)
    assert made["settings"]["proxy.port"] == 9000
    assert made["settings"]["providers.own.scopes"] == ["openid"]
    assert (made["origins"]["proxy.port"], made["origins"]["proxy.host"]) == ("line 5", "default")
    assert (made["running"], made["pending"]) == (False, [])


def test_show_of_what_is_in_force_without_a_daemon_says_so_and_reads_the_file(
    run, config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config("[proxy]\nport = 9000\n")
    monkeypatch.setenv("CCS_DIR", "/elsewhere")
    ended = run("config", "show", "--effective")
    assert "No daemon is running" in ended.err
    lines = ended.out.splitlines()
    assert 'store.directories = ["/elsewhere/cliproxy/auth"] # $CCS_DIR' in lines
    assert "proxy.port = 9000 # line 2" in lines
    assert any(line.startswith("providers.gemini.token_url = ") and line.endswith("# built in") for line in lines)


def test_show_and_reload_ask_the_daemon(run, config, daemon_with_config) -> None:
    file = daemon_with_config
    lines = run("config", "show", "--effective").out.splitlines()
    assert lines[1] == "# in force in the daemon"
    assert "socket.max_wait_seconds = 30.0 # line 2" in lines
    file.write_text('[socket]\nmax_wait_seconds = 40\n[proxy]\nport = 1\n[store]\nmode = "sealed"\n')
    told = run("config", "reload").out
    assert "Changed: socket.max_wait_seconds." in told
    assert "Needs a restart: store.mode, proxy.port." in told
    assert 'store.mode = "plain" # line 6; after a restart: "sealed"' in run("config", "show", "--effective").out
    assert json.loads(run("config", "show", "--effective", "--json").out)["pending"] == ["store.mode", "proxy.port"]
    assert json.loads(run("config", "reload", "--json").out)["changed"] == []
    file.write_text("[socket]\nmax_wait_seconds = 0\n")
    refused = run("config", "reload")
    assert refused.code == 2
    assert f"{file}:2: socket.max_wait_seconds: must be greater than 0" in refused.err
    assert "was refused" in run("config", "show", "--effective").out


def test_show_without_a_file(run, home: Path) -> None:
    ended = run("config", "show")
    assert ended.code == 0
    assert "(missing: every setting is the default)" in ended.out


def test_defaults_are_known_as_such() -> None:
    by_name = {each.name: each for each in settings_of(Loaded(parse(FULL.encode()), Path("c.toml")))}
    assert [name for name, each in by_name.items() if not each.default] == [
        "store.directories", "proxy.port", "proxy.api_keys", "providers.own.kind", "providers.own.issuer", "providers.own.client_id",
        "providers.own.scopes", "providers.own.extra_params", "upstreams.gemini.base_url",
    ]  # fmt: skip


def test_what_is_shown_can_be_read_as_a_config_again(run, config) -> None:
    config(FULL.replace('api_keys = ["fake-key-12345"]', ""))
    text = "\n".join(run("config", "show").out.splitlines()[1:])
    assert parse(text.encode()) == parse(FULL.replace('api_keys = ["fake-key-12345"]', "").encode())


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32), max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(VALUES)
def test_values_are_valid_toml(value: object) -> None:
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value


def test_what_has_no_toml_form_is_an_error() -> None:
    with pytest.raises(TypeError, match="no TOML form for bytes"):
        toml(b"")


def test_every_table_of_the_config_is_walked() -> None:
    made = Config(providers={"x": ProviderConfig(title="t")})
    names = {each.name.split(".")[0] for each in settings_of(Loaded(made, Path("c.toml")))}
    assert names == set(Config.__struct_fields__) - {"upstreams", "combos", "models", "policies"}


def findings(ended) -> dict[str, dict[str, object]]:
    made = json.loads(ended.out)
    assert made["version"] == 1
    return {each["subject"]: each for each in made["findings"]}


@pytest.mark.parametrize(
    ("mode", "problem"), [(0o600, None), (0o640, "can be read by other users (mode 0640)"), (0o660, "written by other")]
)
def test_check_looks_at_the_local_keys(run, home: Path, mode: int, problem: str | None) -> None:
    assert findings(run("config", "check", "--json"))["local keys"]["detail"] == "none"
    assert run("key", "add", "ci").code == 0
    file = home / ".config" / "ccs-broker" / "proxy-keys.json"
    file.chmod(mode)
    found = findings(run("config", "check", "--json"))["local keys"]
    if problem is None:
        assert (found["problem"], found["detail"]) == (None, f"1 in {file}")
    else:
        assert problem in str(found["problem"])


@pytest.mark.parametrize(
    ("text", "env", "detail", "problem"),
    [
        ("", {}, "none (no proxy is set)", None),
        ("", {"HTTPS_PROXY": "out.example:3128"}, "http://out.example:3128 (HTTPS_PROXY)", None),
        ("", {"HTTPS_PROXY": "socks4://me:fake-pass@x"}, "HTTPS_PROXY", "HTTPS_PROXY is neither http://"),
        (
            '[network]\nproxy_url = "socks5h://me:fake-pass@o.example"',
            {},
            "socks5h://o.example:1080 (network.proxy_url)",
            None,
        ),
    ],
)
def test_check_of_the_way_out(
    run, config, monkeypatch: pytest.MonkeyPatch, text: str, env: dict[str, str], detail: str, problem: str | None
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    config(f"{text}\n")
    ended = run("config", "check", "--json")
    found = findings(ended)["outbound proxy"]
    assert found["detail"] == detail
    assert (found["problem"] is None) if problem is None else (problem in str(found["problem"]))
    assert "fake-pass" not in ended.out


def test_check_of_a_config_that_works(run, config, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("fake-client-secret")
    (tmp_path / "secret").chmod(0o600)
    config(f'[providers.gemini]\nclient_id = "fake-client"\nclient_secret_file = "{tmp_path}/secret"\n')
    ended = run("config", "check")
    assert ended.code == 0, ended.out
    assert ended.out.endswith("All is well.\n")
    assert "fake-client-secret" not in ended.out


def test_check_of_a_secret_that_is_not_there(run, config, tmp_path: Path) -> None:
    config(f'[providers.gemini]\nclient_id = "fake-client"\nclient_secret_file = "{tmp_path}/missing"\n')
    ended = run("config", "check", "--json")
    assert ended.code == 1
    found = findings(ended)["provider gemini"]
    assert f"{tmp_path}/missing" in str(found["problem"])


def test_an_unconfigured_provider_without_secret_is_no_fault(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    for name in ("GEMINI_OAUTH_CLIENT_SECRET", "GEMINI_CLI_OAUTH_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    ended = run("config", "check", "--json")
    assert ended.code == 0
    found = findings(ended)["provider gemini"]
    assert found["problem"] is None
    assert str(found["detail"]).startswith("no login can be started yet: Gemini CLI: no client secret was found")


def test_a_registration_in_a_file_of_its_own_is_found(run, config) -> None:
    file = config("").with_name("provider-credentials.json")
    file.touch(mode=0o600)
    file.write_text('{"iflow": {"clientId": "fake-client", "clientSecret": "fake-client-secret"}}')
    ended = run("config", "check", "--json")
    assert findings(ended)["provider iflow"]["detail"] == "iFlow"
    assert "fake-client-secret" not in ended.out
    file.chmod(0o644)
    assert str(file) in str(findings(run("config", "check", "--json"))["provider iflow"]["detail"])


def test_a_provider_without_logins_needs_no_registration(run, home: Path) -> None:
    assert findings(run("config", "check", "--json"))["provider gemini-api"]["detail"] == "Gemini API key"


def test_check_of_a_table_that_is_no_provider(run, config) -> None:
    file = config('[providers.nobody]\nclient_id = "x"\n')
    ended = run("config", "check", "--json")
    assert ended.code == 2
    (fault,) = json.loads(ended.out)["faults"]
    assert (fault["line"], fault["key"]) == (1, "providers.nobody")
    command = [sys.executable, "-m", "broker", "serve"]  # it sets the umask of its process before it gets that far
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert f"{file}:1: providers.nobody: {fault['text']}" in refused.stderr


def test_check_of_folders(run, config, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    config(f'[store]\ndirectories = ["{tmp_path}/file/auth", "{tmp_path}/new"]\n')
    ended = run("config", "check")
    assert ended.code == 1
    assert f"{tmp_path}/file is not a folder" in ended.out
    assert f"{tmp_path}/new (will be made)" in ended.out


def test_check_of_a_folder_that_cannot_be_written(run, config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # /proc is what not even root can write to.
    config('[store]\ndirectories = ["/proc/self/attr"]\n')
    monkeypatch.setattr("os.access", lambda path, mode: not str(path).startswith("/proc"))
    assert "/proc/self/attr cannot be written" in run("config", "check").out


def test_check_of_a_socket_path_that_is_too_long(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", "/x" * 60)
    ended = run("config", "check", "--json")
    assert ended.code == 1
    assert "this system allows" in str(findings(ended)["socket"]["problem"])


def test_check_of_a_file_that_cannot_be_read_as_config(run, config) -> None:
    file = config("[proxy\n")
    ended = run("config", "check", "--json")
    assert ended.code == 2
    assert json.loads(ended.out)["faults"] == [
        {
            "file": str(file),
            "line": 1,
            "column": 7,
            "key": None,
            "text": "Expected ']' at the end of a table declaration",
        }
    ]


def test_check_lists_every_fault_of_the_file_with_line_and_key(run, config) -> None:
    file = config('[proxy]\nport = "x"\nwrokers = 1\n\n[providers.gemini]\nlead_seconds = true\n')
    made = json.loads(run("config", "check", "--json").out)
    assert [(each["line"], each["key"]) for each in made["faults"]] == [
        (2, "proxy.port"),
        (3, "proxy.wrokers"),
        (6, "providers.gemini.lead_seconds"),
    ]
    lines = run("config", "check").out.splitlines()
    assert lines[1] == f"{file}:3: proxy.wrokers: there is no such setting; did you mean workers?"
    assert lines[-1] == "3 faults in the file."


@pytest.mark.parametrize("command", ["serve", "proxy", "up", "config show"])
def test_programs_that_do_not_start_say_the_same(run, config, command: str) -> None:
    file = config("[proxy]\nport = 70000\n")
    ended = run(*command.split())
    assert ended.code == 2
    assert f"{file}:2: proxy.port: must be from 0 to 65535" in ended.err


def test_an_api_that_is_not_known_is_told(run, config) -> None:
    config(
        '[upstreams.vertex]\nheaders = { User-Agent = "mine/1" }\n[upstreams.vortex]\nbase_url = "https://a.example"\n'
    )
    found = findings(run("config", "check", "--json"))
    assert found["upstream vortex"]["problem"] == "the proxy knows no API of this name"
    assert found["upstream vortex"]["line"] == 3
    assert "line 3: the proxy knows no API of this name" in " ".join(run("config", "check").out.split())
    assert "vertex" in str(found["upstream vortex"]["hint"])
    assert "upstream vertex" not in found


def test_a_model_that_nobody_serves_is_told(run, config) -> None:
    config('[models.mystery]\ntitle = "?"\n[models.odd]\nproviders = ["odd"]\n[models."gpt-9"]\ntitle = "9"\n')
    found = findings(run("config", "check", "--json"))
    assert found["model mystery"]["problem"] == "the proxy does not know who serves it, so it needs providers"
    assert found["model odd"]["problem"] == "the proxy serves from no provider odd"
    assert "model gpt-9" not in found


def test_rules_for_bodies_are_shown_and_looked_at(run, config) -> None:
    config(
        '[policies."gpt-*"]\nthinking = "high"\n[payload]\noverride = [{ path = "a.0", value = { b = [1.5] }, upstream = "vortex" }]\n'
    )
    lines = run("config", "show").out.splitlines()
    assert 'policies."gpt-*".thinking = "high" # line 2' in lines
    rule = next(line for line in lines if line.startswith("payload.override"))
    shown = tomllib.loads(rule.partition(" = ")[0].replace(".", "_") + " = " + rule.partition(" = ")[2])
    assert shown["payload_override"] == [{"path": "a.0", "models": "*", "upstream": "vortex", "value": {"b": [1.5]}}]
    found = findings(run("config", "check", "--json"))
    assert found["payload.override.0.upstream"]["problem"] == "the proxy knows none of this name"
    assert found["payload.override.0.upstream"]["line"] == 4
    assert "vertex" in str(found["payload.override.0.upstream"]["hint"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[policies."*"]\nthinking = -1', 'policies."*".thinking'),
        (
            "[payload]\noverride = [{ path = 'a', value = 1 },\n { path = 'model', value = 1 }]",
            "payload.override.1.path",
        ),
        ("[payload]\nremove = [{ path = 'a', value = 1 }]", "payload.remove.0.value"),
    ],
)
def test_policies_that_cannot_be_are_told_by_their_key(run, config, text: str, said: str) -> None:
    config(text)
    ended = run("config", "check")
    assert ended.code == 2
    assert said in ended.out
