import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Secret
from broker.proxy.access import Door, Peer, Rules, check_key, check_site, is_loopback
from broker.proxy.keys import Holder, LocalKey, Ring, digest_of
from broker.proxy.wire.heads import RequestHead
from broker.translate.ir import Failure

INTERNAL = Secret("ccs-internal-managed")
RULES = Rules.of((Secret("first-key"), Secret("second-key")), INTERNAL, ("Proxy.Example", "other.example:99"))


def head(query: str = "", **headers: str) -> RequestHead:
    return RequestHead(
        "GET",
        "/",
        query,
        [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()],
    )


def peer(address: str = "127.0.0.1", same: bool | None = True) -> Peer:
    return Peer(address, lambda: same)


@pytest.mark.parametrize(
    "request_head",
    [
        head(authorization="Bearer first-key"),
        head(authorization="bearer  second-key "),
        head(x_api_key="first-key"),
        head(x_goog_api_key="second-key"),
        head("alt=sse&key=first-key"),
        head(authorization="Bearer wrong-key", x_api_key="first-key"),
    ],
)
def test_configured_keys_open_from_anywhere(request_head: RequestHead) -> None:
    assert check_key(request_head, peer("192.0.2.1", None), RULES) is None


@pytest.mark.parametrize(
    ("request_head", "reason"),
    [
        (head(), "missing_api_key"),
        (head(authorization="Basic first-key"), "missing_api_key"),
        (head("monkey=first-key"), "missing_api_key"),
        (head(authorization="Bearer "), "invalid_api_key"),
        (head(authorization="Bearer first-ke"), "invalid_api_key"),
        (head(authorization="Bearer first-keyy"), "invalid_api_key"),
        (head(x_api_key="FIRST-KEY"), "invalid_api_key"),
        (head(x_api_key="schl\xfcssel"), "invalid_api_key"),
    ],
)
def test_wrong_and_missing_keys(request_head: RequestHead, reason: str) -> None:
    refused = check_key(request_head, peer(), RULES)
    assert isinstance(refused, Failure)
    assert (refused.status, refused.reason) == (401, reason)
    assert "first-key" not in refused.message


def test_the_internal_key() -> None:
    internal = head(authorization="Bearer ccs-internal-managed")
    assert check_key(internal, peer(), RULES) is None
    assert check_key(internal, peer("::1"), RULES) is None
    assert check_key(internal, peer("127.0.0.1", None), RULES) is None
    for refused in (
        check_key(internal, peer("127.0.0.1", False), RULES),
        check_key(internal, peer("192.0.2.1"), RULES),
        check_key(internal, peer(), Rules.of((Secret("first-key"),), None, ())),
    ):
        assert isinstance(refused, Failure)
        assert refused.status == 401


def test_the_address_is_the_socket_s_not_a_header_s() -> None:
    forged = head(authorization="Bearer ccs-internal-managed", x_forwarded_for="127.0.0.1", forwarded="for=127.0.0.1")
    assert check_key(forged, peer("192.0.2.1"), RULES) is not None


LOCAL = LocalKey(name="ci", sha256=digest_of("local-key"), slot=0, created=1, expires=1000)
BOTH = {"authorization": "Bearer local-key", "x_api_key": "ccs-internal-managed"}


def door(now: float = 999.0) -> Door:
    return Door(Ring([LOCAL]), lambda: now)


@pytest.mark.parametrize(
    "request_head",
    [
        head(authorization="Bearer local-key"),
        head(x_goog_api_key="local-key"),
        head("key=local-key"),
        head(authorization="Bearer wrong", x_api_key="local-key"),
        head(**BOTH),
    ],
)
def test_a_local_key_opens_from_anywhere_and_is_told_apart(request_head: RequestHead) -> None:
    found = check_key(request_head, peer("192.0.2.1", None), RULES, door())
    assert isinstance(found, Holder)
    assert found.key is LOCAL
    closed = Rules.of((), None, ())
    assert isinstance(check_key(request_head, peer("192.0.2.1", None), closed, door()), Holder)


def test_keys_of_the_config_come_first_and_have_no_limits() -> None:
    assert check_key(head(authorization="Bearer local-key", x_api_key="first-key"), peer(), RULES, door()) is None
    assert check_key(head(authorization="Bearer ccs-internal-managed"), peer(), RULES, door()) is None


@pytest.mark.parametrize(("sent", "reason"), [("local-key", "expired_api_key"), ("local-kez", "invalid_api_key")])
def test_local_keys_that_are_over_or_unknown(sent: str, reason: str) -> None:
    refused = check_key(head(authorization=f"Bearer {sent}"), peer(), RULES, door(1000.0))
    assert isinstance(refused, Failure)
    assert (refused.status, refused.reason) == (401, reason)
    assert sent not in refused.message
    assert check_key(head(**BOTH), peer(), RULES, door(1000.0)) is None


def test_no_keys_means_closed() -> None:
    closed = Rules.of((), None, ())
    for request_head in (head(), head(authorization="Bearer "), head(authorization="Bearer ccs-internal-managed")):
        refused = check_key(request_head, peer(), closed)
        assert isinstance(refused, Failure)
        assert refused.reason == "closed"


@given(st.text(st.characters(max_codepoint=255), max_size=30))
def test_no_other_text_opens(text: str) -> None:
    refused = check_key(head(x_api_key=text), peer(), Rules.of((Secret("first-key"),), None, ()))
    assert (refused is None) == (text == "first-key")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8317",
        "127.0.0.1",
        "localhost:8317",
        "LOCALHOST",
        "[::1]:8317",
        "127.8.8.8:1",
        "proxy.example:5",
        "other.example:99",
    ],
)
def test_hosts_that_are_ours(host: str) -> None:
    assert check_site(head(host=host), RULES) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8317", "other.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil@localhost", "", ":8317",
        "192.0.2.1", "localhost/x", "localhost:notaport", "[::1", "localhost,evil.example", "0.0.0.0",
    ],
)  # fmt: skip
def test_hosts_that_are_not(host: str) -> None:
    refused = check_site(head(host=host), RULES)
    assert refused is not None
    assert (refused.status, refused.reason) == (403, "forbidden_host")


def test_a_request_without_host_has_been_judged_before() -> None:
    assert check_site(head(), RULES) is None


@pytest.mark.parametrize(
    ("origin", "ours"),
    [
        ("http://127.0.0.1:8317", True),
        ("https://proxy.example", True),
        ("https://proxy.example:444", True),
        ("http://other.example:99", True),
        ("http://127.0.0.1:3000", False),
        ("http://localhost:8317", False),
        ("https://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_pages_of_other_sites(origin: str, ours: bool) -> None:
    refused = check_site(head(host="127.0.0.1:8317", origin=origin), RULES)
    assert (refused is None) is ours


def test_a_browser_s_own_word_on_other_sites() -> None:
    assert check_site(head(host="localhost", sec_fetch_site="cross-site"), RULES) is not None
    assert check_site(head(host="localhost", sec_fetch_site="same-origin", sec_fetch_mode="cors"), RULES) is None
    assert check_site(head(origin="http://x"), RULES) is not None


@pytest.mark.parametrize(
    ("address", "is_it"),
    [
        ("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("::ffff:127.0.0.1", True), ("::1%lo", True), ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False), ("fe80::1", False), ("", False), ("localhost", False),
    ],
)  # fmt: skip
def test_loopback(address: str, is_it: bool) -> None:
    assert is_loopback(address) is is_it
