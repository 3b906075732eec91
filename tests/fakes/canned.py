"""A flow run against answers known in advance."""

from typing import TypeVar

from broker.oauth.messages import PAUSED, HttpRequest, HttpResponse, PacedFlow, Pause

T = TypeVar("T")


def run_canned(flow: PacedFlow[T], responses: list[HttpResponse]) -> tuple[list[HttpRequest], T]:
    """Run a flow against answers known in advance; return what it asked and what it came to. Pauses take no time.

    Raises AssertionError when the flow asks for more answers than there are, or leaves some over.
    """
    asked: list[HttpRequest] = []
    left = iter(responses)
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                step = flow.send(PAUSED)
                continue
            asked.append(step)
            answer = next(left, None)
            if answer is None:
                raise AssertionError(f"the flow asked once more than answered: {step.method} {step.url}")
            step = flow.send(answer)
    except StopIteration as done:
        if next(left, None) is not None:
            raise AssertionError("the flow ended before all answers were used") from None
        result: T = done.value
        return asked, result
