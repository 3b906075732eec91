import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Secret
from broker.proxy.reqlog import masking
from broker.proxy.reqlog.capture import Captured, ends_of
from broker.proxy.reqlog.masking import Mask, credentials, secret_header

TOKEN = 'fake-"odd"/token+of=mine ü'


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "set-cookie", "x-auth-token", "x-key", "token",
        "x-amz-security-token", "www-authenticate", "x-csrf", "x-client-secret",
    ],
)  # fmt: skip
def test_headers_that_hold_credentials(name: str) -> None:
    assert secret_header(name.encode())
    assert secret_header(name.upper().encode())


@pytest.mark.parametrize(
    "name",
    [
        "content-type",
        "x-request-id",
        "anthropic-ratelimit-tokens-remaining",
        "x-ratelimit-limit-tokens",
        "x-keyboard",
        "accept",
    ],
)
def test_headers_that_do_not(name: str) -> None:
    assert not secret_header(name.encode())


def test_the_credentials_of_a_head() -> None:
    headers = [(b"authorization", b"Bearer fake-one"), (b"x-api-key", b"fake-two"), (b"accept", b"fake-three")]
    found = {each.reveal() for each in credentials(headers, "key=fake%2Dfour&x=fake-five&access_token=fake-six")}
    assert found == {"Bearer fake-one", "fake-one", "fake-two", "fake-four", "fake-six"}
    assert not list(credentials([(b"x", b"y")]))


def test_a_head() -> None:
    headers = [
        (b"authorization", b"Bearer fake-one"),
        (b"x-note", b"of fake-one"),
        (b"x-odd", b"a\nb"),
        (b"accept", b"*/*"),
    ]
    mask = Mask(credentials(headers))
    shown = mask.head(b"POST /v1/x?key=abc&y=1 HTTP/1.1", headers)
    assert shown == (
        b"POST /v1/x?key=[hidden]&y=1 HTTP/1.1\nauthorization: [hidden]\nx-note: of [hidden]\nx-odd: a b\naccept: */*\n\n"
    )


@pytest.mark.parametrize(
    "spelt",
    [
        TOKEN,
        quote(TOKEN),
        quote(TOKEN, safe=""),
        json.dumps(TOKEN)[1:-1],
        json.dumps(TOKEN)[1:-1].replace("/", "\\/"),
        json.dumps(json.dumps(TOKEN)[1:-1])[1:-1],
    ],
)
def test_a_secret_is_found_however_it_is_spelt(spelt: str) -> None:
    body = f'{{"said": "x{spelt}y"}}'.encode()
    assert Mask([Secret(TOKEN)]).body(Captured(body), 1000) == b'{"said": "x[hidden]y"}'


def test_a_short_secret_would_hide_every_text() -> None:
    assert Mask([Secret("abc")]).text(b"an abc of texts") == b"an abc of texts"


def test_a_form_keeps_its_fields_and_loses_its_files() -> None:
    fields = b'--xyz\r\nname="prompt"\r\n\r\nfake-token of a cat\r\n--xyz\r\nname="image"\r\n\r\n'
    body = fields + b"\x00\xff\r\n" * 100 + b"\r\n--xyz--\r\n"
    shown = Mask([Secret("fake-token")]).body(Captured(body), 50)
    assert shown == fields.replace(b"fake-token", b"[hidden]") + b"<400 bytes>\r\n--xyz--\r\n"


def test_bytes_that_are_no_text_stay() -> None:
    body = bytes(range(1, 33)) * 4 + b"\xff\xfe\x80 fake-token"
    assert Mask([Secret("fake-token")]).body(Captured(body), 1000) == body.replace(b"fake-token", b"[hidden]")


def test_what_is_left_out_is_counted_with_what_the_edges_lose() -> None:
    body = b"one two " + b"a" * 100 + b" three four"
    shown = Mask([]).body(ends_of(body, 30), 1000)
    assert shown == b"one two <100 bytes> three four"


@given(st.integers(0, 120), st.sampled_from(["fake-plain-token", TOKEN, "fake token!with?odd;things"]))
def test_no_half_of_a_secret_is_left_at_an_edge(at: int, token: str) -> None:
    secret = token.encode()
    body = b"a b c d e " * 6 + secret + b" f g h i j" * 6
    shown = Mask([Secret(token)]).body(ends_of(body, 2 * at + 2), 10_000)
    for length in range(5, len(secret)):
        assert secret[:length] not in shown
        assert secret[-length:] not in shown


@given(
    st.lists(
        st.sampled_from(['{"a": "b"', ',"c": 1', "\n", "words of a text ", "x" * 50, 'Bearer fake-token-1"']),
        max_size=40,
    )
)
def test_in_pieces_as_in_one(parts: list[str]) -> None:
    data = "".join(parts).encode()
    pieces = list(masking._pieces(data, 64))
    assert b"".join(pieces) == data
    assert all(len(piece) <= 64 for piece in pieces)
    assert all(pieces[:-1])


def test_a_long_text_is_looked_through_in_pieces() -> None:
    word = '"access_token": "fake-words", "note": "a text", "list":[1,2,3],"more": "Bearer fake-token-2"\n'
    text = (word * 2000).encode()
    shown = Mask([]).text(text)
    assert b"fake" not in shown
    assert shown.count(b"[hidden]") == 4000
