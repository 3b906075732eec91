import json

import pytest

from broker.model.secret import Secret
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, Pause
from broker.providers.camel import in_camel_case
from tests.fakes.canned import run_canned


def asking(request: HttpRequest) -> Flow[HttpResponse]:
    return (yield request)


def told(answer: HttpResponse) -> object:
    _, heard = run_canned(in_camel_case(asking(HttpRequest("GET", "https://a"))), [answer])
    return json.loads(heard.body)


def test_a_form_becomes_json() -> None:
    form: dict[str, str | Secret] = {"grant_type": "x", "client_secret": Secret("fake"), "code": "c"}
    request = HttpRequest("POST", "https://a", form=form, spends=True)
    [asked], _ = run_canned(in_camel_case(asking(request)), [HttpResponse(200)])
    assert (asked.form, asked.spends) == (None, True)
    assert asked.json == {"grantType": "x", "clientSecret": Secret("fake"), "code": "c"}


def test_json_of_a_flows_own_is_sent_as_it_is() -> None:
    request = HttpRequest("POST", "https://a", json={"code_verifier": "v"})
    [asked], _ = run_canned(in_camel_case(asking(request)), [HttpResponse(200)])
    assert asked == request


def test_an_answer_is_read_in_the_standards_spelling() -> None:
    body = {
        "accessToken": "a",
        "clientSecretExpiresAt": 5,
        "error_description": "b",
        "interval": 1,
        "__type": "X",
        "deep": {"aB": 1},
    }
    assert told(HttpResponse(200, {}, json.dumps(body).encode())) == {
        "access_token": "a",
        "client_secret_expires_at": 5,
        "error_description": "b",
        "interval": 1,
        "__type": "X",
        "deep": {"aB": 1},
    }


def test_an_error_may_stand_in_a_header() -> None:
    headers = {"x-amzn-errortype": "InvalidGrantException:http://internal"}
    assert told(HttpResponse(400, headers, b'{"message":"no"}')) == {"message": "no", "__type": "InvalidGrantException"}
    assert told(HttpResponse(400, headers, b"")) == {"__type": "InvalidGrantException"}
    assert told(HttpResponse(400, headers, b'{"__type":"Other"}')) == {"__type": "Other"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"text"'])
def test_what_is_no_object_is_left_alone(body: bytes) -> None:
    _, heard = run_canned(in_camel_case(asking(HttpRequest("GET", "https://a"))), [HttpResponse(200, {}, body)])
    assert heard.body == body


def test_pauses_pass() -> None:
    def waiting() -> PacedFlow[int]:
        yield Pause(1.0)
        answer = yield HttpRequest("GET", "https://a")
        return answer.status

    flow = in_camel_case(waiting())
    assert next(flow) == Pause(1.0)
    assert run_canned(in_camel_case(waiting()), [HttpResponse(204)])[1] == 204
