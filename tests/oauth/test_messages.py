import msgspec
import pytest

from broker.model.secret import Secret
from broker.oauth.messages import (
    FORM,
    JSON,
    PAUSED,
    Flow,
    HttpRequest,
    HttpResponse,
    PacedFlow,
    Pause,
    with_headers,
)
from tests.fakes.canned import run_canned

URL = "https://idp.example.com/token"


def test_a_form_is_encoded_with_its_secrets() -> None:
    body = HttpRequest("POST", URL, form={"a": "x y", "token": Secret("fake&1")}).encode_body()
    assert body == (b"a=x+y&token=fake%261", FORM)


def test_json_is_encoded_with_secrets_at_any_depth() -> None:
    encoded = HttpRequest("POST", URL, json={"a": {"b": [Secret("fake-1"), 2]}, "c": (Secret("fake-2"),)}).encode_body()
    assert encoded is not None
    assert msgspec.json.decode(encoded[0]) == {"a": {"b": ["fake-1", 2]}, "c": ["fake-2"]}
    assert encoded[1] == JSON


def test_a_request_without_body_encodes_to_nothing() -> None:
    assert HttpRequest("GET", URL).encode_body() is None


def test_neither_request_nor_response_shows_a_secret() -> None:
    request = HttpRequest(
        "POST", URL, form={"t": Secret("fake-1")}, bearer=Secret("fake-2"), basic=("id", Secret("fake-3"))
    )
    assert "fake-" not in repr(request)
    assert repr(HttpResponse(200, body=b"fake-4")) == "HttpResponse(status=200, 6 bytes)"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a":1}', {"a": 1}),
        (b"{}", {}),
        (b"[]", None),
        (b"nothing", None),
        (b"", None),
        (b'{"a":"\xff"}', None),
        (b"[" * 100_000, None),
    ],
)
def test_the_object_in_an_answer_or_nothing(body: bytes, found: object) -> None:
    assert HttpResponse(200, body=body).document() == found


def one_question() -> Flow[int]:
    answer = yield HttpRequest("GET", URL)
    return answer.status


def with_a_pause() -> PacedFlow[int]:
    first = yield HttpRequest("GET", URL)
    assert (yield Pause(5.0)) is PAUSED
    second = yield HttpRequest("GET", URL)
    return first.status + second.status


def test_canned_answers_run_a_flow_and_pauses_take_no_time() -> None:
    asked, total = run_canned(with_a_pause(), [HttpResponse(200), HttpResponse(201)])
    assert (len(asked), total) == (2, 401)


def test_canned_answers_must_be_enough_and_all_used() -> None:
    with pytest.raises(AssertionError, match="asked once more"):
        run_canned(one_question(), [])
    with pytest.raises(AssertionError, match="before all answers"):
        run_canned(one_question(), [HttpResponse(200), HttpResponse(200)])


def _asks_twice() -> PacedFlow[str]:
    first = yield HttpRequest("GET", "https://a.example", headers={"Accept": "x"})
    yield Pause(1.0)
    try:
        yield HttpRequest("GET", "https://b.example", headers={"User-Agent": "its-own"})
    except ValueError as error:
        return f"{first.status} {error}"
    return "whole"


def test_headers_are_put_beneath_those_of_each_request() -> None:
    asked, result = run_canned(with_headers(_asks_twice(), {"User-Agent": "agent/1"}), [HttpResponse(200)] * 2)
    assert result == "whole"
    assert [dict(each.headers) for each in asked] == [
        {"User-Agent": "agent/1", "Accept": "x"},
        {"User-Agent": "its-own"},
    ]


def test_what_is_thrown_reaches_the_flow_beneath() -> None:
    flow = with_headers(_asks_twice(), {})
    next(flow)
    assert isinstance(flow.send(HttpResponse(201)), Pause)
    flow.send(PAUSED)
    with pytest.raises(StopIteration) as ended:
        flow.throw(ValueError("no network"))
    assert ended.value.value == "201 no network"


def test_a_query_is_added_when_it_is_sent_and_is_not_shown() -> None:
    request = HttpRequest("GET", "https://x.example/me", query={"token": Secret("fake &1"), "a": "b"})
    assert request.encode_url() == "https://x.example/me?token=fake+%261&a=b"
    assert "fake" not in repr(request)
    assert HttpRequest("GET", "https://x.example/?a=b", query={"c": "d"}).encode_url() == "https://x.example/?a=b&c=d"
    assert HttpRequest("GET", "https://x.example/").encode_url() == "https://x.example/"
