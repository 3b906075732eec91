"""Lifetimes and clocks as the world has them, through the whole engine and the reading of real answers."""

import asyncio
import itertools
import random
from email.utils import formatdate

import msgspec
import pytest

from broker.config import RefreshConfig
from broker.model.account import AccountId, Active, Record, Tokens
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.grant import MAX_LIFETIME_SECONDS, read_tokens
from broker.oauth.messages import Flow, HttpRequest, HttpResponse
from broker.providers.base import Client
from broker.refresh.life import UNKNOWN_LIFETIME_SECONDS
from tests.fakes.clock import settle
from tests.fakes.provider import FakeProvider
from tests.fakes.token_endpoint import Connected, TokenEndpoint, answer
from tests.refresh.harness import ALICE, World, shown

DAY = 86_400.0
MISSING = object()


class Reading(FakeProvider):
    """Reads answers as the program does."""

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        old = record.tokens
        assert old.refresh_token is not None
        form: dict[str, str | Secret] = {"grant_type": "refresh_token", "refresh_token": old.refresh_token}
        answer = yield HttpRequest("POST", "https://fake.invalid/token", form=form, spends=True)
        return read_tokens(answer, now, old=old)


class Saying(TokenEndpoint):
    """Says `said` for `expires_in`, and has a clock that is `ahead` seconds ahead."""

    said: object = 3600
    ahead: float | None = None
    world: World

    async def _answered(self, request: HttpRequest, connected: Connected) -> HttpResponse:
        answer = await super()._answered(request, connected)
        body = msgspec.json.decode(answer.body)
        body["expires_in"] = self.said
        if self.said is MISSING:
            del body["expires_in"]
        headers = dict(answer.headers)
        if self.ahead is not None:
            headers["date"] = formatdate(self.world.clock.wall + self.ahead, usegmt=True)
        return HttpResponse(answer.status, headers, msgspec.json.encode(body))


def world_saying(said: object) -> World:
    world = World(provider=Reading)
    world.server = server = Saying()
    server.said, server.world = said, world
    return world


@pytest.mark.parametrize("said", [MISSING, None, "soon", [], {}, True, "nan", ""])
async def test_an_unknown_lifetime_is_taken_for_half_an_hour(said: object) -> None:
    world = world_saying(said)
    world.write(-1)
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    due = engine.next_refresh(ALICE)
    assert due is not None
    assert world.clock.wall < due < world.clock.wall + UNKNOWN_LIFETIME_SECONDS
    await world.clock.run(6 * 3600)
    assert 6 * 3600 / UNKNOWN_LIFETIME_SECONDS <= world.server.posts <= 6 * 3600 / (UNKNOWN_LIFETIME_SECONDS / 2)
    assert world.server.reused == 0
    await engine.stop()


@pytest.mark.parametrize("said", [0, -1, -3600, "0", "-5", 0.0])
async def test_a_token_that_has_ended_on_arrival_is_never_served_and_causes_no_loop(said: object) -> None:
    world = world_saying(said)
    world.write(-1)
    _, engine = await world.boot()
    await world.clock.run(3600)
    assert 1 < world.server.posts <= 25
    assert engine.peek(ALICE) is None
    with pytest.raises(BrokerError, match="already ended"):
        await engine.lease(ALICE, min_validity=1, max_wait=0)
    assert shown(world.stored().refresh_token) == f"fake-refresh-{world.server.posts + 1}"
    await engine.stop()


@pytest.mark.parametrize("said", ["3600", "3600.0", 3600.5])
async def test_a_number_in_any_dress_is_a_lifetime(said: object) -> None:
    world = world_saying(said)
    world.write(-1)
    _, engine = await world.boot()
    due = engine.next_refresh(ALICE)
    assert due == pytest.approx(world.clock.wall + 3300, abs=1)
    await engine.stop()


@pytest.mark.parametrize("said", [10**12, "1e300", 1e300, 2**63, "inf", "1e999"])
async def test_an_absurd_lifetime_is_capped_and_looked_at_again(said: object) -> None:
    world = world_saying(said)
    world.write(-1)
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    due = engine.next_refresh(ALICE)
    assert due is not None
    assert due <= world.clock.wall + MAX_LIFETIME_SECONDS
    world.clock.advance(MAX_LIFETIME_SECONDS)
    await settle()
    assert world.server.posts == 2
    await engine.stop()


async def test_tokens_of_five_seconds_are_renewed_in_time_and_not_all_the_time() -> None:
    world = world_saying(5)
    world.write(-1)
    _, engine = await world.boot()
    for _ in range(600):
        await world.clock.run(0.1)
        grant = engine.peek(ALICE)
        assert grant is not None
        assert grant.tokens.expires_at is not None
        assert grant.tokens.expires_at > world.clock.wall
    assert 12 <= world.server.posts <= 30
    await engine.stop()


async def test_a_token_of_thirty_days_is_renewed_once_near_its_end() -> None:
    world = world_saying(30 * DAY)
    world.write(-1)
    _, engine = await world.boot()
    due = engine.next_refresh(ALICE)
    assert due is not None
    left = due - world.clock.wall
    assert 29 * DAY < left < 30 * DAY
    world.clock.advance(left - 60)
    await settle()
    assert world.server.posts == 1
    await world.clock.run(120)
    assert world.server.posts == 2
    await engine.stop()


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
async def test_a_provider_whose_clock_is_an_hour_off_costs_nothing(ahead: float) -> None:
    world = world_saying(3600)
    assert isinstance(world.server, Saying)
    world.server.ahead = ahead
    world.write(-1)
    _, engine = await world.boot()
    for _ in range(60):
        await world.clock.run(60)
        grant = engine.peek(ALICE)
        assert grant is not None
        assert (grant.tokens.expires_at or 0) > world.clock.wall
    assert world.server.posts == 2
    await engine.stop()


async def test_tokens_that_ended_before_the_start_are_renewed_at_the_same_pace() -> None:
    world = World()
    world.server.rotate = False
    for number in range(50):
        world.write(-3600.0 * number, account=AccountId("fake", f"user{number}"))
    moments: list[float] = []
    world.server.on_post = lambda: moments.append(world.clock.boot)
    _, engine = await world.boot()
    await world.clock.run(11)
    assert len(moments) == 50
    assert at_most_five_a_second(moments)
    await engine.stop()


@pytest.mark.parametrize("ahead", [True, False])
async def test_two_hundred_accounts_with_one_expiry_are_paced_whoever_asks(ahead: bool) -> None:
    world = World(config=RefreshConfig(ahead=ahead))
    world.server.rotate = False
    accounts = [AccountId("fake", f"user{number}") for number in range(200)]
    for account in accounts:
        world.write(3600, account=account)
    _, engine = await world.boot()
    moments: list[float] = []
    world.server.on_post = lambda: moments.append(world.clock.boot)
    # Within the lead of all: callers ask for stale tokens, for dead ones, for a renewal, while the loop is at work.
    await world.clock.run(3320)
    asking = []
    for _ in range(40):
        for index, account in enumerate(accounts[::2]):
            validity = 1.0 if index % 10 else 1500.0
            asking.append(asyncio.ensure_future(engine.lease(account, min_validity=validity, max_wait=60)))
        await world.clock.run(1)
    await world.clock.run(60)
    grants = await asyncio.gather(*asking)
    assert all(grant.tokens.expires_at is not None and not grant.short for grant in grants)
    assert at_most_five_a_second(moments)
    # Without the loop a stale token is renewed when it is asked for and the moment is free; nobody waits for that.
    assert len(moments) == 200 if ahead else 10 <= len(moments) <= 100
    assert moments[-1] <= 1000.0 + 3600
    await engine.stop()


async def test_what_somebody_waits_for_comes_before_what_is_renewed_ahead() -> None:
    world = World()
    world.server.rotate = False
    for number in range(100):
        world.write(3600, account=AccountId("fake", f"user{number:02}"))
    _, engine = await world.boot()
    await world.clock.run(3301)
    last = AccountId("fake", "user99")
    asked = asyncio.ensure_future(engine.lease(last, min_validity=1800, max_wait=10))
    await world.clock.run(0.5)
    assert asked.done()
    await engine.stop()


async def test_a_rejection_does_not_shorten_the_wait_a_token_endpoint_asked_for() -> None:
    world = world_saying(3600)
    world.write(3600)
    _, engine = await world.boot()
    generation = (await engine.lease(ALICE, min_validity=0, max_wait=5)).entry.generation
    limited = answer(429, error="slow_down")
    world.server.faults = [HttpResponse(429, {"retry-after": "600"}, limited.body)]
    with pytest.raises(BrokerError):
        await engine.renew(ALICE, max_wait=5)
    for _ in range(9):
        with pytest.raises(BrokerError) as told:
            await engine.rejected(ALICE, generation, min_validity=0, max_wait=5)
        assert told.value.code is ErrorCode.RATE_LIMITED
        assert told.value.retry_after is not None
        assert engine.peek(ALICE) is not None  # better than none
        await world.clock.run(60)
    assert world.server.posts == 1
    asked = asyncio.ensure_future(engine.rejected(ALICE, generation, min_validity=0, max_wait=120))
    await world.clock.run(110)
    assert shown((await asked).tokens.access_token) != "fake-access-1"
    assert world.server.posts == 2
    await engine.stop()


async def test_a_login_that_comes_while_a_refresh_waits_for_its_turn_makes_it_needless() -> None:
    world = World(config=RefreshConfig(ahead=False))
    world.server.rotate = False
    world.write(-1)
    world.write(-1, account=AccountId("fake", "first"))
    store, engine = await world.boot()
    asked = [
        asyncio.ensure_future(engine.lease(each, min_validity=1, max_wait=10))
        for each in (AccountId("fake", "first"), ALICE)
    ]
    await world.clock.run(0.1)
    assert world.server.posts == 1
    world.write(3600, refresh="fake-refresh-login", access="fake-access-login")
    store.notice()
    await world.clock.run(1)
    assert shown((await asked[1]).tokens.access_token) == "fake-access-login"
    assert world.server.posts == 1
    await engine.stop()
    await asyncio.gather(*asked)


async def test_a_stop_does_not_wait_for_those_whose_turn_has_not_come() -> None:
    world = World(config=RefreshConfig(ahead=False))
    world.server.rotate = False
    accounts = [AccountId("fake", f"user{number}") for number in range(20)]
    for account in accounts:
        world.write(-1, account=account)
    _, engine = await world.boot()
    asking = [asyncio.ensure_future(engine.lease(each, min_validity=1, max_wait=60)) for each in accounts]
    await world.clock.run(0.9)
    await asyncio.wait_for(engine.stop(), 5)
    answers = await asyncio.gather(*asking, return_exceptions=True)
    refused = [each for each in answers if isinstance(each, BrokerError)]
    assert world.server.posts == len(answers) - len(refused) == 5
    assert {each.code for each in refused} == {ErrorCode.STOPPING}
    await settle()
    assert world.server.posts == 5


def at_most_five_a_second(moments: list[float]) -> bool:
    return all(later - earlier >= 0.99 for earlier, later in zip(moments, moments[5:], strict=False))


async def stepped(seed: int, *, own: bool) -> list[float]:
    """Let three hours go by with steps of the wall clock at random moments and a provider that is an hour off; return when POSTs were sent."""
    chance = random.Random(seed)
    world = world_saying(3600)
    assert isinstance(world.server, Saying)
    world.server.ahead = chance.choice([3600.0, -3600.0])
    world.write(-1 if own else 3600)
    _, engine = await world.boot()
    ends = world.clock.boot + 3600
    moments: list[float] = []

    def posted() -> None:
        nonlocal ends
        ends = world.clock.boot + 3600
        moments.append(world.clock.boot)

    world.server.on_post = posted
    for _ in range(3 * 60):
        if chance.random() < 0.2:
            world.clock.step_wall(chance.choice([3600.0, -3600.0]))
        await world.clock.run(60)
        assert engine.peek(ALICE) is not None
        assert world.clock.boot < ends, "a dead token was served"
    await engine.stop()
    return moments


@pytest.mark.figures
async def test_steps_and_skew_of_an_hour_cost_one_post_in_ten_minutes_at_most(request: pytest.FixtureRequest) -> None:
    counts = []
    for seed in range(10):
        for own in (True, False):
            moments = await stepped(seed, own=own)
            assert all(later - earlier >= 600 for earlier, later in itertools.pairwise(moments)), moments
            assert 3 <= len(moments) <= 6
            counts.append(len(moments))
    told = (
        f"steps of the wall clock by 1 h, 36 in 3 h on average, and a provider that is 1 h off ({len(counts)} runs on a fake clock): 0 dead tokens served, "
        f"{min(counts)} to {max(counts)} POSTs in 3 h, never two within 10 minutes"
    )
    request.node.user_properties.append(("figure", told))
