import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.proxy.headers import Headers, api_key, bearer, filled, key_header, overlaid, shown, to_client, to_upstream
from broker.proxy.wire.heads import lines


def lease(token: str) -> Lease:
    return Lease(account="gemini/a", provider="gemini", generation=1, access_token=Secret(token))


def test_what_travels_on_to_the_upstream() -> None:
    sent = [
        (b"host", b"127.0.0.1:8317"), (b"authorization", b"Bearer k"), (b"x-api-key", b"k"), (b"x-goog-api-key", b"k"), (b"cookie", b"c"),
        (b"connection", b"keep-alive"), (b"content-length", b"5"), (b"accept-encoding", b"gzip"), (b"expect", b"100-continue"),
        (b"transfer-encoding", b"chunked"), (b"proxy-authorization", b"x"), (b"x-forwarded-for", b"1.2.3.4"), (b"te", b"trailers"),
        (b"user-agent", b"GeminiCLI"), (b"content-type", b"application/json"), (b"x-goog-api-client", b"sdk"), (b"accept", b"*/*"),
    ]  # fmt: skip
    assert [name for name, _ in to_upstream(sent)] == [b"user-agent", b"content-type", b"x-goog-api-client", b"accept"]


def test_what_stays_here_stays_here_with_underscores_too() -> None:
    sent = [
        (b"content_length", b"5"), (b"transfer_encoding", b"chunked"), (b"x_goog-api_key", b"k"), (b"x-gemini_api_privileged-user_id", b"1"),
        (b"proxy_connection", b"close"), (b"session_id", b"kept"),
    ]  # fmt: skip
    assert to_upstream(sent) == [(b"session_id", b"kept")]


def test_headers_named_by_connection_stay_here() -> None:
    sent = [
        (b"connection", b"close, X-Secret"),
        (b"connection", b"other"),
        (b"x-secret", b"1"),
        (b"other", b"2"),
        (b"kept", b"3"),
    ]
    assert to_upstream(sent) == [(b"kept", b"3")]
    assert to_upstream([(b"connection", b"close"), (b"close", b"1")]) == [(b"close", b"1")]


def test_what_a_client_is_shown() -> None:
    got = [
        (b"content-type", b"application/json"), (b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"set-cookie", b"a=b"),
        (b"server", b"ESF"), (b"alt-svc", b"h3"), (b"retry-after", b"3"), (b"content-encoding", b"gzip"), (b"x-request-id", b"theirs"),
    ]  # fmt: skip
    assert to_client(got, b"ours-1") == [
        (b"content-type", b"application/json"), (b"retry-after", b"3"), (b"content-encoding", b"gzip"), (b"x-request-id", b"ours-1"),
    ]  # fmt: skip


def test_credentials() -> None:
    assert bearer(lease("fake-access-1")) == (b"authorization", b"Bearer fake-access-1")
    assert api_key(lease("fake-key-1"), b"x-goog-api-key") == (b"x-goog-api-key", b"fake-key-1")


@pytest.mark.parametrize("token", ["", "a b", "a\r\nb", "schlüssel", "\0"])
def test_a_token_that_no_header_may_hold(token: str) -> None:
    with pytest.raises(BrokerError) as caught:
        bearer(lease(token))
    assert caught.value.code is ErrorCode.MISCONFIGURED
    assert caught.value.account == "gemini/a"


def test_the_config_s_own_headers_stand_in_the_place_of_others() -> None:
    sent = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert overlaid(sent, ()) is sent
    assert overlaid(sent, [(b"a", b"x"), (b"c", b"y")]) == [(b"b", b"2"), (b"a", b"x"), (b"c", b"y")]


@pytest.mark.parametrize(
    ("named", "header"),
    [
        (None, (b"x-api-key", b"fake-1")),
        (" Authorization ", (b"authorization", b"Bearer fake-1")),
        ("Api-Key", (b"api-key", b"fake-1")),
    ],
)
def test_a_key_stands_in_the_header_its_account_names(named: str | None, header: tuple[bytes, bytes]) -> None:
    held = msgspec.structs.replace(lease("fake-1"), facts={} if named is None else {"header": named})
    assert key_header(held, "x-api-key") == header


@pytest.mark.parametrize("named", ["", "a b", "a:b", "ä", "a\r\nb"])
def test_what_is_no_header_holds_no_key(named: str) -> None:
    held = msgspec.structs.replace(lease("fake-1"), facts={"header": named})
    with pytest.raises(BrokerError) as caught:
        key_header(held, "x-api-key")
    assert caught.value.code is ErrorCode.MISCONFIGURED


def test_defaults_fill_what_a_client_does_not_say() -> None:
    defaults = [(b"accept", b"*/*"), (b"user-agent", b"ours")]
    assert filled([(b"user-agent", b"theirs")], defaults) == [(b"user-agent", b"theirs"), (b"accept", b"*/*")]
    assert filled([], defaults) == defaults


@given(
    st.lists(
        st.tuples(
            st.sampled_from((b"content-type", b"set-cookie", b"connection", b"x-a", b"x-b", b"date", b"x-request-id")),
            st.sampled_from((b"", b"keep-alive", b"Close", b"x-a, close", b"some text", b"caf\xe9")),
        )
    )
)
def test_what_is_shown_is_written_the_same_in_one_step(headers: Headers) -> None:
    assert shown(headers, b"id-1") == lines(to_client(headers, b"id-1"))


@pytest.mark.parametrize("value", [b"a\r\nx-b: c", b"a\nb", b"a\rb", b"a\0b"])
def test_nothing_is_shown_that_would_break_the_head(value: bytes) -> None:
    with pytest.raises(ValueError, match="break the head"):
        shown([(b"x-a", value)], b"id-1")
