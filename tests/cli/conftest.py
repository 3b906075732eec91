from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.cli.app import main
from broker.ipc.schema import AccountQuota, AccountView, Cooldown, QuotaWindow
from tests.fakes.socket_desk import SocketDesk, socket_desk

NOW = 1_750_000_000.0


@dataclass
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with nothing of this machine's environment."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "STATE_DIRECTORY", "CCS_DIR", "CCS_HOME",
                 "CCS_BROKER_CONFIG", "CCS_BROKER_API_KEY", "NO_COLOR", "COLUMNS"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(tmp_path / "nobody"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def desk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SocketDesk]:
    """A server where the commands look for the daemon."""
    with socket_desk() as made:
        monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(made.folder))
        yield made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]):
    """Return a function that runs a command line in this process."""

    def call(*arguments: str) -> Ended:
        capfd.readouterr()
        code = main(arguments)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


QUOTA = AccountQuota(
    account="gemini/alice@example.com", read_at=NOW - 130, plan="Standard",
    windows=(
        QuotaWindow(name="gemini-2.5-pro", used=0.25, resets_at=NOW + 11_000),
        QuotaWindow(name="requests", used=0.97, resets_at=NOW + 86_400, note="970 of 1000"),
        QuotaWindow(name="credits", note="12 left"),
    ),
    notes=("The overage is not told.",),
)  # fmt: skip


def views() -> tuple[AccountView, ...]:
    """Accounts of all sorts."""
    return (
        AccountView(
            account="gemini/alice@example.com", provider="gemini", label="alice@example.com", state="active", generation=3,
            expires_at=NOW + 2520, last_refresh=NOW - 1080, next_refresh=NOW + 2220, default=True, facts={"project_id": "fake-project"},
            email="alice@example.com", quota=QUOTA,
        ),
        AccountView(
            account="gemini/bob@example.com", provider="gemini", label="bob@example.com", state="needs_login", generation=7,
            expires_at=NOW - 7200, reason="the provider no longer accepts this login", hint="Run: ccs-broker login gemini",
        ),
        AccountView(
            account="own/key", provider="own", label="key", state="active", generation=1,
            cooldowns=(Cooldown("big-model", NOW + 90, "quota"), Cooldown(None, NOW - 5, "over")), disabled=True,
            email="carol@example.com", linked="claude-code",
        ),
    )  # fmt: skip
