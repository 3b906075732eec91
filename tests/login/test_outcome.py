import pytest

from broker.login.outcome import Done, Failed, Finishing, LoginState, Waiting, addressed, error_of, expired, name_of
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.failures import AnswerLost, Failure, Misconfigured, Permanent, RateLimited, Transient


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (Waiting(), "waiting"),
        (Finishing(), "finishing"),
        (Done(AccountId("a", "b"), "a-b.json"), "done"),
        (Failed(BrokerError(ErrorCode.INTERNAL, "x")), "failed"),
    ],
)
def test_names(state: LoginState, name: str) -> None:
    assert name_of(state) == name


@pytest.mark.parametrize(
    ("failure", "setting_up", "code"),
    [
        (Permanent("invalid_grant", "dead"), False, ErrorCode.LOGIN_FAILED),
        (Permanent("ineligible", "closed"), True, ErrorCode.LOGIN_DENIED),
        (Permanent("access_denied", "refused"), False, ErrorCode.LOGIN_DENIED),
        (Permanent("expired_token", "too late"), False, ErrorCode.LOGIN_EXPIRED),
        (Misconfigured("invalid_client", "wrong"), False, ErrorCode.MISCONFIGURED),
        (Misconfigured("project_required", "name one"), True, ErrorCode.MISCONFIGURED),
        (RateLimited("wait", 7.0), False, ErrorCode.RATE_LIMITED),
        (Transient("down"), True, ErrorCode.LOGIN_FAILED),
        (AnswerLost("cut"), False, ErrorCode.LOGIN_FAILED),
    ],
)
def test_what_a_person_is_told(failure: Failure, setting_up: bool, code: ErrorCode) -> None:
    error = error_of(failure, setting_up=setting_up)
    assert error.code is code
    assert failure.reason in error.detail


def test_a_missing_project_says_how_to_name_one() -> None:
    assert "--project" in error_of(Misconfigured("project_required", "x"), setting_up=True).hint
    assert "--project" not in error_of(Misconfigured("invalid_client", "x"), setting_up=True).hint


def test_a_limit_carries_its_wait_and_a_used_code_is_not_worth_a_retry() -> None:
    assert error_of(RateLimited("wait", 7.0), setting_up=False).retry_after == 7.0
    assert not error_of(Permanent("invalid_grant", "dead"), setting_up=False).retryable


def test_a_hint_names_the_provider() -> None:
    assert addressed(BrokerError(ErrorCode.LOGIN_EXPIRED, "late"), "codex").hint.endswith("ccs-broker login codex")
    assert addressed(BrokerError(ErrorCode.LOGIN_FAILED, "x", hint="Wait."), "codex").hint == "Wait."


@pytest.mark.parametrize(("seconds", "told"), [(2.0, "2 s"), (59.0, "59 s"), (60.0, "1 min"), (300.0, "5 min")])
def test_a_time_that_is_over_is_told_as_people_do(seconds: float, told: str) -> None:
    error = expired("nobody approved the login", seconds)
    assert (error.code, error.detail) == (ErrorCode.LOGIN_EXPIRED, f"nobody approved the login within {told}")
