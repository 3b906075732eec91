from broker.oauth.failures import FlowFailedError, RateLimited


def test_the_exception_carries_the_failure_and_reads_as_its_reason() -> None:
    error = FlowFailedError(RateLimited("wait a little", 3.0))
    assert error.failure == RateLimited("wait a little", 3.0)
    assert str(error) == "wait a little"
