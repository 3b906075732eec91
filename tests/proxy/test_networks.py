import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.networks import Networks


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1", "2001:db8::1", "", "what"])
def test_without_lists_everybody_stays(address: str) -> None:
    assert Networks().admit(address)


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("10.1.2.3", True),
        ("10.1.9.9", False),
        ("10.2.0.1", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:10.1.9.9", False),
        ("2001:db8::5", True),
        ("2001:db8:1::5", False),
        ("fe80::1%eth0", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("", False),
        ("localhost", False),
    ],
)
def test_deny_wins_over_allow(address: str, stays: bool) -> None:
    allow = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "fe80::/10")
    deny = ("10.1.9.0/24", "2001:db8:1::/48")
    assert Networks(allow, deny).admit(address) is stays


def test_deny_alone_lets_all_others_in() -> None:
    networks = Networks((), ("203.0.113.0/24", "2001:db8::1"))
    assert networks.admit("203.0.114.1")
    assert networks.admit("2001:db8::2")
    assert not networks.admit("203.0.113.200")
    assert not networks.admit("2001:db8::1")
    assert not networks.admit("not an address")


def test_each_family_has_its_own_everything() -> None:
    assert not Networks((), ("0.0.0.0/0",)).admit("::ffff:192.0.2.1")
    assert Networks((), ("0.0.0.0/0",)).admit("2001:db8::1")
    assert Networks((), ("::/0",)).admit("192.0.2.1")


def test_a_mapped_block_means_the_ipv4_addresses() -> None:
    networks = Networks(("::ffff:10.0.0.0/104",))
    assert networks.admit("10.9.9.9")
    assert networks.admit("::ffff:10.9.9.9")
    assert not networks.admit("11.0.0.1")


def test_a_mapped_block_of_more_than_ipv4_stays_what_it_is() -> None:
    assert Networks(("2001:db8::/96",)).admit("2001:db8::7")
    assert Networks(("::/1",)).admit("2001:db8::7")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "example.com", "", "10.0.0"])
def test_what_is_no_block_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Networks((text,))


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_block_holds_its_addresses_and_no_other(ip: ipaddress.IPv4Address, bits: int) -> None:
    block = ipaddress.ip_network((ip, bits), strict=False)
    first, last = int(block[0]), int(block[-1])
    networks = Networks((str(block),))
    assert networks.admit(str(ip))
    assert networks.admit(f"::ffff:{ip}")
    for outside in (first - 1, last + 1):
        if 0 <= outside < 1 << 32:
            assert not networks.admit(str(ipaddress.IPv4Address(outside)))
