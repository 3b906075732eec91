import pytest

from broker.oauth.failures import Failure, FlowFailedError, Misconfigured, Permanent, RateLimited, refuses_client


def test_the_exception_carries_the_failure_and_reads_as_its_reason() -> None:
    error = FlowFailedError(RateLimited("wait a little", 3.0))
    assert error.failure == RateLimited("wait a little", 3.0)
    assert str(error) == "wait a little"


@pytest.mark.parametrize(
    ("failure", "about_the_client"),
    [
        (Misconfigured("invalid_client", "x"), True),
        (Misconfigured("unauthorized_client", "x"), True),
        (Misconfigured("deleted_client", "x"), True),
        (Misconfigured("invalid_scope", "x"), False),
        (Permanent("invalid_client", "x"), False),
    ],
)
def test_which_failures_are_about_who_asked(failure: Failure, about_the_client: bool) -> None:
    assert refuses_client(failure) is about_the_client
