import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.wire import heads
from broker.proxy.wire.heads import HeadError, RequestHead, ResponseHead

HOST = (b"host", b"127.0.0.1:8317")


def check(
    *headers: tuple[bytes, bytes], method: bytes = b"POST", target: bytes = b"/v1/x?a=b", version: str = "1.1"
) -> RequestHead:
    return heads.check_request(method, target, [HOST, *headers], version)


def test_reads_what_matters_of_a_head() -> None:
    head = check((b"content-length", b"12"), (b"expect", b"100-Continue"), (b"x", b"y"))
    assert (head.method, head.path, head.query) == ("POST", "/v1/x", "a=b")
    assert head.length == 12
    assert head.has_body
    assert head.expects_continue
    assert head.keep_alive
    assert head.get(b"x") == b"y"
    assert head.get(b"z") is None


def test_a_chunked_body() -> None:
    head = check((b"transfer-encoding", b"Chunked"))
    assert head.chunked
    assert head.has_body
    assert not check().has_body
    assert not check((b"content-length", b"0")).has_body


@pytest.mark.parametrize(
    ("connection", "keep"),
    [((b"close",), False), ((b"keep-alive, Close",), False), ((b"x", b"close"), False), ((b"x",), True)],
)
def test_connection_close(connection: tuple[bytes, ...], keep: bool) -> None:
    assert check(*[(b"connection", value) for value in connection]).keep_alive is keep


def test_http_1_0_closes_and_needs_no_host() -> None:
    head = heads.check_request(b"GET", b"/", [(b"expect", b"100-continue")], "1.0")
    assert not head.keep_alive
    assert not head.expects_continue


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([HOST], 400),
        ([(b"transfer-encoding", b"gzip")], 501),
        ([(b"transfer-encoding", b"gzip, chunked")], 501),
        ([(b"transfer-encoding", b"chunked"), (b"content-length", b"1")], 400),
        ([(b"content-length", b"1"), (b"content-length", b"1")], 400),
        ([(b"upgrade", b"h2c")], 501),
        ([(b"expect", b"a miracle")], 417),
    ],
)
def test_heads_that_are_refused(headers: list[tuple[bytes, bytes]], status: int) -> None:
    with pytest.raises(HeadError) as caught:
        check(*headers)
    assert caught.value.status == status
    assert caught.value.text


def test_version_and_host_rules() -> None:
    with pytest.raises(HeadError) as caught:
        check(version="2.0")
    assert caught.value.status == 505
    with pytest.raises(HeadError, match="no Host"):
        heads.check_request(b"GET", b"/", [], "1.1")
    with pytest.raises(HeadError, match=r"HTTP/1\.0"):
        heads.check_request(b"POST", b"/", [(b"transfer-encoding", b"chunked")], "1.0")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"GET", b"/a#b", 400),
        (b"GET", b"/" + b"a" * 8192, 414),
        (b"CONNECT", b"evil:443", 501),
        (b"GET", b"*", 400),
        (b"GET", b"a", 400),
        (b"GET", b"http://evil/", 400),
        (b"GET", b"http://127.0.0.1:8317", 400),
        (b"GET", b"https://127.0.0.1:8317/", 400),
    ],
)
def test_targets_that_are_refused(method: bytes, target: bytes, status: int) -> None:
    with pytest.raises(HeadError) as caught:
        check(method=method, target=target)
    assert caught.value.status == status


def test_targets_in_other_forms() -> None:
    head = check(method=b"GET", target=b"HTTP://127.0.0.1:8317/v1/models?x=1")
    assert (head.path, head.query) == ("/v1/models", "x=1")
    assert check(method=b"OPTIONS", target=b"*").path == "*"


def test_response_heads() -> None:
    assert heads.response_head(200, [(b"a", b"b")], length=3, chunked=False, keep_alive=True) == (
        b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\n"
    )
    assert heads.response_head(200, [], length=None, chunked=True, keep_alive=False) == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    assert heads.response_head(204, [], length=3, chunked=False, keep_alive=True) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert heads.response_head(200, [], length=None, chunked=False, keep_alive=True) == b"HTTP/1.1 200 OK\r\n\r\n"
    assert heads.response_head(299, [], length=None, chunked=False, keep_alive=True) == b"HTTP/1.1 299 \r\n\r\n"


def test_request_heads() -> None:
    assert heads.request_head(b"POST", b"/x", b"h:1", [(b"a", b"b")], 0) == (
        b"POST /x HTTP/1.1\r\nhost: h:1\r\na: b\r\ncontent-length: 0\r\n\r\n"
    )
    assert heads.request_head(b"GET", b"/x", b"h", [], None) == b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.mark.parametrize(
    "header", [(b"a", b"b\r\nc: d"), (b"a", b"b\n"), (b"a", b"\0"), (b"a b", b"c"), (b"", b"c"), (b"a\r\n", b"c")]
)
def test_nothing_is_smuggled_into_a_head(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError):
        heads.response_head(200, [header], length=None, chunked=False, keep_alive=True)


@given(st.binary(max_size=40))
def test_a_target_never_breaks_the_head(target: bytes) -> None:
    try:
        head = heads.request_head(b"GET", target, b"h", [], None)
    except ValueError:
        return
    assert head.count(b"\r\n") == 3
    assert head.count(b" ") == 3


@pytest.mark.parametrize(
    ("method", "status", "none"),
    [("HEAD", 200, True), ("GET", 204, True), ("GET", 304, True), ("GET", 101, True), ("GET", 200, False)],
)
def test_answers_without_a_body(method: str, status: int, none: bool) -> None:
    assert heads.bodiless(method, status) is none


def test_response_head_values() -> None:
    head = ResponseHead(200, [(b"a", b"b")])
    assert head.get(b"a") == b"b"
    assert head.get(b"b") is None
    assert heads.chunk(b"x" * 16) + heads.LAST_CHUNK == b"10\r\n0\r\n\r\n"


def test_what_is_made_of_a_head_is_made_once() -> None:
    made: list[str] = []

    def path(head: heads.RequestHead) -> str:
        made.append(head.path)
        return head.path

    head = heads.check_request(b"GET", b"/a", [(b"host", b"x")], "1.1")
    assert [head.derived(path), head.derived(path), made] == ["/a", "/a", ["/a"]]
    assert head.derived(lambda each: each.method) == "GET"


def written(name: bytes) -> bytes:
    return heads.response_head(200, [(name, b"v")], length=0, chunked=False, keep_alive=True)


def test_names_that_others_choose_fill_no_memory() -> None:
    for number in range(3000):
        name = b"x-%d" % number
        assert written(name) == written(name)
    assert b"\r\n" + b"n" * 60_000 + b": v\r\n" in written(b"n" * 60_000)
    with pytest.raises(ValueError, match="name"):
        written(b"n" * 60_000 + b" ")
    assert 0 < len(heads._SEEN) <= 1024
    assert max(map(len, heads._SEEN)) <= 64
