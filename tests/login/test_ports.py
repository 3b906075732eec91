import errno
import os
import socket
import sys
from pathlib import Path

import pytest

from broker.login import ports
from broker.login.ports import Holder, bind_loopback, holder_of


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


def close(sockets: list[socket.socket]) -> None:
    for one in sockets:
        one.close()


def test_any_port_is_one_port_on_loopback_only() -> None:
    port, sockets = bind_loopback(0)
    try:
        assert {one.getsockname()[1] for one in sockets} == {port}
        assert {one.getsockname()[0] for one in sockets} <= {"127.0.0.1", "::1"}
        assert not any(one.get_inheritable() for one in sockets)
    finally:
        close(sockets)


@needs_ipv6
def test_both_loopback_addresses_are_ours() -> None:
    _, sockets = bind_loopback(0)
    assert len(sockets) == 2
    close(sockets)


def test_a_taken_port_is_told() -> None:
    port, sockets = bind_loopback(0)
    try:
        with pytest.raises(OSError) as caught:
            bind_loopback(port)
        assert caught.value.errno == errno.EADDRINUSE
    finally:
        close(sockets)


@needs_ipv6
def test_a_port_that_is_free_on_one_address_only_counts_as_taken() -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::1", 0))
        other.listen()
        with pytest.raises(OSError):
            bind_loopback(other.getsockname()[1])


@pytest.mark.parametrize("fault", [errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
def test_without_ipv6_one_address_is_enough(fault: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ports._listen

    def listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(fault, "no IPv6 here")
        return real(family, address, port)

    monkeypatch.setattr(ports, "_listen", listen)
    _, sockets = bind_loopback(0)
    assert len(sockets) == 1
    close(sockets)


def test_any_port_is_tried_again_and_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = ports._listen, []

    def listen(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
        if family == socket.AF_INET6:
            tries.append(port)
            raise OSError(errno.EADDRINUSE, "taken")
        return real(family, address, port)

    monkeypatch.setattr(ports, "_listen", listen)
    with pytest.raises(OSError):
        bind_loopback(0)
    assert len(tries) == 20


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux")
def test_the_holder_of_a_port_is_named() -> None:
    port, sockets = bind_loopback(0)
    try:
        holder = holder_of(port)
        assert holder is not None
        assert holder.pid == os.getpid()
        assert str(holder) == f"{holder.name} (pid {os.getpid()})"
    finally:
        close(sockets)
    assert holder_of(port) is None


def test_where_the_system_does_not_tell_nobody_is_named(tmp_path: Path) -> None:
    assert holder_of(80, tmp_path) is None
    (tmp_path / "net").mkdir()
    line = "   0: 0100007F:0050 00000000:0000 0A 0:0 0:0 0 0 0 4242 1 0 100 0 0 10 0"
    (tmp_path / "net/tcp").write_text(f"header\n{line}\nbroken\n")
    (tmp_path / "self").mkdir()
    (tmp_path / "7").mkdir()
    assert holder_of(80, tmp_path) is None
    (tmp_path / "7/fd").mkdir()
    (tmp_path / "7/fd/3").symlink_to("socket:[4242]")
    assert holder_of(80, tmp_path) == Holder(7, "a program")
    (tmp_path / "7/comm").write_text("nginx\n")
    assert holder_of(80, tmp_path) == Holder(7, "nginx")
    assert holder_of(81, tmp_path) is None
