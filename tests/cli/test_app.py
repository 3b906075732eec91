import json
import subprocess
import sys

import click
import pytest

from broker import __version__
from broker.cli import app
from broker.model.errors import BrokerError, ErrorCode
from tests.fakes.socket_desk import SocketDesk

LIGHT = """
import sys
from broker.cli.app import main
code = main({arguments!r})
heavy = {{"rich", "msgspec", "asyncio", "aiohttp", "uvloop", "tomllib", "http.client", "google"}}
ours = {{name for name in sys.modules if name.startswith("broker.") and name.split(".")[1] in
        ("daemon", "proxy", "store", "login", "refresh", "providers", "oauth", "sandbox", "service", "translate", "config", "system")}}
print(code, sorted(heavy & set(sys.modules) | ours), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["login", "--help"], ["serve", "--help"], ["service", "install", "-h"], ["--version"]]
)
def test_help_loads_no_part_of_the_program_that_works(arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIGHT.format(arguments=arguments)], capture_output=True, text=True, check=True
    )
    assert ended.stderr == "0 []\n"


def test_version(run) -> None:
    assert run("--version").out == f"ccs-broker, version {__version__}\n"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["no-such"], "No such command 'no-such'"),
        (["list", "--no-such"], "No such option"),
        (["token"], "Missing argument 'ACCOUNT'"),
        (["token", "gemini/"], "write PROVIDER or PROVIDER/LABEL"),
        (["token", "gemini", "--format", "xml"], "'xml' is not one of"),
        (["token", "gemini", "--min-validity", "-1"], "is not between"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
    ],
)
def test_bad_usage_ends_with_2_and_says_what(run, home, line: list[str], says: str) -> None:
    ended = run(*line)
    assert ended.code == 2
    assert says in ended.err
    assert ended.out == ""


def test_no_command_shows_help(run) -> None:
    ended = run()
    assert ended.code == 2
    assert "Commands:" in ended.err + ended.out


def test_a_failure_ends_with_its_code(run, desk: SocketDesk) -> None:
    desk.replies["GET /v1/accounts"] = BrokerError(ErrorCode.STOPPING, "going down")
    ended = run("list")
    assert (ended.code, ended.err) == (4, "ccs-broker: going down\n  Ask again in a moment.\n")


def test_a_failure_as_json(run, desk: SocketDesk) -> None:
    desk.replies["GET /v1/accounts"] = BrokerError(ErrorCode.TOO_MANY, "full")
    ended = run("list", "--json")
    assert (ended.code, ended.err) == (1, "")
    assert json.loads(ended.out)["code"] == "too_many"


def test_no_daemon_ends_with_4(run, home) -> None:
    ended = run("list")
    assert ended.code == 4
    assert "no daemon answers at" in ended.err
    assert "ccs-broker serve" in ended.err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (click.Abort(), 130), (BrokenPipeError(), 1)])
def test_an_interruption_is_no_traceback(run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    def stop() -> None:
        raise error

    monkeypatch.setitem(app.cli.commands, "list", click.Command("list", callback=stop))
    monkeypatch.setattr("broker.cli.output.give_up", lambda: None)
    ended = run("list")
    assert ended.code == code
    assert "Traceback" not in ended.err


def test_the_program_and_the_module_are_the_same() -> None:
    ended = subprocess.run([sys.executable, "-m", "broker", "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout == f"ccs-broker, version {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_us_back(run, shell: str) -> None:
    ended = run("completion", shell)
    assert ended.code == 0
    assert "_CCS_BROKER_COMPLETE" in ended.out
    assert "ccs-broker" in ended.out


def test_completion_answers_the_shell() -> None:
    environ = {
        "_CCS_BROKER_COMPLETE": "bash_complete",
        "COMP_WORDS": "ccs-broker se",
        "COMP_CWORD": "1",
        "PATH": "/usr/bin:/bin",
    }
    ended = subprocess.run([sys.executable, "-m", "broker"], env=environ, capture_output=True, text=True, check=False)
    assert "plain,serve" in ended.stdout
    assert "plain,service" in ended.stdout
