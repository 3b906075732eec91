import inspect

from broker.oauth.transport import AnswerLostError, NotSentError, Transport, TransportError


def test_the_two_faults_share_a_parent_and_are_not_each_other() -> None:
    assert issubclass(NotSentError, TransportError)
    assert issubclass(AnswerLostError, TransportError)
    assert not issubclass(NotSentError, AnswerLostError)
    assert not issubclass(AnswerLostError, NotSentError)


def test_sending_is_asynchronous() -> None:
    assert inspect.iscoroutinefunction(Transport.send)
