import os
import sys
from pathlib import Path

import pytest

from broker.cli import children
from broker.service.notify import Notifier


def test_a_child_is_this_program_and_not_what_lies_about() -> None:
    command = children.command("serve", 7)
    assert command[0] == sys.executable
    assert command[1:] == ["-P", "-m", "broker", "serve", "--until-eof", "7"]


def test_a_child_reports_to_us_and_gets_no_sockets_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/the/managers/own")
    made = children.environment(Path("/x/notify"), CCS_BROKER_RUNTIME_DIR="/x")
    assert (made["NOTIFY_SOCKET"], made["CCS_BROKER_RUNTIME_DIR"]) == ("/x/notify", "/x")
    assert not [name for name in made if name.startswith("LISTEN_")]


def test_the_lifeline_ends_with_the_block() -> None:
    with children.lifeline() as pipe:
        child = os.dup(pipe)
        os.set_blocking(child, False)
        with pytest.raises(BlockingIOError):
            os.read(child, 1)
    assert os.read(child, 1) == b""
    os.close(child)


def test_readiness_is_heard(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "notify"))
    with children.ready_socket(tmp_path / "notify") as listener:
        assert children.readiness(listener) is None
        notifier.status("starting")
        assert children.readiness(listener) is None
        notifier.ready("serving http://127.0.0.1:1")
        assert children.readiness(listener) == "serving http://127.0.0.1:1"
