"""Asking for quota, in a real daemon whose provider has a flow for it."""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace

import pytest

from broker.daemon.quotas import KEPT_SECONDS, Quotas, shown
from broker.model.account import AccountId, Record
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.failures import (
    AnswerLost,
    Failure,
    FlowFailedError,
    Misconfigured,
    Permanent,
    RateLimited,
    Transient,
)
from broker.oauth.messages import Flow, HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, NotSentError
from broker.providers.base import Quota, QuotaWindow
from broker.providers.generic import Generic
from tests.fakes.broker import ANN, BOB, PROVIDER, Running
from tests.fakes.clock import FakeClock

URL = "https://api.example/usage"


@dataclass(frozen=True, slots=True)
class Telling(Generic):
    """A provider that can be asked."""

    def quota(self, record: Record, now: Now) -> Flow[Quota] | None:
        return _asked(record)


def _asked(record: Record) -> Flow[Quota]:
    answer = yield HttpRequest("GET", URL, bearer=record.tokens.access_token)
    if answer.status == 429:
        raise FlowFailedError(RateLimited("too many questions", 7.0))
    if answer.status != 200:
        raise FlowFailedError(FAILURES[answer.status])
    told = json.loads(answer.body)
    return Quota(told["plan"], (QuotaWindow("5 hours", told["used"], 2e9),), ("so it says",))


FAILURES: dict[int, Failure] = {
    401: Permanent("unauthorized", "not for you"),
    402: Misconfigured("invalid_client", "not for this client"),
    503: Transient("overloaded"),
    504: AnswerLost("gone"),
}


@dataclass
class Api:
    """The usage endpoint: counts, and answers when it is told to."""

    answers: list[HttpResponse | Exception] = field(default_factory=list)
    asked: list[HttpRequest] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    def on_behalf(self, provider: str, own: object = None) -> "Api":
        return self

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request)
        await self.open.wait()
        answer = self.answers.pop(0) if self.answers else HttpResponse(200, {}, b'{"plan": "pro", "used": 0.25}')
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class Desk:
    running: Running
    api: Api
    quotas: Quotas


@pytest.fixture
async def desk(running: Running) -> AsyncIterator[Desk]:
    """The daemon's own parts, but for the provider and the network."""
    quotas = running.daemon.dispatch.quotas
    accounts = quotas.accounts
    provider = Telling(accounts.registry.get(PROVIDER).setup)  # type: ignore[attr-defined]
    api = Api()
    api.open.set()
    told = replace(accounts, registry=accounts.registry.replaced(provider))
    made = replace(quotas, accounts=told, transport=api, _held={}, _tasks={})
    yield Desk(running, api, made)
    await made.close()


async def test_plan_and_limits_are_asked_with_a_lease_and_kept_a_minute(desk: Desk) -> None:
    told = await desk.quotas.read(ANN, 5)
    assert (told.account, told.plan, told.notes) == (str(ANN), "pro", ("so it says",))
    assert [(each.name, each.used, each.resets_at) for each in told.windows] == [("5 hours", 0.25, 2e9)]
    token = desk.api.asked[0].bearer
    assert token is not None
    assert desk.running.owns(token) == ANN.label
    assert await desk.quotas.read(ANN, 5) is told
    assert len(desk.api.asked) == 1
    await desk.quotas.read(BOB, 5)
    assert len(desk.api.asked) == 2


async def test_a_token_that_ended_is_renewed_first(desk: Desk) -> None:
    desk.running.plant(ANN, lifetime=-5.0)
    client = desk.running.client
    while (await client.account(ANN)).state != "active" or (await client.account(ANN)).expires_at > 2e9:  # type: ignore[operator]
        await asyncio.sleep(0.01)
    await desk.quotas.read(ANN, 10)
    token = desk.api.asked[0].bearer
    assert token is not None
    assert desk.running.owns(token) == ANN.label


async def test_any_number_of_questions_are_one(desk: Desk) -> None:
    desk.api.open.clear()
    asked = [asyncio.ensure_future(desk.quotas.read(ANN, 10)) for _ in range(20)]
    while not desk.api.asked:
        await asyncio.sleep(0.01)
    asked[0].cancel()  # one that goes away takes nothing with it
    desk.api.open.set()
    answers = await asyncio.gather(*asked[1:])
    assert len(set(map(id, answers))) == 1
    assert len(desk.api.asked) == 1


async def test_an_answer_about_an_account_that_is_gone_is_nobodys(desk: Desk) -> None:
    """Else it would be told of the next account of that name, which may be another person's."""
    desk.api.open.clear()
    asked = asyncio.ensure_future(desk.quotas.read(ANN, 10))
    while not desk.api.asked:
        await asyncio.sleep(0.01)
    desk.quotas.forget(ANN)
    desk.api.open.set()
    with pytest.raises(BrokerError, match="is gone"):
        await asked
    assert (await desk.running.client.account(ANN)).quota is None
    await desk.quotas.read(ANN, 5)
    assert len(desk.api.asked) == 2


async def test_after_a_minute_it_is_asked_again(desk: Desk) -> None:
    clock = FakeClock()
    quotas = replace(desk.quotas, accounts=replace(desk.quotas.accounts, clock=clock), _held={}, _tasks={})
    await quotas.read(ANN, 5)
    clock.advance(KEPT_SECONDS - 1)
    await quotas.read(ANN, 5)
    assert len(desk.api.asked) == 1
    clock.advance(1)
    await quotas.read(ANN, 5)
    assert len(desk.api.asked) == 2
    await quotas.close()


async def test_what_is_known_stands_in_the_view_and_not_on_the_stream(desk: Desk) -> None:
    client = desk.running.client
    assert (await client.account(ANN)).quota is None
    told = await desk.quotas.read(ANN, 5)
    assert (await client.account(ANN)).quota == told
    assert [each.quota for each in await client.accounts()] == [told, None]
    assert len(desk.api.asked) == 1
    _, snapshot = await anext(desk.running.token_client.watch())
    assert all(each.view.quota is None for each in snapshot.accounts)  # type: ignore[union-attr]
    await client.rename(ANN, "work")
    assert [each.quota for each in await client.accounts()] == [None, None]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (HttpResponse(429), ErrorCode.RATE_LIMITED, "too many questions"),
        (HttpResponse(401), ErrorCode.QUOTA_UNAVAILABLE, "it refused: not for you"),
        (HttpResponse(402), ErrorCode.QUOTA_UNAVAILABLE, "it refused: not for this client"),
        (HttpResponse(503), ErrorCode.QUOTA_UNAVAILABLE, "overloaded"),
        (HttpResponse(504), ErrorCode.QUOTA_UNAVAILABLE, "gone"),
        (HttpResponse(200, {}, b"<html>"), ErrorCode.QUOTA_UNAVAILABLE, "could not be read"),
    ],
)
async def test_a_refusal_is_told_and_not_repeated_at_once(
    desk: Desk, answer: HttpResponse, code: ErrorCode, said: str
) -> None:
    desk.api.answers = [answer]
    for _ in range(2):
        with pytest.raises(BrokerError, match=said) as caught:
            await desk.quotas.read(ANN, 5)
        assert caught.value.code is code
    assert len(desk.api.asked) == 1
    known = (await desk.running.client.account(ANN)).quota
    assert known is not None
    assert said in known.notes[0]
    assert known.windows == ()


@pytest.mark.parametrize("fault", [NotSentError("cannot connect"), AnswerLostError("no whole answer")])
async def test_a_network_that_stumbles_is_tried_again(desk: Desk, fault: Exception) -> None:
    desk.api.answers = [fault]
    assert (await desk.quotas.read(ANN, 10)).plan == "pro"
    assert len(desk.api.asked) == 2


async def test_who_does_not_want_to_wait_is_told_so_and_the_question_goes_on(desk: Desk) -> None:
    desk.api.open.clear()
    with pytest.raises(BrokerError) as caught:
        await desk.quotas.read(ANN, 0.05)
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
    desk.api.open.set()
    assert (await desk.quotas.read(ANN, 5)).plan == "pro"
    assert len(desk.api.asked) == 1


async def test_a_provider_that_cannot_be_asked(running: Running) -> None:
    with pytest.raises(BrokerError, match="no way to ask") as caught:
        await running.client.quota(ANN)
    assert caught.value.code is ErrorCode.UNSUPPORTED


async def test_an_account_out_of_service_is_not_asked_about(desk: Desk) -> None:
    await desk.running.client.pause(ANN)
    with pytest.raises(BrokerError) as caught:
        await desk.quotas.read(ANN, 5)
    assert caught.value.code is ErrorCode.ACCOUNT_PAUSED
    assert desk.api.asked == []


def told(**window: float | None) -> Quota:
    return Quota(windows=(QuotaWindow("w", **window),))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0, None])
def test_what_is_no_number_is_left_out(number: float | None) -> None:
    (made,) = shown(AccountId("acme", "ann"), told(used=number, resets_at=number), 1.0).windows
    assert (made.used, made.resets_at) == (None, None)


def test_a_limit_can_be_overdrawn() -> None:
    read: Callable[[Quota], float | None] = lambda quota: shown(ANN, quota, 1.0).windows[0].used  # noqa: E731
    assert read(told(used=1.2)) == 1.2
