from pathlib import Path

import pytest

from broker.config import Config
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.settings.reading import load, parse


def test_an_empty_file_means_the_defaults() -> None:
    assert parse(b"") == Config()


def test_values_are_read() -> None:
    config = parse(b'[proxy]\nport = 9000\napi_keys = ["fake-key-1"]\n[providers.gemini]\nlead_seconds = 5\n')
    assert config.proxy.port == 9000
    assert config.proxy.api_keys == (Secret("fake-key-1"),)
    assert config.providers["gemini"].lead_seconds == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a =\n[b]", "config.toml:1:4: "),
        ('[proxy]\nport = "x"', "proxy.port"),
        ("[proxy]\nprot = 1", "config.toml:2: proxy.prot: there is no such setting; did you mean port?"),
        ("[proxxy]", "did you mean proxy?"),
        ("[proxy]\nport = 70000", "config.toml:2: proxy.port: must be from 0 to 65535"),
        ("[proxy]\nworkers = 0", "proxy.workers"),
        (
            "[proxy]\nworkers = 0\nprt = 1\nhost = 1",
            "config.toml:3: proxy.prt: there is no such setting; did you mean port? (1 more",
        ),
        ('[proxy]\nallow = ["10.0.0.0/33"]', "proxy.allow: '10.0.0.0/33' does not"),
        ('[proxy]\ndeny = ["::1", "10.0.0.1/8"]', "proxy.deny: 10.0.0.1/8 has host bits set"),
        ('[proxy]\nhost = "0.0.0.0"', "api_keys"),
        ('[proxy]\napi_keys = ["short"]', "8 characters"),
        ("[proxy]\napi_keys = [1]", "api_keys"),
        ('[store]\nmode = "open"', "store.mode"),
        ('[providers.Gemini]\nclient_id = "x"', "providers.Gemini"),
        ('[providers.gemini]\ntoken_url = "http://example.com/t"', "loopback"),
        ('[providers.gemini]\ntoken_url = "ftp://example.com/t"', "https"),
        ('[providers.gemini]\ntoken_url = "https://me@example.com/t"', "https"),
        ('[providers.gemini]\nclient_secret_file = "a"\nclient_secret_env = "B"', "exclude"),
        ("[providers.gemini]\nredirect_port = -1", "redirect_port"),
        ('[providers.x]\nkind = "oauth2"', "client_id"),
        ('[providers.x]\nkind = "oauth2"\nclient_id = "c"', "issuer"),
        ('[upstreams.gemini]\nbase_url = "http://example.com"', "upstreams.gemini.base_url"),
        ('[upstreams.gemini]\nbase_url = ["https://a.example", "http://example.com"]', "upstreams.gemini.base_url"),
        ('[upstreams.gemini.headers]\nAuthorization = "x"', "upstreams.gemini.headers"),
        ('[upstreams.gemini.headers]\n"a b" = "x"', "upstreams.gemini.headers"),
        ('[upstreams.gemini.headers]\na = "x\\ny"', "upstreams.gemini.headers"),
        ('[upstreams.gemini.headers]\na = " x"', "upstreams.gemini.headers"),
    ],
)
def test_a_fault_names_the_key_or_line(text: str, said: str) -> None:
    with pytest.raises(BrokerError) as caught:
        parse(text.encode(), "config.toml")
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.detail.startswith("config.toml:")
    assert said in caught.value.detail


def test_bytes_that_are_no_text_are_told() -> None:
    with pytest.raises(BrokerError, match="not UTF-8 at byte 0"):
        parse(b"\xff")


def test_what_is_nested_without_end_is_refused() -> None:
    with pytest.raises(BrokerError, match="nested too deeply"):
        parse(b"a = " + b"[" * 100_000)


def test_a_missing_file_is_the_defaults_unless_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_CONFIG", str(tmp_path / "none.toml"))
    assert load() == Config()
    with pytest.raises(BrokerError, match="no such file"):
        load(tmp_path / "none.toml")


def test_files_that_cannot_be_read_or_are_huge_are_told(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="directory"):
        load(tmp_path)
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(BrokerError, match="larger than"):
        load(huge)


def test_auth_directories_follow_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CCS_DIR", "CCS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Config().auth_directories() == (tmp_path / ".ccs/cliproxy/auth",)
    assert parse(b'[store]\ndirectories = ["~/a", "/b"]').auth_directories() == (tmp_path / "a", Path("/b"))


@pytest.mark.parametrize("command", ['[""]', '["hook", "a\\u0000b"]', '"hook --flag"', "[1]"])
def test_a_hook_is_a_list_of_arguments_that_a_program_can_be_started_with(command: str) -> None:
    with pytest.raises(BrokerError, match=r"notify\.command"):
        parse(f"[notify]\ncommand = {command}".encode())


def test_nobody_is_told_by_a_command_unless_one_is_named() -> None:
    assert Config().notify.command == ()
    assert Config().notify.desktop
    assert parse(b'[notify]\ncommand = ["hook", ""]\ndesktop = false').notify.command == ("hook", "")
