import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Secret
from broker.proxy.reqlog.capture import Captured
from broker.proxy.reqlog.entry import Entry, Try, began_at, files, folder_name
from broker.translate.codecs import Dialect

BEGAN = 1_795_289_038.123


def entry(**fields: object) -> Entry:
    given = {
        "id": "abc-1",
        "began": BEGAN,
        "seconds": 1.5,
        "route": "Messages",
        "method": "POST",
        "path": "/v1/messages",
        "query": "",
        "headers": [(b"x-api-key", b"fake-key-of-mine")],
        "body": Captured(b"{}"),
        "status": 200,
        "cut": False,
        **fields,
    }
    return Entry(**given)  # type: ignore[arg-type]


def attempt(number: int = 1, **fields: object) -> Try:
    head = b"POST /v1/x?key=fake-in-url HTTP/1.1\r\nhost: api.test\r\nx-odd-header: fake-token-1\r\n\r\n"
    given = {
        "number": number,
        "account": "claude/12345678",
        "provider": "claude",
        "kind": "anthropic",
        "dialect": Dialect.CLAUDE,
        "model": "claude-x",
        "url": "https://api.test",
        "token": Secret("fake-token-1"),
        "head": head,
        "body": Captured(b'{"a": "fake-token-1"}'),
        "sent": 0.25,
        "ended": 1.0,
        **fields,
    }
    return Try(**given)  # type: ignore[arg-type]


def test_the_name_of_a_folder_is_in_the_order_of_time() -> None:
    assert folder_name(BEGAN, "abc-1", 200) == "20261121T192358.123Z-abc-1-200"
    assert folder_name(BEGAN, "z", 0) < folder_name(BEGAN + 0.002, "a", 0)


@given(st.floats(0, 4e9), st.text("aZ09_-", min_size=1, max_size=20), st.integers(0, 999))
def test_a_name_tells_when_it_began(began: float, request_id: str, status: int) -> None:
    told = began_at(folder_name(began, request_id, status))
    assert told is not None
    assert abs(told - began) < 0.0011


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "usage.db",
        "20261121T192358.123Z-abc",
        "20261341T192358.123Z-abc-200",
        "20261121T192358.123Z-a/b-200",
        ".writing-x",
    ],
)
def test_other_names_are_not_ours(name: str) -> None:
    assert began_at(name) is None


def test_a_request_that_nobody_answered() -> None:
    found = dict(files(entry(query="x=1", status=499), 100))
    assert set(found) == {"client-request", "summary.json"}
    assert found["client-request"] == b"POST /v1/messages?x=1 HTTP/1.1\nx-api-key: [hidden]\n\n{}"
    assert json.loads(found["summary.json"])["outcome"] == "client left"


def test_all_files_and_no_secret() -> None:
    made = entry(
        secrets=(Secret("fake-key-of-another"),),
        body=Captured(b'{"x": "fake-key-of-mine fake-key-of-another"}'),
        told=(200, [(b"set-cookie", b"fake-cookie")]),
        answer=Captured(b"fake-key-of-mine", b"fake-token-1 end", 9),
        first=0.5,
        tries=(
            attempt(
                status=529,
                headers=[(b"retry-after", b"3"), (b"x-key", b"fake-key-back")],
                answer=Captured(b"fake-key-back"),
                first=0.75,
            ),
            attempt(2),
            attempt(3, token=None),
        ),
    )
    found = dict(files(made, 1000))
    assert list(found) == [
        "client-request", "upstream-request-1", "upstream-response-1", "upstream-request-2", "upstream-request-3", "client-response", "summary.json",
    ]  # fmt: skip
    assert b"fake" not in b"".join(found.values())
    assert found["upstream-request-2"] == (
        b'POST /v1/x?key=[hidden] HTTP/1.1\nhost: api.test\nx-odd-header: [hidden]\n\n{"a": "[hidden]"}'
    )
    assert found["upstream-response-1"].startswith(b"HTTP/1.1 529 \nretry-after: 3\n")
    assert found["client-response"] == b"HTTP/1.1 200 OK\nset-cookie: [hidden]\n\n[hidden]<9 bytes>[hidden] end"
    first, second, _ = json.loads(found["summary.json"])["attempts"]
    assert (first["status"], first["first_byte_seconds"], first["began_seconds"], first["seconds"]) == (
        529,
        0.5,
        0.25,
        0.75,
    )
    assert (second["status"], second["first_byte_seconds"], second["response_bytes"]) == (None, None, 0)


@pytest.mark.parametrize(("coding", "shown"), [(b"gzip", b"<12 bytes>"), (b"Identity", b"packed words")])
def test_what_is_packed_cannot_be_looked_through(coding: bytes, shown: bytes) -> None:
    headers = [(b"Content-Encoding", coding)]
    made = entry(
        headers=headers, body=Captured(b"packed ", b"words"), told=(200, headers), answer=Captured(b"packed words")
    )
    found = dict(files(made, 99))
    for name in ("client-request", "client-response"):
        assert found[name].partition(b"\n\n")[2] == shown


def test_the_summary() -> None:
    made = entry(model="mine", key="ci", told=(200, []), answer=Captured(b"12", b"3", 7), first=0.1234, left_out=2)
    assert json.loads(dict(files(made, 9))["summary.json"]) == {
        "id": "abc-1",
        "began": "2026-11-21T19:23:58.123Z",
        "seconds": 1.5,
        "first_byte_seconds": 0.123,
        "method": "POST",
        "path": "/v1/messages",
        "route": "Messages",
        "model": "mine",
        "opened_by": "ci",
        "status": 200,
        "outcome": "ok",
        "request_bytes": 2,
        "response_bytes": 10,
        "attempts": [],
        "attempts_left_out": 2,
    }


@pytest.mark.parametrize(
    ("status", "cut", "failed", "outcome"),
    [
        (200, False, False, "ok"),
        (200, True, True, "cut"),
        (404, False, True, "refused"),
        (499, True, True, "client left"),
    ],
)
def test_how_it_ended(status: int, cut: bool, failed: bool, outcome: str) -> None:
    made = entry(status=status, cut=cut)
    assert made.failed is failed
    assert json.loads(dict(files(made, 9))["summary.json"])["outcome"] == outcome


def test_what_it_weighs() -> None:
    assert entry(answer=Captured(b"12", b"3", 50), tries=(attempt(answer=Captured(b"1234")),)).size == 2 + 3 + 21 + 4
