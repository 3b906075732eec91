import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from broker.cli.app import main
from broker.cli.lettering import large
from broker.cli.qr import drawing
from broker.ipc.schema import Health, LoginView, problem_of
from broker.model.errors import BrokerError, ErrorCode
from broker.providers.registry import build
from broker.sandbox.config_text import config_toml
from broker.sandbox.serve import write_secret
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings
from broker.system import SystemClock
from tests.fakes.socket_desk import Asked, SocketDesk

HEALTH = Health(status="ok", version="0.1.0", pid=7, uptime=61.0, accounts={})
URL = "https://auth.example/authorize?state=fake-state"
DEVICE_URL = "https://auth.example/activate?user_code=ABCD-EFGH"


def view(state: str = "waiting", **more: object) -> LoginView:
    return LoginView(
        id="login-1",
        provider="gemini",
        state=state,
        flow="code",
        url=URL,
        redirect_uri="http://localhost:8085/oauth2callback",
        **more,
    )  # type: ignore[arg-type]


DONE = view("done", account="gemini/alice@example.com", file="gemini-alice.json")


@pytest.fixture
def login(desk: SocketDesk) -> SocketDesk:
    """A daemon whose logins wait once and are done then."""
    answers = iter([view(), view("finishing")])
    desk.replies |= {
        "GET /v1/health": HEALTH,
        "POST /v1/logins": view(),
        "GET /v1/logins/login-1": lambda _: next(answers, DONE),
        "DELETE /v1/logins/login-1": view("failed"),
    }
    return desk


@pytest.fixture
def browser(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A desktop with a browser that writes down what it is shown."""
    for name in ("SSH_CONNECTION", "SSH_TTY", "container"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("broker.login.browser._CONTAINER_MARKS", ())
    program, shown = home / "browser", home / "shown"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > {shown}\n')
    program.chmod(0o755)
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.setenv("BROWSER", str(program))
    return shown


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Put a pipe in the place of stdin; return where to write."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield writing
        with contextlib.suppress(OSError):  # the test may have closed it
            os.close(writing)


def started(desk: SocketDesk) -> dict[str, object]:
    (asked,) = [each for each in desk.asked if (each.method, each.target) == ("POST", "/v1/logins")]
    assert isinstance(asked.body, dict)
    return asked.body


def test_a_login_in_the_browser(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    ended = run("login", "gemini")
    assert ended.code == 0
    assert ended.out == "Logged in as gemini/alice@example.com.\nSaved in gemini-alice.json\n"
    assert browser.read_text() == URL
    assert URL in ended.err
    assert "Waiting for you to log in" in ended.err
    assert "ssh" not in ended.err


def test_the_help_names_every_provider_with_a_login(run) -> None:
    told = " ".join(run("login", "--help").out.split())
    with_logins = ", ".join(sorted(each.name for each in build({}) if each.flows))
    assert f"PROVIDER is {with_logins}, or one of your config." in told


def test_options_reach_the_daemon(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    run(
        "login", "gemini", "--label", "work", "--project", "fake-project", "--timeout", "42",
        "--option", "region=eu", "--option", "url=https://a.example/?x=y",
    )  # fmt: skip
    assert started(login) == {
        "provider": "gemini", "label": "work", "flow": None, "callback": True, "project": "fake-project", "timeout": 42.0,
        "options": {"region": "eu", "url": "https://a.example/?x=y"},
    }  # fmt: skip


def test_an_option_is_a_name_and_a_value(run, login: SocketDesk) -> None:
    ended = run("login", "gemini", "--option", "region")
    assert ended.code == 2
    assert "'region' is not NAME=VALUE" in ended.err


def test_the_result_as_json_leaves_stdout_to_it(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    ended = run("login", "gemini", "--json")
    made = json.loads(ended.out)
    assert (made["version"], made["account"]) == (1, "gemini/alice@example.com")
    assert URL in ended.err


def test_no_browser_is_opened_when_not_wanted(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    ended = run("login", "gemini", "--no-browser")
    assert ended.code == 0
    assert not browser.exists()
    assert "paste here the address" in ended.err


def test_what_is_known_of_the_provider_is_told_first(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    login.replies["POST /v1/logins"] = view(notes=("It ended upstream.",))
    ended = run("login", "gemini", "--no-browser")
    assert ended.err.index("It ended upstream.") < ended.err.index(URL)


def test_a_page_that_leads_to_no_callback_here_is_told_to_be_pasted(
    run, login: SocketDesk, browser: Path, keyboard: int
) -> None:
    login.replies["POST /v1/logins"] = msgspec.structs.replace(view("waiting"), redirect_uri="kiro://x/success")
    ended = run("login", "kiro")
    assert browser.exists()
    assert "paste here the address" in ended.err


def test_without_a_desktop_the_way_over_ssh_is_shown(
    run, login: SocketDesk, browser: Path, keyboard: int, monkeypatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    ended = run("login", "gemini")
    assert not browser.exists()
    assert "No browser can open here: this is an ssh session." in ended.err
    [tunnel] = [line for line in ended.err.splitlines() if "ssh -L" in line]
    assert tunnel.startswith("  ssh -L 8085:localhost:8085 ")
    assert tunnel.endswith("@192.0.2.2")


@pytest.mark.parametrize("redirect", ["https://vendor.example/code/callback", "kiro://x/success"])
def test_no_way_over_ssh_is_shown_where_no_callback_comes(
    run, login: SocketDesk, browser: Path, keyboard: int, monkeypatch, redirect: str
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    login.replies["POST /v1/logins"] = msgspec.structs.replace(view("waiting"), redirect_uri=redirect)
    ended = run("login", "claude")
    assert "this is an ssh session" in ended.err
    assert "ssh -L" not in ended.err
    assert "paste here the address" in ended.err


def test_a_port_that_is_taken_is_no_obstacle_to_pasting(
    run, login: SocketDesk, browser: Path, keyboard: int, monkeypatch
) -> None:
    def begin(asked: Asked) -> object:
        assert isinstance(asked.body, dict)
        return BrokerError(ErrorCode.LOGIN_FAILED, "port 8085 is taken by x") if asked.body["callback"] else view()

    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    login.replies["POST /v1/logins"] = begin
    ended = run("login", "gemini", "--no-browser")
    assert ended.code == 0
    assert "No callback is waited for, as port 8085 is taken by x.\n" in ended.err
    assert "ssh -L" not in ended.err
    assert "paste here the address" in ended.err


def test_a_port_that_is_taken_is_one_where_the_browser_is_to_come_back(
    run, login: SocketDesk, browser: Path, keyboard: int
) -> None:
    login.replies["POST /v1/logins"] = BrokerError(ErrorCode.LOGIN_FAILED, "port 8085 is taken by x")
    ended = run("login", "gemini")
    assert ended.code == 1
    assert "port 8085 is taken by x" in ended.err
    assert started(login)["callback"] is True


def test_what_fails_for_another_reason_is_not_tried_twice(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    login.replies["POST /v1/logins"] = BrokerError(ErrorCode.MISCONFIGURED, "no client_id")
    assert run("login", "gemini", "--no-browser").code == 1
    assert started(login)["callback"] is True


def by_device(state: str = "waiting", **more: object) -> LoginView:
    return msgspec.structs.replace(
        view(state), flow="device", url=DEVICE_URL, redirect_uri=None, user_code="ABCD-EFGH", **more
    )


@pytest.fixture
def device(login: SocketDesk) -> SocketDesk:
    """A daemon whose logins are by device code."""
    answers = iter([by_device(), by_device("finishing")])
    login.replies["POST /v1/logins"] = by_device()
    login.replies["GET /v1/logins/login-1"] = lambda _: next(answers, DONE)
    return login


def test_a_device_code_is_shown_and_waited_for(run, device: SocketDesk, browser: Path, keyboard: int) -> None:
    ended = run("login", "acme", "--device", "--no-browser")
    assert ended.code == 0
    assert started(device)["flow"] == "device"
    lines = ended.err.splitlines()
    assert f"  {DEVICE_URL}" in lines
    assert "    |   ABCD-EFGH   |" in lines
    assert "Waiting for you to approve (" in ended.err
    assert "paste" not in ended.err
    assert not browser.exists()


def test_a_provider_with_device_codes_only_needs_no_option(
    run, device: SocketDesk, browser: Path, keyboard: int
) -> None:
    os.write(keyboard, b"this is for another program\n")
    ended = run("login", "acme")
    assert (ended.code, started(device)["flow"]) == (0, None)
    assert "ABCD-EFGH" in ended.err
    assert browser.read_text() == DEVICE_URL
    assert not any("callback" in target for target in device.targets)


def test_a_grant_without_a_person_shows_nothing_to_open(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    alone = msgspec.structs.replace(view(), flow="client-credentials", url=None, redirect_uri=None)
    login.replies["POST /v1/logins"] = alone
    login.replies["GET /v1/logins/login-1"] = msgspec.structs.replace(DONE, flow="client-credentials")
    ended = run("login", "acme", "--flow", "client-credentials")
    assert ended.code == 0
    assert started(login)["flow"] == "client-credentials"
    assert "Waiting for the provider" in ended.err
    assert "paste" not in ended.err
    assert "Open" not in ended.err
    assert not browser.exists()


def test_the_flow_can_be_named(run, device: SocketDesk, browser: Path, keyboard: int) -> None:
    assert run("login", "acme", "--flow", "device").code == 0
    assert started(device)["flow"] == "device"


@pytest.mark.parametrize("options", [["--flow", "code"], ["--flow", "code", "--no-qr"]])
def test_two_flows_are_a_mistake(run, device: SocketDesk, options: list[str]) -> None:
    ended = run("login", "acme", "--device", *options)
    assert ended.code == 2
    assert "contradict" in ended.err
    assert device.asked == []


class Terminal:
    """A terminal as wide as it is told, in the place of stdout and stderr."""

    def __init__(self, columns: int, encoding: str = "utf-8") -> None:
        self.columns, self.encoding, self.text = columns, encoding, ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        text.encode(self.encoding)
        self.text += text

    def flush(self) -> None:
        pass


def shown_on(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, *options: str, stdout: bool = True) -> str:
    monkeypatch.setenv("COLUMNS", str(terminal.columns))
    monkeypatch.setattr("sys.stderr", terminal)
    if stdout:
        monkeypatch.setattr("sys.stdout", terminal)
    assert main(["login", "acme", *options]) == 0
    return terminal.text


def test_on_a_terminal_the_code_is_large_and_the_address_a_qr_code(
    device: SocketDesk, browser: Path, keyboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shown_on(Terminal(80), monkeypatch)
    assert "\n".join(drawing(DEVICE_URL, 80) or ()) in text
    letters = large("ABCD-EFGH", 76, "█")
    assert letters
    assert all(f"    {line}\n" in text for line in letters)
    assert "|   ABCD-EFGH   |" in text


def test_no_qr_code_where_none_is_wanted_or_can_be(
    device: SocketDesk, browser: Path, keyboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = shown_on(Terminal(80), monkeypatch, "--no-qr")
    assert "48;5;231" not in without
    assert "█████" in without


@pytest.mark.parametrize(
    ("terminal", "stdout"),
    [(Terminal(30), True), (Terminal(80, "ascii"), True), (Terminal(80), False)],
    ids=["narrow", "ascii", "stdout is a pipe"],
)
def test_a_terminal_that_cannot_show_it_shows_the_plain_code(
    device: SocketDesk, browser: Path, keyboard: int, monkeypatch: pytest.MonkeyPatch, terminal: Terminal, stdout: bool
) -> None:
    text = shown_on(terminal, monkeypatch, stdout=stdout)
    assert "48;5;231" not in text
    assert "█" not in text
    assert "|   ABCD-EFGH   |" in text
    assert ("##### " in text) is (terminal.encoding == "ascii")


def test_a_device_login_needs_no_desktop(
    run, device: SocketDesk, browser: Path, keyboard: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    ended = run("login", "acme", "--device")
    assert "on this or any other device" in ended.err
    assert "ssh -L" not in ended.err
    assert not browser.exists()


def test_a_device_login_as_json_leaves_stdout_to_it(run, device: SocketDesk, browser: Path, keyboard: int) -> None:
    ended = run("login", "acme", "--device", "--json")
    assert json.loads(ended.out)["account"] == "gemini/alice@example.com"
    assert "ABCD-EFGH" in ended.err


def test_the_time_left_is_the_code_s_where_that_is_shorter(
    run, device: SocketDesk, browser: Path, keyboard: int
) -> None:
    device.replies["POST /v1/logins"] = by_device(expires_at=SystemClock().now().wall + 150)
    assert "Waiting for you to approve (2 min left)" in run("login", "acme", "--device").err


def test_ctrl_c_cancels_a_device_login(run, device: SocketDesk, browser: Path, keyboard: int) -> None:
    def interrupt(_: Asked) -> object:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
        return by_device()

    device.replies["GET /v1/logins/login-1"] = interrupt
    assert run("login", "acme", "--device").code == 130
    assert device.targets[-1] == "DELETE /v1/logins/login-1"


def test_a_pasted_address_finishes_it(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    login.replies["GET /v1/logins/login-1"] = view()
    login.replies["POST /v1/logins/login-1/callback"] = DONE
    pasted = "http://localhost:8085/oauth2callback?code=fake-code&state=fake-state"
    os.write(keyboard, f"  {pasted} \n".encode())
    ended = run("login", "gemini", "--no-browser")
    assert ended.code == 0
    assert login.asked[-1].body == {"text": pasted}
    assert pasted not in ended.err + ended.out


def test_a_wrong_paste_is_no_end(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    def finish(asked: Asked) -> object:
        right = isinstance(asked.body, dict) and asked.body["text"] == "right"
        return DONE if right else BrokerError(ErrorCode.BAD_REQUEST, "there is no code in it")

    login.replies["GET /v1/logins/login-1"] = view()
    login.replies["POST /v1/logins/login-1/callback"] = finish
    os.write(keyboard, b"wrong\n\nright\n")
    ended = run("login", "gemini", "--no-browser")
    assert ended.code == 0
    assert "That is not it: there is no code in it." in ended.err


def test_a_paste_without_line_break_counts_when_stdin_ends(
    run, login: SocketDesk, browser: Path, keyboard: int
) -> None:
    login.replies["GET /v1/logins/login-1"] = view()
    login.replies["POST /v1/logins/login-1/callback"] = DONE
    os.write(keyboard, b"fake-code")
    os.close(keyboard)
    assert run("login", "gemini", "--no-browser").code == 0
    assert login.asked[-1].body == {"text": "fake-code"}


def test_a_paste_that_ends_it_badly(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    login.replies["POST /v1/logins/login-1/callback"] = BrokerError(ErrorCode.LOGIN_DENIED, "you said no")
    os.write(keyboard, b"error=access_denied\n")
    ended = run("login", "gemini", "--no-browser")
    assert (ended.code, ended.err.splitlines()[-2]) == (1, "ccs-broker: you said no")


def test_a_closed_stdin_is_not_read_again(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    os.close(keyboard)
    assert run("login", "gemini", "--no-browser").code == 0


@pytest.mark.parametrize(
    ("code", "ended"), [(ErrorCode.LOGIN_DENIED, 1), (ErrorCode.LOGIN_EXPIRED, 6), (ErrorCode.LOGIN_FAILED, 1)]
)
def test_a_login_that_fails_says_why(
    run, login: SocketDesk, browser: Path, keyboard: int, code: ErrorCode, ended: int
) -> None:
    login.replies["GET /v1/logins/login-1"] = view("failed", problem=problem_of(BrokerError(code, "this is why")))
    result = run("login", "gemini")
    assert result.code == ended
    assert "ccs-broker: this is why\n" in result.err


def test_an_unknown_provider_ends_with_5(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    login.replies["POST /v1/logins"] = BrokerError(ErrorCode.UNKNOWN_PROVIDER, "no provider 'x'; there are: gemini")
    ended = run("login", "x")
    assert ended.code == 5
    assert "there are: gemini" in ended.err


def test_another_failure_of_the_daemon_starts_no_second_one(run, login: SocketDesk, browser: Path) -> None:
    login.replies["GET /v1/health"] = BrokerError(ErrorCode.FORBIDDEN_PEER, "not you")
    assert run("login", "gemini").code == 1
    assert login.targets == ["GET /v1/health"]


def test_ctrl_c_cancels_the_login(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    def interrupt(_: Asked) -> object:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
        return view()

    login.replies["GET /v1/logins/login-1"] = interrupt
    ended = run("login", "gemini")
    assert ended.code == 130
    assert login.targets[-1] == "DELETE /v1/logins/login-1"
    assert "Traceback" not in ended.err


def test_a_login_that_is_gone_when_cancelled(run, login: SocketDesk, browser: Path, keyboard: int) -> None:
    login.replies["GET /v1/logins/login-1"] = BrokerError(ErrorCode.UNKNOWN_LOGIN, "gone")
    login.replies["DELETE /v1/logins/login-1"] = BrokerError(ErrorCode.UNKNOWN_LOGIN, "gone")
    assert run("login", "gemini").code == 5


class Approver:
    """A person at a browser: opens the page a login prints, and follows it to its end."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.page = ""

    def approve(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip().startswith("http"):
                with urllib.request.urlopen(line.strip(), timeout=20) as page:
                    self.page = page.read().decode()
                return


@pytest.mark.parametrize("way", [[], ["--device"]], ids=["code", "device"])
async def test_without_a_daemon_a_login_is_made_all_the_same(home: Path, way: list[str]) -> None:
    async with await Sandbox.start(SandboxSettings(device_interval=1)) as sandbox:
        write_secret(home / "secret", sandbox.client_secret)
        (home / "config.toml").write_text(config_toml(sandbox.url, sandbox.client_id, str(home / "secret")))
        environ = {"PATH": os.environ["PATH"], "HOME": str(home), "CCS_BROKER_CONFIG": str(home / "config.toml")}
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "login", "sandbox", *way, "--no-browser", "--json"],
            env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        approver = Approver(process)
        await asyncio.to_thread(approver.approve)
        out, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == 0, err
    made = json.loads(out)
    files = list((home / ".ccs" / "cliproxy" / "auth").glob("*.json"))
    assert [file.name for file in files] == [made["file"]]
    assert json.loads(files[0].read_text())["type"] == "sandbox"
    assert "</html>" in approver.page.lower()


def test_a_daemon_that_cannot_start_is_told(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "state").write_text("in the way")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    ended = run("login", "gemini")
    assert ended.code == 4
    assert "one did not start:" in ended.err
    assert "state" in ended.err
