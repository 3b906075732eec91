import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.client import Client
from broker.oauth.device import DENIED, EXPIRED, GRANT_TYPE, DeviceCode, poll, request_code
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, Transient
from broker.oauth.grant import Reading
from broker.oauth.messages import PAUSED, HttpRequest, HttpResponse, PacedFlow, Pause
from broker.oauth.sorting import Words
from tests.fakes.canned import run_canned

URL = "https://idp.example.com/device"
TOKEN_URL = "https://idp.example.com/t"
START = 1_750_000_000.0
NOW = Now(START, 5.0)
CLIENT = Client("me")
PAGE = "https://idp.example.com/activate"
ANSWER = {
    "device_code": "fake-device-1",
    "user_code": "ABCD-EFGH",
    "verification_uri": PAGE,
    "verification_uri_complete": f"{PAGE}?user_code=ABCD-EFGH",
    "expires_in": 600,
    "interval": 7,
}
CODE = DeviceCode(Secret("fake-device-1"), "ABCD-EFGH", PAGE, None, 600.0, 5.0)


def said(status: int = 200, headers: dict[str, str] | None = None, **body: object) -> HttpResponse:
    return HttpResponse(status, headers or {}, json.dumps(body).encode())


def refusal(error: str, status: int = 400, **more: object) -> HttpResponse:
    return said(status, error=error, **more)


PENDING = refusal("authorization_pending")
SLOW_DOWN = refusal("slow_down")
TOKENS = said(access_token="fake-access", refresh_token="fake-refresh", expires_in=3600)
HTML = HttpResponse(403, {"content-type": "text/html"}, b"<html>sign in to the network</html>")


# --- asking for the code ---


def asked_with(
    *, client: Client = CLIENT, scopes: tuple[str, ...] = ("a", "b"), **extra: str
) -> tuple[HttpRequest, DeviceCode]:
    (request,), code = run_canned(request_code(URL, client, scopes, extra, NOW), [said(**ANSWER)])
    return request, code


def code_of(**changes: object) -> DeviceCode:
    body = {name: value for name, value in {**ANSWER, **changes}.items() if value is not None}
    return run_canned(request_code(URL, CLIENT, (), {}, NOW), [said(**body)])[1]


def no_code(answer: HttpResponse, reading: Reading | None = None) -> Failure:
    with pytest.raises(FlowFailedError) as caught:
        run_canned(request_code(URL, CLIENT, (), {}, NOW, reading or Reading()), [answer])
    return caught.value.failure


def test_the_request_names_the_client_and_the_scopes() -> None:
    request, _ = asked_with(audience="api")
    assert (request.method, request.url, request.spends) == ("POST", URL, False)
    assert request.form == {"client_id": "me", "scope": "a b", "audience": "api"}


def test_a_confidential_client_proves_itself_as_everywhere() -> None:
    secret = Secret("fake-secret")
    assert asked_with(client=Client("me", secret))[0].form == {
        "client_id": "me", "client_secret": secret, "scope": "a b",
    }  # fmt: skip
    assert asked_with(client=Client("me", secret, basic=True))[0].basic == ("me", secret)


def test_no_scopes_is_no_scope_parameter() -> None:
    assert asked_with(scopes=())[0].form == {"client_id": "me"}


def test_an_answer_is_read_whole() -> None:
    code = asked_with()[1]
    assert code == DeviceCode(Secret("fake-device-1"), "ABCD-EFGH", PAGE, f"{PAGE}?user_code=ABCD-EFGH", 600.0, 7.0)
    assert code.url == f"{PAGE}?user_code=ABCD-EFGH"
    assert "fake-device-1" not in repr(code)


def test_without_a_complete_address_the_plain_one_is_shown() -> None:
    assert code_of(verification_uri_complete=None).url == PAGE


def test_the_old_name_of_the_address_is_known() -> None:
    assert code_of(verification_uri=None, verification_url=PAGE).verification_uri == PAGE


@pytest.mark.parametrize(
    ("told", "taken"),
    [(None, 5.0), ("soon", 5.0), (True, 5.0), (0, 1.0), (-3, 1.0), (12, 12.0), ("8", 8.0), (1e9, 300.0)],
)  # fmt: skip
def test_the_interval(told: object, taken: float) -> None:
    assert code_of(interval=told).interval == taken


@pytest.mark.parametrize(("told", "taken"), [(None, 900.0), ("soon", 900.0), (60, 60.0), ("60", 60.0), (0, 0.0)])
def test_the_life_of_a_code(told: object, taken: float) -> None:
    assert code_of(expires_in=told).expires_in == taken


@pytest.mark.parametrize(
    "changes",
    [
        {"device_code": None},
        {"device_code": ""},
        {"device_code": 7},
        {"user_code": None},
        {"user_code": "AB\x1b[2J"},
        {"user_code": "A" * 65},
        {"verification_uri": None},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "file:///etc/passwd"},
        {"verification_uri": "http://idp.example.com/activate"},
        {"verification_uri": "https://idp.example.com/a b"},
    ],
)
def test_an_answer_that_lacks_what_a_person_needs(changes: dict[str, object]) -> None:
    failure = no_code(said(**{**ANSWER, **changes}))
    assert isinstance(failure, Transient)
    assert "without a code" in failure.reason
    assert "fake-device-1" not in failure.reason


def test_a_complete_address_that_is_none_is_left_out() -> None:
    assert code_of(verification_uri_complete="javascript:alert(1)").url == PAGE


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b'"text"'])
def test_no_document_is_no_code(body: bytes) -> None:
    assert isinstance(no_code(HttpResponse(200, body=body)), Transient)


def test_a_refused_request_is_sorted() -> None:
    assert isinstance(no_code(refusal("invalid_client", 401)), Misconfigured)
    assert isinstance(no_code(said(400, **ANSWER)), Transient)
    assert no_code(said(429, {"retry-after": "9"})) == RateLimited("the provider answered 429", 9.0)
    words = Words(misconfigured=frozenset({"device_flow_disabled"}))
    assert isinstance(no_code(refusal("device_flow_disabled"), Reading(words=words)), Misconfigured)


# --- polling ---


@dataclass
class Polled:
    """What a run of `poll` did. A failure among the answers is thrown in, as the runner does for the network's."""

    pauses: list[float] = field(default_factory=list)
    asked: list[HttpRequest] = field(default_factory=list)
    tokens: Tokens | None = None
    failure: Failure | None = None

    def run(self, flow: PacedFlow[Tokens], answers: Iterator[HttpResponse | Failure]) -> "Polled":
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    step = flow.send(PAUSED)
                    continue
                self.asked.append(step)
                answer = next(answers)
                step = flow.send(answer) if isinstance(answer, HttpResponse) else flow.throw(FlowFailedError(answer))
        except StopIteration as ended:
            self.tokens = ended.value
        except FlowFailedError as error:
            self.failure = error.failure
        return self


def polled(*answers: HttpResponse | Failure, code: DeviceCode = CODE, reading: Reading | None = None) -> Polled:
    """Poll on a clock that goes with the pauses."""
    run = Polled()

    def now() -> Now:
        return Now(START + sum(run.pauses), sum(run.pauses))

    return run.run(poll(TOKEN_URL, CLIENT, code, now, reading or Reading()), iter(answers))


def test_approval_brings_the_tokens() -> None:
    run = polled(TOKENS)
    assert run.pauses == [5.0]
    (request,) = run.asked
    assert (request.method, request.url, request.spends) == ("POST", TOKEN_URL, False)
    assert request.form == {"grant_type": GRANT_TYPE, "device_code": Secret("fake-device-1"), "client_id": "me"}
    assert run.tokens is not None
    assert run.tokens.refresh_token == Secret("fake-refresh")


def test_a_token_s_life_counts_from_the_poll_that_brought_it() -> None:
    run = polled(PENDING, PENDING, TOKENS)
    assert run.tokens is not None
    assert run.tokens.expires_at == START + 15 + 3600


def test_while_nothing_is_decided_the_interval_stays() -> None:
    assert polled(PENDING, refusal("authorization_pending", 428), PENDING, TOKENS).pauses == [5.0] * 4


def test_an_error_told_with_status_200_is_one() -> None:
    assert polled(refusal("authorization_pending", 200), refusal("slow_down", 200), TOKENS).pauses == [5.0, 5.0, 10.0]


def test_slow_down_adds_five_seconds_for_good() -> None:
    assert polled(SLOW_DOWN, PENDING, SLOW_DOWN, TOKENS).pauses == [5.0, 10.0, 10.0, 15.0]
    assert polled(refusal("slow_down", 403), TOKENS).pauses == [5.0, 10.0]


def test_slow_down_with_a_wait_is_obeyed_once() -> None:
    slow = said(429, {"retry-after": "42"}, error="slow_down")
    assert polled(slow, PENDING, TOKENS).pauses == [5.0, 42.0, 10.0]


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (refusal("access_denied"), DENIED, "the access was refused on the provider's page"),
        (refusal("access_denied", 403, error_description="No."), DENIED, "the access was refused on the provider's page"),
        (refusal("expired_token"), EXPIRED, "the code was not approved in time"),
        (refusal("invalid_grant"), "invalid_grant", "the provider answered 400 (invalid_grant)"),
    ],
)  # fmt: skip
def test_a_decision_ends_it(answer: HttpResponse, code: str, reason: str) -> None:
    run = polled(PENDING, answer)
    assert run.failure == Permanent(code, reason)
    assert len(run.asked) == 2


@pytest.mark.parametrize("answer", [refusal("invalid_client", 401), refusal("unsupported_grant_type")])
def test_a_registration_that_is_refused_ends_it(answer: HttpResponse) -> None:
    assert isinstance(polled(answer).failure, Misconfigured)


def test_any_other_error_code_ends_it() -> None:
    assert isinstance(polled(refusal("something_new")).failure, Transient)
    assert isinstance(polled(refusal("something_new", 200)).failure, Transient)


@pytest.mark.parametrize(
    "trouble",
    [
        Transient("cannot connect"),
        AnswerLost("cut off"),
        HttpResponse(500),
        HttpResponse(408, body=b'{"error":"timeout"}'),
        refusal("server_error", 503),
        HTML,
        HttpResponse(200, body=b'{"access_tok'),
        said(200),
    ],
)
def test_what_may_pass_is_tried_again_with_growing_pauses(trouble: HttpResponse | Failure) -> None:
    run = polled(trouble, trouble, trouble, trouble, trouble, TOKENS)
    assert run.pauses == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert run.tokens is not None


def test_after_a_fault_the_interval_is_the_server_s_again() -> None:
    assert polled(Transient("x"), Transient("x"), PENDING, TOKENS).pauses == [5.0, 10.0, 20.0, 5.0]
    assert polled(Transient("x"), SLOW_DOWN, TOKENS).pauses == [5.0, 10.0, 10.0]


def test_a_limit_is_waited_for() -> None:
    limit = said(429, {"retry-after": "90"})
    assert polled(limit, PENDING, TOKENS).pauses == [5.0, 90.0, 5.0]
    assert polled(HttpResponse(429), TOKENS).pauses == [5.0, 10.0]


def test_an_interval_above_the_greatest_pause_is_kept_to() -> None:
    code = DeviceCode(Secret("fake-device-1"), "ABCD", PAGE, None, 900.0, 120.0)
    assert polled(PENDING, Transient("x"), TOKENS, code=code).pauses == [120.0] * 3


def test_a_code_nobody_looks_at_ends_with_its_life() -> None:
    code = DeviceCode(Secret("fake-device-1"), "ABCD", PAGE, None, 12.0, 5.0)
    run = polled(*[PENDING] * 3, code=code)
    assert run.pauses == [5.0, 5.0, 2.0]
    assert run.failure == Permanent(EXPIRED, "the code was not approved in time")


def test_a_code_without_life_is_not_polled_for() -> None:
    code = DeviceCode(Secret("fake-device-1"), "ABCD", PAGE, None, 0.0, 5.0)
    run = polled(code=code)
    assert (run.pauses, run.asked) == ([], [])
    assert isinstance(run.failure, Permanent)


def test_a_vendor_s_words_count_beside_the_standard_s() -> None:
    reading = Reading(words=Words(permanent=frozenset({"code_burnt"})), lifetime=60.0)
    assert polled(refusal("code_burnt"), reading=reading).failure == Permanent(
        "code_burnt", "the provider answered 400 (code_burnt)"
    )
    assert isinstance(polled(refusal("access_denied"), reading=reading).failure, Permanent)
    run = polled(said(access_token="fake-access"), reading=reading)
    assert run.tokens is not None
    assert run.tokens.expires_at == START + 5 + 60


TROUBLES: list[HttpResponse | Failure] = [PENDING, SLOW_DOWN, HttpResponse(500), HTML, Transient("x"), AnswerLost("y")]


@given(st.lists(st.sampled_from(TROUBLES), max_size=30), st.floats(1, 300), st.floats(0, 2000))
def test_no_poll_is_early_and_none_comes_after_the_code_s_life(
    troubles: list[HttpResponse | Failure], interval: float, lifetime: float
) -> None:
    code = DeviceCode(Secret("fake-device-1"), "ABCD", PAGE, None, lifetime, interval)
    run = polled(*troubles, *itertools.repeat(refusal("expired_token"), 1), code=code)
    assert run.tokens is None
    assert run.failure is not None
    assert sum(run.pauses) <= lifetime + 1e-6
    assert len(run.asked) == len(run.pauses)
    # Only the last one before the end of its life may come sooner than the server wants.
    assert all(pause >= interval for pause in run.pauses[:-1])


def test_a_vendor_s_own_fields_go_with_each_poll() -> None:
    extra: dict[str, str | Secret] = {"code_verifier": Secret("fake-verifier")}
    run = Polled().run(poll(TOKEN_URL, CLIENT, CODE, lambda: Now(START, 0.0), extra=extra), iter([PENDING, TOKENS]))
    assert [(each.form or {})["code_verifier"] for each in run.asked] == [Secret("fake-verifier")] * 2
