import pickle

import pytest

from broker.model.errors import TRAITS, BrokerError, ErrorCode


@pytest.mark.parametrize("code", list(ErrorCode))
def test_each_code_says_what_it_means_and_what_to_do(code: ErrorCode) -> None:
    traits = TRAITS[code]
    assert 400 <= traits.status < 600
    assert traits.title
    assert traits.hint.endswith((".", "PROVIDER", "ACCOUNT", "list", "status", "check", "install"))


def test_an_error_takes_its_codes_traits_unless_told_otherwise() -> None:
    error = BrokerError(ErrorCode.RATE_LIMITED, "wait")
    assert (error.status, error.retryable, error.hint) == (429, True, TRAITS[ErrorCode.RATE_LIMITED].hint)
    told = BrokerError(ErrorCode.RATE_LIMITED, "wait", hint="Do this.", retryable=False, retry_after=3, account="a/b")
    assert (told.hint, told.retryable, told.retry_after, told.account) == ("Do this.", False, 3, "a/b")
    assert str(told) == told.detail == "wait"


def test_errors_cross_processes() -> None:
    error = pickle.loads(pickle.dumps(BrokerError(ErrorCode.INTERNAL, "x", hint="y", retry_after=1, account="a/b")))
    assert (error.code, error.detail, error.hint, error.retry_after, error.account) == (
        ErrorCode.INTERNAL,
        "x",
        "y",
        1,
        "a/b",
    )
