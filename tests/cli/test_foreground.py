import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.cli import children

SECONDS = 20


@contextmanager
def started(
    home: Path, *arguments: str, config: str = "", pipe: int | None = None
) -> Iterator["tuple[subprocess.Popen[str], dict[str, str]]"]:
    """Run a command until it says that it is ready; yield it and what it said."""
    (home / "config.toml").write_text(config)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "CCS_BROKER_CONFIG": str(home / "config.toml")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(home / "notify"))
        listener.settimeout(SECONDS)
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", *arguments],
            env={**environ, "NOTIFY_SOCKET": str(home / "notify")},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=() if pipe is None else (pipe,),
        )  # fmt: skip
        try:
            yield process, said(listener)
            if process.returncode is None:
                assert "STOPPING" in said(listener)
                process.wait(SECONDS)
        finally:
            process.kill()
            process.communicate()


def said(listener: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in listener.recv(4096).decode().splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_tells_when_it_serves_and_ends_when_told(home: Path, number: signal.Signals) -> None:
    with started(home, "serve") as (process, ready):
        assert ready["READY"] == "1"
        assert ready["STATUS"] == "lending tokens on the Unix sockets"
        assert ready["MAINPID"] == str(process.pid)
        run = home / ".local" / "state" / "ccs-broker" / "run"
        assert {file.name for file in run.glob("*.sock")} == {"token.sock", "broker.sock"}
        process.send_signal(number)
    assert process.returncode == 0
    assert list(run.glob("*.sock")) == []


def test_proxy_tells_where_it_serves(home: Path) -> None:
    with started(home, "proxy", config="[proxy]\nport = 0\n") as (process, ready):
        url = ready["STATUS"].removeprefix("serving ")
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=SECONDS) as connection:
            connection.sendall(f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            assert connection.recv(12).startswith(b"HTTP/1.1 ")
        process.terminate()
    assert process.returncode == 0


def test_the_service_manager_is_told_what_came_of_a_reload(home: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(home / "notify"))
        listener.settimeout(SECONDS)
        (home / "config.toml").write_text("[proxy]\nport = 0\n")
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "proxy"],
            env={"PATH": os.environ["PATH"], "HOME": str(home), "CCS_BROKER_CONFIG": str(home / "config.toml"),
                 "NOTIFY_SOCKET": str(home / "notify")},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            assert said(listener)["READY"] == "1"
            process.send_signal(signal.SIGHUP)
            assert said(listener) == {"RELOADING": "1"}
            assert said(listener) == {"READY": "1", "STATUS": "settings reloaded", "MAINPID": str(process.pid)}
            (home / "config.toml").write_text("[proxy]\nport = 0\nworkers = 0\n")
            process.send_signal(signal.SIGHUP)
            assert said(listener) == {"RELOADING": "1"}
            refused = said(listener)["STATUS"]
            assert refused == f"settings not reloaded: {home}/config.toml:3: proxy.workers: must be greater than 0"
        finally:
            process.terminate()
            assert process.wait(SECONDS) == 0


def test_what_they_write_is_private_whatever_the_umask(home: Path) -> None:
    with started(home, "serve") as (process, _):
        assert [
            line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("Umask")
        ] == ["Umask:\t0077"]
        process.terminate()


def test_they_end_with_their_parent(home: Path) -> None:
    with children.lifeline() as pipe:
        context = started(home, "serve", "--until-eof", str(pipe), pipe=pipe)
        process, _ = context.__enter__()
    context.__exit__(None, None, None)
    assert process.returncode == 0


def test_asked_twice_it_ends_all_the_same(home: Path) -> None:
    with started(home, "serve") as (process, _):
        path = home / ".local" / "state" / "ccs-broker" / "run" / "broker.sock"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /v1/watch HTTP/1.1\r\nHost: ccs-broker\r\n\r\n")
            client.recv(10)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def test_a_second_daemon_is_told_of_the_first(home: Path) -> None:
    with started(home, "serve") as (process, _):
        environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
        second = subprocess.run(
            [sys.executable, "-m", "broker", "serve"], env=environ, capture_output=True, text=True, check=False
        )
        process.terminate()
    assert second.returncode == 2
    assert f"process {process.pid} already listens at" in second.stderr
    assert "Traceback" not in second.stderr


@pytest.mark.parametrize("command", ["serve", "proxy", "up", "status", "image"])
def test_a_faulty_config_is_told_with_its_place(run, home: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    (home / "config.toml").write_text("[proxy]\nprot = 1\n")
    monkeypatch.setenv("CCS_BROKER_CONFIG", str(home / "config.toml"))
    ended = run(command, *(["a cat"] if command == "image" else []))
    assert ended.code == 2
    assert "config.toml" in ended.err
    assert "prot" in ended.err
    assert "docs/config.md" in ended.err


def test_a_config_named_by_the_environment_must_exist(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCS_BROKER_CONFIG", str(home / "missing.toml"))
    ended = run("serve")
    assert (ended.code, ended.err.splitlines()[0]) == (2, f"ccs-broker: {home}/missing.toml: no such file")


def test_the_sandbox_says_where_it_is_and_keeps_its_secret_off_stdout(home: Path) -> None:
    files = {name: home / name for name in ("secret", "key", "config")}
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", "sandbox", "--client-secret-file", str(files["secret"]), "--api-key-file", str(files["key"]),
         "--config-file", str(files["config"])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert json.loads(line)["url"].startswith("http://127.0.0.1:")
    assert json.loads(line)["url"] in files["config"].read_text()
    for name in ("secret", "key"):
        assert files[name].stat().st_mode & 0o777 == 0o600
        assert files[name].read_text().strip() not in line + out + err


def test_a_sandbox_that_cannot_write_says_where(run, home: Path) -> None:
    (home / "file").touch()
    ended = run("sandbox", "--client-secret-file", str(home / "file" / "secret"))
    assert ended.code == 1
    assert f"{home}/file/" in ended.err
