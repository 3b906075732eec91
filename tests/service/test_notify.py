import os
import socket
import sys
from pathlib import Path

import pytest

from broker.service.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def said(listener: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in listener.recv(4096).decode().splitlines())


def at(listener: socket.socket) -> Notifier:
    return Notifier.from_environ({"NOTIFY_SOCKET": listener.getsockname()})


def test_ready(manager: socket.socket) -> None:
    at(manager).ready("serving\n3 accounts")
    assert said(manager) == {"READY": "1", "STATUS": "serving 3 accounts", "MAINPID": str(os.getpid())}


def test_status(manager: socket.socket) -> None:
    at(manager).status("renewing")
    assert said(manager) == {"STATUS": "renewing"}


def test_stopping_asks_for_the_time_it_needs(manager: socket.socket) -> None:
    at(manager).stopping("ending", within_seconds=1.5)
    assert said(manager) == {"STOPPING": "1", "STATUS": "ending", "EXTEND_TIMEOUT_USEC": "1500000"}


def test_extend(manager: socket.socket) -> None:
    at(manager).extend(30)
    assert said(manager) == {"EXTEND_TIMEOUT_USEC": "30000000"}


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_socket() -> None:
    name = f"ccs-broker-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(5)
        Notifier.from_environ({"NOTIFY_SOCKET": "@" + name}).status("here")
        assert said(listener) == {"STATUS": "here"}


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "relative"])
def test_no_manager_no_message(address: str | None) -> None:
    notifier = Notifier.from_environ({} if address is None else {"NOTIFY_SOCKET": address})
    assert not notifier.active
    notifier.ready("nobody hears this")


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    assert notifier.active
    notifier.ready("nobody hears this")


def test_a_manager_that_does_not_read_does_not_block(manager: socket.socket) -> None:
    notifier = at(manager)
    for _ in range(2000):  # far more than its queue holds
        notifier.status("x" * 100)
    assert said(manager) == {"STATUS": "x" * 100}
