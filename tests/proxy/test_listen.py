import os
import socket

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.listen import bind


def test_binds_and_listens() -> None:
    with bind("127.0.0.1", 0) as made, socket.create_connection(made.getsockname()):
        assert not made.getblocking()


def test_ipv6() -> None:
    with bind("::1", 0) as made:
        assert made.getsockname()[0] == "::1"


def test_a_port_in_use_says_by_whom() -> None:
    with bind("127.0.0.1", 0) as made:
        port = made.getsockname()[1]
        with pytest.raises(
            BrokerError, match=rf"proxy\.port: {port} on 127\.0\.0\.1 is in use by .*\(pid {os.getpid()}\)"
        ) as caught:
            bind("127.0.0.1", port)
        assert caught.value.code is ErrorCode.BAD_REQUEST
        with pytest.raises(BrokerError, match="in use"):
            bind("127.0.0.1", port, shared=True)


def test_workers_share_a_port() -> None:
    with bind("127.0.0.1", 0, shared=True) as first, bind("127.0.0.1", first.getsockname()[1], shared=True) as second:
        second.listen()
        with socket.create_connection(second.getsockname()):
            pass


def test_an_address_of_another_machine() -> None:
    with pytest.raises(BrokerError, match=r"proxy\.host: 'no\.such\.host\.invalid'"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(BrokerError, match=r"cannot listen on 192\.0\.2\.1 port 0"):
        bind("192.0.2.1", 0)
