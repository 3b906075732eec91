import json

import pytest

from broker.proxy.refused import is_page, refused
from broker.proxy.wire.heads import Headers, ResponseHead
from tests.fakes.works import ANTHROPIC, API, chat, messages

NOW = 1_750_000_000.0
JSON = (b"content-type", b"application/json")
BUSY = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}).encode()


def head(status: int, *headers: tuple[bytes, bytes]) -> ResponseHead:
    told: Headers = [JSON, *headers]
    return ResponseHead(status, told, None)


def test_an_error_is_read_in_the_upstream_s_dialect() -> None:
    said = refused(ANTHROPIC, head(529, (b"retry-after", b"7"), (b"set-cookie", b"a=b")), BUSY, NOW)
    assert (said.told.status, said.told.message, said.told.retry_after) == (529, "Overloaded", 7.0)
    assert (said.outcome, said.is_error) == ("529", True)
    headers, body = said.untouched(messages(), "r-1") or ([], b"")
    assert body == BUSY
    assert (b"x-request-id", b"r-1") in headers
    assert b"set-cookie" not in dict(headers)


def test_a_client_of_another_dialect_is_told_in_its_own() -> None:
    assert refused(ANTHROPIC, head(529), BUSY, NOW).untouched(chat(), "r-1") is None


def test_what_tells_no_error_is_worded_anew() -> None:
    assert refused(ANTHROPIC, head(500), b"<html>", NOW).untouched(messages(), "r-1") is None


@pytest.mark.parametrize(
    ("told", "outcome", "word"),
    [
        (ResponseHead(200, [(b"content-type", b"Text/HTML; charset=utf-8")]), "page", "a web page"),
        (ResponseHead(302, [(b"location", b"https://elsewhere.example/")]), "redirect", "302"),
    ],
)
def test_what_no_api_says(told: ResponseHead, outcome: str, word: str) -> None:
    said = refused(API, told, b'{"error": {"message": "not an answer"}}', NOW)
    assert (said.outcome, said.is_error, said.told.status) == (outcome, False, 502)
    assert word in said.told.message
    assert said.untouched(messages(), "r-1") is None


def test_pages() -> None:
    assert is_page(ResponseHead(200, [(b"content-type", b"text/html")]))
    assert not is_page(ResponseHead(200, [JSON]))
    assert not is_page(ResponseHead(200, []))
