import pytest

from broker.login.runner import run_flow
from broker.oauth.failures import AnswerLost, Failure, FlowFailedError, Permanent, Transient
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, Method, PacedFlow, Pause
from broker.oauth.transport import AnswerLostError, NotSentError
from broker.observe.tasks import spawn
from tests.fakes.clock import FakeClock, settle
from tests.fakes.transport import ScriptedTransport

URL = "https://idp.example.com/x"
OK = HttpResponse(200)
UNSENT = NotSentError("cannot connect")
LOST = AnswerLostError("cut off")


def ask(method: Method = "GET", times: int = 1) -> Flow[int]:
    total = 0
    for _ in range(times):
        total += (yield HttpRequest(method, URL)).status
    return total


async def failure_of(flow: PacedFlow[int], transport: ScriptedTransport) -> Failure:
    clock = FakeClock()
    task = spawn(run_flow(flow, transport, clock), name="flow")
    await clock.run(10.0)
    with pytest.raises(FlowFailedError) as caught:
        await task
    return caught.value.failure


async def test_a_flow_runs_to_its_result() -> None:
    transport = ScriptedTransport([OK, HttpResponse(201)])
    assert await run_flow(ask(times=2), transport, FakeClock()) == 401


async def test_a_pause_takes_its_time() -> None:
    def flow() -> PacedFlow[str]:
        yield Pause(5.0)
        yield HttpRequest("GET", URL)
        return "done"

    clock, transport = FakeClock(), ScriptedTransport([OK])
    task = spawn(run_flow(flow(), transport, clock), name="flow")
    await clock.run(4.9)
    assert not transport.asked
    await clock.run(0.2)
    assert await task == "done"


async def test_what_was_not_sent_is_sent_again() -> None:
    clock, transport = FakeClock(), ScriptedTransport([UNSENT, UNSENT, OK])
    task = spawn(run_flow(ask("POST"), transport, clock), name="flow")
    await clock.run(3.0)
    assert await task == 200
    assert len(transport.asked) == 3


async def test_three_tries_are_enough() -> None:
    transport = ScriptedTransport([UNSENT] * 3)
    assert await failure_of(ask(), transport) == Transient("cannot connect")
    assert len(transport.asked) == 3


async def test_a_lost_answer_to_a_post_is_not_asked_for_again() -> None:
    transport = ScriptedTransport([LOST])
    assert await failure_of(ask("POST"), transport) == AnswerLost("cut off")
    assert len(transport.asked) == 1


async def test_a_lost_answer_to_a_get_is() -> None:
    clock, transport = FakeClock(), ScriptedTransport([LOST, OK])
    task = spawn(run_flow(ask(), transport, clock), name="flow")
    await clock.run(3.0)
    assert await task == 200


async def test_a_flow_may_do_without_an_answer() -> None:
    def flow() -> PacedFlow[str]:
        try:
            yield HttpRequest("POST", URL)
        except FlowFailedError:
            yield HttpRequest("GET", URL)
        return "did without"

    assert await run_flow(flow(), ScriptedTransport([LOST, OK]), FakeClock()) == "did without"


async def test_a_flow_s_own_failure_comes_out() -> None:
    def flow() -> PacedFlow[int]:
        yield HttpRequest("GET", URL)
        raise FlowFailedError(Permanent("gone", "it is gone"))

    assert await failure_of(flow(), ScriptedTransport([OK])) == Permanent("gone", "it is gone")


async def test_a_request_that_spends_is_refused_and_not_sent() -> None:
    def flow() -> Flow[None]:
        yield HttpRequest("POST", URL, spends=True)

    transport = ScriptedTransport()
    with pytest.raises(ValueError, match="spends"):
        await run_flow(flow(), transport, FakeClock())
    assert not transport.asked


async def test_a_cancelled_run_closes_its_flow() -> None:
    ended: list[str] = []

    def flow() -> PacedFlow[None]:
        try:
            yield Pause(60.0)
        finally:
            ended.append("closed")

    task = spawn(run_flow(flow(), ScriptedTransport(), FakeClock()), name="flow")
    await settle()
    task.cancel()
    await settle()
    assert task.cancelled()
    assert ended == ["closed"]
