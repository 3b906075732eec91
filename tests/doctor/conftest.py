"""A home of the test's own, with nothing of this machine's environment, and a desk in the daemon's place."""

from pathlib import Path

import pytest

from tests.cli.conftest import desk, home, run  # noqa: F401 - fixtures
from tests.doctor.planting import OWN, put

_CATCHING = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "https_proxy", "HTTPS_PROXY",
             "SUDO_USER", "DISPLAY", "WAYLAND_DISPLAY",
             "CREDENTIALS_DIRECTORY", "CCS_BROKER_PASSPHRASE_FILE")  # fmt: skip


@pytest.fixture(autouse=True)
def plain_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    for name in _CATCHING:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def auth(home: Path) -> Path:  # noqa: F811
    """The auth directory, empty."""
    folder = home / ".ccs" / "cliproxy" / "auth"
    folder.mkdir(parents=True, mode=0o700)
    return folder


@pytest.fixture
def config(home: Path):  # noqa: F811
    """Return a function that writes the config file; it begins with the provider `own`."""
    file = home / ".config" / "ccs-broker" / "config.toml"

    def write(text: str = "", *, own: str = OWN) -> Path:
        return put(file, f"{text}\n{own}")

    write()
    return write
