import pytest

from broker.ipc.schema import AccountView as View
from broker.ipc.schema import (
    Changed,
    Lease,
    LoginView,
    Problem,
    Removed,
    Report,
    Snapshot,
    WatchAccount,
    decode,
    decode_event,
    encode,
    error_of,
    problem_of,
)
from broker.model.errors import TRAITS, BrokerError, ErrorCode
from broker.model.secret import Secret

VIEW = View(account="acme/x", provider="acme", label="x", state="active", generation=1)
LEASE = Lease(
    account="acme/x", provider="acme", generation=1, access_token=Secret("fake-access-1"), facts={"project_id": "p"}
)


def test_a_lease_carries_its_token_in_clear_and_nowhere_else() -> None:
    assert b'"access_token":"fake-access-1"' in encode(LEASE)
    assert decode(encode(LEASE), Lease) == LEASE
    assert "fake-access" not in repr(LEASE)


@pytest.mark.parametrize(
    "event", [Snapshot((WatchAccount(VIEW, LEASE),), "1"), Changed(WatchAccount(VIEW)), Removed("acme/x")]
)
def test_events_come_back_as_what_they_were(event: Snapshot | Changed | Removed) -> None:
    assert decode_event(encode(event)) == event


def test_readers_ignore_fields_of_a_newer_daemon() -> None:
    data = encode(VIEW).replace(b'"state"', b'"new_field":1,"state"')
    assert decode(data, View) == VIEW


def test_requests_with_unknown_fields_are_refused() -> None:
    with pytest.raises(BrokerError, match="outcomes"):
        decode(b'{"account":"a/b","generation":1,"outcome":"ok","outcomes":1}', Report)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'{"account":"\xff"}',
        b"\xff",
        b'{"account":1}',
        b'{"account":"a/b","provider":"a","generation":1,"access_token":7}',
    ],
)
def test_what_is_not_a_message_names_the_fault(data: bytes) -> None:
    with pytest.raises(BrokerError) as caught:
        decode(data, Lease)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("data", [b'{"type":"later"}', b'{"type":"\xff"}', b'{"x":' + b"[" * 100_000])
def test_what_is_not_an_event_is_refused(data: bytes) -> None:
    with pytest.raises(BrokerError) as caught:
        decode_event(data)
    assert caught.value.code is ErrorCode.BAD_REQUEST


@pytest.mark.parametrize("code", list(ErrorCode))
def test_an_error_survives_the_wire(code: ErrorCode) -> None:
    error = BrokerError(code, "what happened", account="acme/x", retry_after=3.0)
    problem = decode(encode(problem_of(error)), Problem)
    assert (problem.status, problem.type) == (TRAITS[code].status, f"urn:ccs-broker:{code.value}")
    back = error_of(problem)
    assert (back.code, back.detail, back.hint, back.account, back.retry_after) == (
        code,
        "what happened",
        error.hint,
        "acme/x",
        3.0,
    )


def test_a_code_of_a_newer_daemon_is_still_an_error() -> None:
    problem = Problem(type="urn:x", title="t", status=400, detail="d", code="from_the_future", retryable=True, hint="h")
    assert (error_of(problem).code, error_of(problem).retryable) == (ErrorCode.INTERNAL, True)


def test_a_login_view_carries_its_problem() -> None:
    problem = problem_of(BrokerError(ErrorCode.LOGIN_DENIED, "no"))
    view = LoginView(id="L", provider="acme", state="failed", flow="code", problem=problem)
    assert decode(encode(view), LoginView) == view


def test_what_has_no_json_form_is_not_written() -> None:
    with pytest.raises(TypeError, match="no JSON form for object"):
        encode(object())
