import os
import socket
import sys
from collections.abc import Iterator

import pytest

from broker.proxy import peers
from broker.proxy.peers import find_uid, holder_of, same_user

linux = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")

Pair = tuple[tuple[str, int], tuple[str, int]]


@pytest.fixture(params=["127.0.0.1", "::1", "mapped"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A connection of ours: the peer's address and ours, as the server sees them."""
    family = socket.AF_INET if request.param == "127.0.0.1" else socket.AF_INET6
    with socket.socket(family) as listening:
        if request.param == "mapped":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::" if request.param == "mapped" else request.param, 0))
        listening.listen()
        port = listening.getsockname()[1]
        host = "127.0.0.1" if request.param == "mapped" else request.param
        with socket.create_connection((host, port)) as client:
            server, peer = listening.accept()
            with server:
                yield peer[:2], server.getsockname()[:2]
                del client


@linux
def test_our_own_connection_is_known_by_both_ways(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    assert same_user(*pair) is True
    monkeypatch.setattr(peers, "_ask_netlink", _forbidden)
    assert same_user(*pair) is True


@linux
@pytest.mark.parametrize("netlink", [True, False])
def test_another_user_and_no_such_socket(pair: Pair, netlink: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not netlink:
        monkeypatch.setattr(peers, "_ask_netlink", _forbidden)
    (address, _), local = pair
    # A port the system gives to nobody: with another one the same two could have met before, and their TIME_WAIT be root's.
    assert same_user((address, 9), local) is False
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert same_user(*pair) is False


@linux
def test_where_neither_way_is_open(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_ask_netlink", _forbidden)
    monkeypatch.setattr(peers, "_lines", _forbidden)
    assert same_user(*pair) is None


def test_other_systems_cannot_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert same_user(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


def test_the_table_is_read_by_both_ends() -> None:
    if sys.byteorder != "little":
        pytest.skip("the lines are of a little-endian machine")
    line = "  1: 0100007F:9C40 0100007F:207D 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 20 4 30 10 -1"
    other = line.replace("9C40", "9C41").replace(" 1000 ", " 7 ")
    mapped = line.replace("0100007F", "0000000000000000FFFF00000100007F").replace("9C40", "9C42")
    table = ["short line", other, line, mapped]
    assert find_uid(("127.0.0.1", 0x9C40), ("127.0.0.1", 8317), table) == 1000
    assert find_uid(("127.0.0.1", 0x9C41), ("127.0.0.1", 8317), table) == 7
    assert find_uid(("127.0.0.1", 0x9C42), ("127.0.0.1", 8317), table) == 1000
    assert find_uid(("127.0.0.1", 0x9C40), ("127.0.0.1", 8318), table) is None


@linux
def test_who_holds_a_port() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        holder = holder_of(port)
        assert holder is not None
        assert holder.endswith(f"(pid {os.getpid()})")
    assert holder_of(port) is None


@linux
def test_a_table_that_cannot_be_read_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_lines", _forbidden)
    assert holder_of(1) is None


def _forbidden(*_: object) -> list[str]:
    raise PermissionError(13, "not allowed")
