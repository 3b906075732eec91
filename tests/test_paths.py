from pathlib import Path

import pytest

from broker import paths
from broker.model.errors import BrokerError

HOME = {"HOME": "/home/u"}


@pytest.mark.parametrize(
    ("function", "env", "expected"),
    [
        (paths.config_file, {}, "/home/u/.config/ccs-broker/config.toml"),
        (paths.config_file, {"XDG_CONFIG_HOME": "/c"}, "/c/ccs-broker/config.toml"),
        (paths.config_file, {"XDG_CONFIG_HOME": "relative"}, "/home/u/.config/ccs-broker/config.toml"),
        (paths.config_file, {"CCS_BROKER_CONFIG": "/x.toml"}, "/x.toml"),
        (paths.state_dir, {}, "/home/u/.local/state/ccs-broker"),
        (paths.state_dir, {"XDG_STATE_HOME": "/s"}, "/s/ccs-broker"),
        (paths.state_dir, {"STATE_DIRECTORY": "/sd/one:/sd/two", "XDG_STATE_HOME": "/s"}, "/sd/one"),
        (paths.runtime_dir, {"XDG_RUNTIME_DIR": "/run/user/1"}, "/run/user/1/ccs-broker"),
        (paths.runtime_dir, {"CCS_BROKER_RUNTIME_DIR": "/r", "XDG_RUNTIME_DIR": "/run/user/1"}, "/r"),
        (paths.runtime_dir, {}, "/home/u/.local/state/ccs-broker/run"),
        (paths.default_auth_dir, {}, "/home/u/.ccs/cliproxy/auth"),
        (paths.default_auth_dir, {"CCS_HOME": "/h"}, "/h/.ccs/cliproxy/auth"),
        (paths.default_auth_dir, {"CCS_DIR": "/d", "CCS_HOME": "/h"}, "/d/cliproxy/auth"),
    ],
)
def test_places(function: object, env: dict[str, str], expected: str) -> None:
    assert callable(function)
    assert function({**HOME, **env}) == Path(expected)


def test_a_socket_path_that_cannot_be_bound_is_refused_with_its_length() -> None:
    assert paths.socket_path("broker.sock", Path("/run/x")) == Path("/run/x/broker.sock")
    with pytest.raises(BrokerError, match=r"allows 10\d") as caught:
        paths.socket_path("broker.sock", Path("/" + "x" * 100))
    assert "CCS_BROKER_RUNTIME_DIR" in caught.value.hint


def test_expand() -> None:
    assert paths.expand("~", HOME) == Path("/home/u")
    assert paths.expand("~/a", HOME) == Path("/home/u/a")
    assert paths.expand("/a", HOME) == Path("/a")


def test_the_proxy_s_state_directory_is_not_in_the_daemon_s() -> None:
    env = {"HOME": "/home/a"}
    assert paths.proxy_state_dir(env) == Path("/home/a/.local/state/ccs-broker-proxy")
    assert paths.proxy_state_dir(env | {"XDG_STATE_HOME": "/s"}) == Path("/s/ccs-broker-proxy")
    assert paths.proxy_state_dir(env | {"STATE_DIRECTORY": "/var/lib/p:/var/lib/q"}) == Path("/var/lib/p")
