import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli import foreground, straight
from broker.model.errors import BrokerError, ErrorCode


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, int | None]]:
    """What was started, with which pipe; the config is the default one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CCS_BROKER_CONFIG", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    calls: list[tuple[str, int | None]] = []

    def noting(name: str):
        def run(loaded: object, until_eof: int | None) -> int:
            calls.append((name, until_eof))
            return 7

        return run

    for name in ("daemon", "proxy"):
        monkeypatch.setattr(foreground, name, noting(name))
    return calls


@pytest.mark.parametrize(
    ("program", "arguments", "starts"),
    [
        ("serve", [], ("daemon", None)),
        ("proxy", [], ("proxy", None)),
        ("serve", ["--until-eof", "3"], ("daemon", 3)),
        ("proxy", ["--until-eof", "17"], ("proxy", 17)),
    ],
)
def test_the_plain_forms_are_run(
    started: list[tuple[str, int | None]], program: str, arguments: list[str], starts: tuple[str, int | None]
) -> None:
    assert straight.run(program, arguments) == 7
    assert started == [starts]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--until-eof"],
        ["--until-eof", "2"],
        ["--until-eof", "-3"],
        ["--until-eof", "٣"],
        ["--until-eof=3"],
        ["--until-eof", "9" * 5000],
        ["x"],
    ],
)
def test_anything_else_is_left_to_click(started: list[tuple[str, int | None]], arguments: list[str]) -> None:
    assert straight.run("serve", arguments) is None
    assert started == []


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (BrokerError(ErrorCode.STORAGE_UNWRITABLE, "the disk is full"), 1, "the disk is full"),
        (BrokerError(ErrorCode.BAD_REQUEST, "no such setting"), 2, "no such setting"),
        (KeyboardInterrupt(), 130, "\n"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_failures_end_as_with_click(
    started: list[tuple[str, int | None]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    says: str,
) -> None:
    def fail(loaded: object, until_eof: int | None) -> int:
        raise error

    monkeypatch.setattr(foreground, "daemon", fail)
    monkeypatch.setattr("broker.cli.output.give_up", lambda: None)
    assert straight.run("serve", []) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_the_module_goes_this_way(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("nonsense = 1\n")
    env = {**os.environ, "CCS_BROKER_CONFIG": str(config)}
    code = "import sys, broker.__main__ as m\nsys.argv[1:] = ['serve']\nfound = []\n"
    code += "import broker.cli.foreground as f\nf.daemon = lambda loaded, eof: 0\n"
    code += "sys.exit = lambda code: print(code, 'click' in sys.modules)\nm.main()"
    bad = subprocess.run(
        [sys.executable, "-m", "broker", "serve"], env=env, capture_output=True, text=True, check=False
    )
    assert bad.returncode == 2
    assert "nonsense" in bad.stderr
    env["CCS_BROKER_CONFIG"] = "/dev/null"
    good = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert good.stdout == "0 False\n"
