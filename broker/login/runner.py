"""Running a flow over the network.

Owns: the loop that performs what a flow asks, and repeating what can be repeated without harm. It must never run a request that spends a refresh token:
that is `broker.refresh.attempt`'s, with the journal around it.
"""

from typing import TypeVar

from broker.model.clock import Clock
from broker.oauth.failures import AnswerLost, FlowFailedError, Transient
from broker.oauth.messages import PAUSED, HttpRequest, HttpResponse, PacedFlow, Pause
from broker.oauth.transport import AnswerLostError, NotSentError, Transport

T = TypeVar("T")

# A person is waiting: two more tries within three seconds ride out a switch of networks, and no longer.
_REPEAT_AFTER_SECONDS = (0.5, 2.0)


async def run_flow(flow: PacedFlow[T], transport: Transport, clock: Clock) -> T:
    """Run `flow` to its end and return its result.

    A request that was not sent is repeated twice, and so is a GET whose answer was lost; what fails for good is thrown into the flow.

    Raises:
        FlowFailedError: the flow's own, or `Transient` or `AnswerLost` for a network that failed.
        ValueError: the flow asked for a request that spends a refresh token.
    """
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                await clock.sleep(step.seconds)
                step = flow.send(PAUSED)
                continue
            try:
                answer = await _send(step, transport, clock)
            except FlowFailedError as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as ended:
        result: T = ended.value
        return result
    finally:
        flow.close()


async def _send(request: HttpRequest, transport: Transport, clock: Clock) -> HttpResponse:
    if request.spends:
        raise ValueError("a request that spends a refresh token is not a login's")
    failure: Transient | AnswerLost = Transient("")
    for wait in (*_REPEAT_AFTER_SECONDS, None):
        try:
            return await transport.send(request)
        except NotSentError as error:
            failure = Transient(str(error))
        except AnswerLostError as error:
            failure = AnswerLost(str(error))
            if request.method != "GET":
                break
        if wait is not None:
            await clock.sleep(wait)
    raise FlowFailedError(failure)
