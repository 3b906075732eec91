import asyncio
import itertools
from collections.abc import Coroutine

import pytest

from broker.config import RefreshConfig
from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    NeedsLogin,
    Paused,
    Refreshing,
    Unsaved,
)
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.tasks import spawn
from broker.providers.base import RefreshPolicy
from broker.refresh.engine import Engine
from broker.refresh.grant import Grant
from tests.fakes.clock import settle
from tests.fakes.token_endpoint import answer
from tests.refresh.harness import ALICE, World, shown


@pytest.fixture
def world() -> World:
    return World()


def ask(engine: Engine, *, min_validity: float = 60, max_wait: float = 10) -> Coroutine[object, object, Grant]:
    return engine.lease(ALICE, min_validity=min_validity, max_wait=max_wait)


async def refused(work: Coroutine[object, object, Grant]) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await work
    return caught.value


# -- serving


async def test_a_fresh_token_is_served_without_a_request(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    grant = await ask(engine)
    assert shown(grant.tokens.access_token) == "fake-access-1"
    assert not grant.short
    assert world.server.posts == 0
    await engine.stop()


async def test_a_thousand_waiters_at_expiry_cause_one_post(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(-5)
    _, engine = await world.boot()
    grants = await asyncio.gather(*(ask(engine) for _ in range(1000)))
    assert world.server.posts == 1
    assert {shown(grant.tokens.access_token) for grant in grants} == {"fake-access-2"}
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert not world.disk.journal
    await engine.stop()


async def test_a_stale_token_is_served_and_renewed_behind_the_callers_back(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(200)
    _, engine = await world.boot()
    grant = await ask(engine)
    assert shown(grant.tokens.access_token) == "fake-access-1"
    await settle()
    assert world.server.posts == 1
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-2"
    await engine.stop()


async def test_an_unknown_account_is_told_with_those_that_exist(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    error = await refused(engine.lease(AccountId("fake", "bob"), min_validity=1, max_wait=1))
    assert error.code is ErrorCode.UNKNOWN_ACCOUNT
    assert str(ALICE) in error.detail
    await engine.stop()


async def test_paused_and_disabled_accounts_are_renewed_and_never_served(world: World) -> None:
    world.write(100, paused=True)
    _, engine = await world.boot()
    assert world.server.posts == 1
    assert engine.state(ALICE) == Paused()
    assert engine.peek(ALICE) is None
    assert (await refused(ask(engine))).code is ErrorCode.ACCOUNT_PAUSED
    await engine.stop()


async def test_a_disabled_account_is_refused_with_the_reason(world: World) -> None:
    world.write(disabled=True)
    _, engine = await world.boot()
    assert (await refused(ask(engine))).code is ErrorCode.ACCOUNT_PAUSED
    await engine.stop()


async def test_a_short_lived_token_is_marked_and_not_renewed_for_each_lease(world: World) -> None:
    world.server.lifetime = 10
    world.write(-1)
    _, engine = await world.boot()
    for _ in range(5):
        assert (await ask(engine, min_validity=60)).short
    assert world.server.posts == 1
    await engine.stop()


async def test_each_waiter_has_its_own_deadline_and_none_stops_the_refresh(world: World) -> None:
    world.server.gate = asyncio.Event()
    world.write(-1)
    _, engine = await world.boot()
    error = await refused(ask(engine, max_wait=0))
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    waiter = spawn(ask(engine, max_wait=60), name="waiter")
    gone = spawn(ask(engine, max_wait=60), name="gone")
    await settle()
    gone.cancel()
    assert isinstance(engine.state(ALICE), Refreshing)
    world.server.gate.set()
    assert shown((await waiter).tokens.access_token) == "fake-access-2"
    assert world.server.posts == 1
    await engine.stop()


async def test_time_a_caller_has_waited_already_counts(world: World) -> None:
    world.server.gate = asyncio.Event()
    world.write(-1)
    _, engine = await world.boot()
    error = await refused(engine.lease(ALICE, min_validity=60, max_wait=5, waited=5))
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    assert "5 s you gave" in error.detail
    await settle()
    assert world.server.posts == 1  # it comes too late, and its wish is heard all the same
    error = await refused(engine.rejected(ALICE, 0, min_validity=60, max_wait=5, waited=6))
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    world.server.gate.set()
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-2"
    await engine.stop()


async def test_keys_without_refresh_token_are_served_for_ever_and_never_renewed(world: World) -> None:
    world.write(None, refresh=None)
    _, engine = await world.boot()
    await world.clock.run(86400)
    assert (await ask(engine)).tokens.expires_at is None
    assert world.server.posts == 0
    error = await refused(engine.rejected(ALICE, 1, min_validity=1, max_wait=1))
    assert error.code is ErrorCode.LOGIN_REQUIRED
    assert error.hint == f"Run: ccs-broker login {ALICE.provider}"
    await engine.stop()


# -- the background


async def test_the_loop_renews_before_the_end_again_and_again(world: World) -> None:
    world.write(3600)
    _, engine = await world.boot()
    await world.clock.run(3250)
    assert world.server.posts == 0
    await world.clock.run(100)
    assert world.server.posts == 1
    await world.clock.run(24 * 3600)
    assert world.server.posts == pytest.approx(1 + 24 * 3600 // 3300, abs=1)
    assert world.server.reused == 0
    await engine.stop()


async def test_without_ahead_nothing_happens_by_itself(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(100)
    _, engine = await world.boot()
    await world.clock.run(5000)
    assert world.server.posts == 0
    assert engine.next_refresh(ALICE) is None
    await engine.stop()


async def test_next_refresh_is_told(world: World) -> None:
    world.write(3600)
    _, engine = await world.boot()
    assert engine.next_refresh(ALICE) == world.clock.wall + 3300
    assert engine.last_refresh(ALICE) is None
    await engine.renew(ALICE, max_wait=10)
    assert engine.last_refresh(ALICE) == world.clock.wall
    await engine.stop()


@pytest.mark.figures
async def test_many_accounts_with_one_expiry_are_paced(world: World, request: pytest.FixtureRequest) -> None:
    world.server.rotate = False
    for number in range(200):
        world.write(3600, account=AccountId("fake", f"user{number}"))
    _, engine = await world.boot()
    moments: list[float] = []
    world.server.on_post = lambda: moments.append(world.clock.boot)
    await world.clock.run(3590)
    assert len(moments) == 200
    assert all(later - earlier >= 0.99 for earlier, later in zip(moments, moments[5:], strict=False))
    left = world.clock.boot + 10 - moments[-1]
    assert left > 0
    told = f"200 accounts with one expiry, on a fake clock: at most 5 POSTs in any second, the last {left:.0f} s before the tokens end"
    request.node.user_properties.append(("figure", told))
    await engine.stop()


async def test_what_is_loaded_for_the_first_of_many_does_not_bring_it_closer_to_the_next(world: World) -> None:
    loaded = False

    async def prepare() -> bool:
        nonlocal loaded
        if loaded:
            return False
        await world.clock.sleep(0.15)
        loaded = True
        return True

    world.prepare, world.server.rotate = prepare, False
    for number in range(6):
        world.write(3600, account=AccountId("fake", f"user{number}"))
    _, engine = await world.boot()
    moments: list[float] = []
    world.server.on_post = lambda: moments.append(world.clock.boot)
    await world.clock.run(3590)
    assert len(moments) == 6
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 0.2
    await engine.stop()


# -- failures


async def test_a_failing_endpoint_is_asked_less_and_less_while_the_token_is_served(world: World) -> None:
    world.server.faults = [answer(500)] * 4
    world.write(280)
    _, engine = await world.boot()
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-1"
    assert isinstance(engine.state(ALICE), Backoff)
    await world.clock.run(120)
    assert 4 <= world.server.posts <= 6
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_a_caller_waits_out_a_short_backoff_and_is_told_of_a_long_one(world: World) -> None:
    world.server.faults = [answer(500), answer(500), answer(500), answer(500)]
    world.write(-1)
    _, engine = await world.boot()
    waiter = spawn(ask(engine, max_wait=5), name="waiter")
    await world.clock.run(5)
    assert (await refused(_result(waiter))).code is ErrorCode.REFRESH_FAILED
    world.server.faults = []
    waiter = spawn(ask(engine, max_wait=60), name="waiter")
    await world.clock.run(30)
    assert shown((await waiter).tokens.access_token).startswith("fake-access-")
    await engine.stop()


async def _result(task: "asyncio.Task[Grant]") -> Grant:
    return await task


async def test_invalid_grant_is_final_stored_and_never_tried_again(world: World) -> None:
    world.server.dead = True
    world.write(-1)
    store, engine = await world.boot()
    assert isinstance(engine.state(ALICE), NeedsLogin)
    error = await refused(ask(engine))
    assert error.code is ErrorCode.LOGIN_REQUIRED
    await world.clock.run(86400)
    assert world.server.posts == 1
    assert shown(world.stored().refresh_token) == "fake-refresh-1"
    await engine.stop()
    store.crash()
    store, engine = await world.boot()
    await world.clock.run(86400)
    assert isinstance(engine.state(ALICE), NeedsLogin)
    assert world.server.posts == 1
    world.server.dead = False
    world.server.current = "fake-refresh-new"
    world.write(3600, refresh="fake-refresh-new", access="fake-access-new")
    store.notice()
    await settle()
    assert engine.state(ALICE) == Active()
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-new"
    await engine.stop()


async def test_invalid_grant_is_believed_only_after_reading_the_file_again(world: World) -> None:
    world.write(-1)
    world.server.gate = asyncio.Event()
    _, engine = await world.boot()
    world.server.dead = True
    world.write(3600, refresh="fake-refresh-other", access="fake-access-other")
    world.server.gate.set()
    await settle()
    assert engine.state(ALICE) == Active()
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-other"
    assert shown(world.stored().refresh_token) == "fake-refresh-other"
    await engine.stop()


async def test_a_wrong_client_is_never_blamed_on_the_login(world: World) -> None:
    world.server.faults = [answer(401, error="invalid_client")]
    world.write(-1)
    _, engine = await world.boot()
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert state.code is ErrorCode.MISCONFIGURED
    assert (await refused(ask(engine))).code is ErrorCode.MISCONFIGURED
    await engine.stop()


async def test_a_refresh_that_does_not_move_the_expiry_backs_off(world: World) -> None:
    world.server.lifetime = 0
    world.write(-1)
    _, engine = await world.boot()
    await world.clock.run(60)
    assert world.server.posts <= 5
    await engine.stop()


async def test_a_connection_that_failed_before_a_byte_was_sent_is_simply_retried(world: World) -> None:
    world.server.faults = ["not-sent"]
    world.write(-1)
    _, engine = await world.boot()
    assert isinstance(engine.state(ALICE), Backoff)
    assert not world.disk.journal
    await world.clock.run(10)
    assert engine.state(ALICE) == Active()
    await engine.stop()


# -- lost answers


async def test_a_lost_answer_leaves_the_account_ambiguous_until_the_token_ends(world: World) -> None:
    world.server.faults = ["lost"]
    world.write(200)
    _, engine = await world.boot()
    assert isinstance(engine.state(ALICE), Ambiguous)
    assert ALICE in world.disk.journal
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-1"
    assert (await refused(ask(engine, min_validity=250))).code is ErrorCode.ANSWER_LOST
    await world.clock.run(195)
    assert world.server.posts == 1
    await world.clock.run(10)
    assert world.server.posts == 2
    assert engine.state(ALICE) == Active()
    assert not world.disk.journal
    await engine.stop()


async def test_a_token_rotated_away_by_a_lost_answer_ends_in_a_login_and_no_loop(world: World) -> None:
    world.server.faults = ["lost-after"]
    world.write(200)
    _, engine = await world.boot()
    await world.clock.run(7200)
    assert isinstance(engine.state(ALICE), NeedsLogin)
    assert world.server.posts == 2
    await engine.stop()


async def test_a_forgiving_provider_is_asked_again_at_once(world: World) -> None:
    world.policy = RefreshPolicy(rotates=False, forgives_repeat=True)
    world.server.rotate = False
    world.server.faults = ["lost"]
    world.write(200)
    _, engine = await world.boot()
    await world.clock.run(1)
    assert world.server.posts == 2
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_the_ambiguous_state_survives_the_process(world: World) -> None:
    world.server.faults = ["lost"]
    world.write(200)
    store, engine = await world.boot()
    await engine.stop()
    store.crash()
    _, engine = await world.boot()
    assert isinstance(engine.state(ALICE), Ambiguous)
    await world.clock.run(150)
    assert world.server.posts == 1
    await engine.stop()


async def test_an_answer_that_reached_the_journal_is_recovered_after_a_kill(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    store, engine = await world.boot()
    assert isinstance(engine.state(ALICE), Unsaved)
    store.crash()
    world.disk.failing = set()
    _, engine = await world.boot()
    assert world.server.posts == 1
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-2"
    assert not world.disk.journal
    await engine.stop()


# -- storage


async def test_no_token_is_spent_while_storage_is_unwritable(world: World) -> None:
    world.write(100)
    world.disk.failing = {"begin"}
    _, engine = await world.boot()
    await world.clock.run(300)
    assert world.server.posts == 0
    error = await refused(ask(engine))
    assert error.code is ErrorCode.STORAGE_UNWRITABLE
    assert [each for each in engine.problems() if "no login is renewed" in each]
    world.disk.failing = set()
    await world.clock.run(100)
    assert world.server.posts == 1
    assert engine.state(ALICE) == Active()
    assert not engine.problems()
    await engine.stop()


async def test_a_grant_storage_refuses_is_served_from_memory_and_saved_when_it_heals(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    _, engine = await world.boot()
    assert isinstance(engine.state(ALICE), Unsaved)
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-2"
    assert any(str(ALICE) in problem for problem in engine.problems())
    await world.clock.run(60)
    assert world.server.posts == 1
    world.disk.failing = set()
    await world.clock.run(6)
    assert engine.state(ALICE) == Active()
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert not engine.problems()
    await engine.stop()


async def test_a_newer_grant_in_the_file_beats_an_unsaved_one(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    store, engine = await world.boot()
    world.disk.failing = set()
    world.write(3600, refresh="fake-refresh-login", access="fake-access-login")
    store.notice()
    await world.clock.run(10)
    assert engine.state(ALICE) == Active()
    assert shown((await ask(engine)).tokens.access_token) == "fake-access-login"
    assert shown(world.stored().refresh_token) == "fake-refresh-login"
    await engine.stop()


async def test_a_journal_that_cannot_take_the_answer_does_not_stop_the_rotation(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"answer", "sync", "clear"}
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    await engine.stop()


# -- other writers


async def test_another_process_that_renewed_first_is_adopted(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(-1)
    (_, first), (_, second) = await world.boot(), await world.boot()
    grants = await asyncio.gather(
        *(ask(engine, max_wait=60) for engine in (first, second) for _ in range(50)), _tick(world)
    )
    assert world.server.posts == 1
    assert {shown(grant.tokens.access_token) for grant in grants if grant} == {"fake-access-2"}
    await first.stop()
    await second.stop()


async def _tick(world: World) -> None:
    for _ in range(20):
        await world.clock.run(0.01)


async def test_a_removed_account_is_forgotten(world: World) -> None:
    world.write()
    store, engine = await world.boot()
    told: list[AccountId] = []
    stop = engine.subscribe(told.append)
    del world.disk.files[ALICE]
    store.notice()
    await settle()
    assert told == [ALICE]
    assert (await refused(ask(engine))).code is ErrorCode.UNKNOWN_ACCOUNT
    assert engine.peek(ALICE) is None
    stop()
    await engine.stop()


async def test_a_file_that_vanishes_under_the_lock_is_no_disaster(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(-1)
    _, engine = await world.boot()
    del world.disk.files[ALICE]
    assert (await refused(ask(engine))).code is ErrorCode.UNKNOWN_ACCOUNT
    await engine.stop()


# -- rejected tokens


async def test_five_hundred_reports_of_one_token_cause_one_refresh(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    generation = (await ask(engine)).entry.generation
    reports = [engine.rejected(ALICE, generation, min_validity=60, max_wait=10) for _ in range(500)]
    grants = await asyncio.gather(*reports)
    assert world.server.posts == 1
    assert {shown(grant.tokens.access_token) for grant in grants} == {"fake-access-2"}
    late = await engine.rejected(ALICE, generation, min_validity=60, max_wait=10)
    assert shown(late.tokens.access_token) == "fake-access-2"
    assert world.server.posts == 1
    await engine.stop()


async def test_an_api_that_rejects_fresh_tokens_does_not_make_us_loop(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    refusals = 0
    for _ in range(100):
        generation = engine.peek(ALICE).entry.generation  # type: ignore[union-attr]
        report = engine.rejected(ALICE, generation, min_validity=60, max_wait=10)
        answers = await asyncio.gather(report, return_exceptions=True)
        refusals += sum(isinstance(said, BrokerError) and said.retry_after is not None for said in answers)
        await world.clock.run(6)
    assert world.server.posts <= 6
    assert refusals > 90
    await world.clock.run(1000)  # it is quiet for twice the last pause
    engine.accepted(ALICE)
    posts = world.server.posts
    generation = engine.peek(ALICE).entry.generation  # type: ignore[union-attr]
    await engine.rejected(ALICE, generation, min_validity=60, max_wait=10)
    assert world.server.posts == posts + 1
    await engine.stop()


async def test_an_api_that_rejects_at_one_endpoint_and_accepts_at_another_does_not_make_us_loop(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    for _ in range(3600 // 6):
        generation = engine.peek(ALICE).entry.generation  # type: ignore[union-attr]
        report = engine.rejected(ALICE, generation, min_validity=60, max_wait=10)
        await asyncio.gather(report, return_exceptions=True)
        engine.accepted(ALICE)
        await world.clock.run(6)
    assert world.server.posts <= 10  # an hour's own renewal and those that double their distance
    await engine.stop()


async def test_a_server_that_rejects_for_days_is_asked_once_an_hour_at_last(world: World) -> None:
    world.write()
    world.server.lifetime = 30 * 86400
    _, engine = await world.boot()
    for _ in range(48 * 60):
        generation = engine.peek(ALICE).entry.generation  # type: ignore[union-attr]
        report = engine.rejected(ALICE, generation, min_validity=60, max_wait=10)
        await asyncio.gather(report, return_exceptions=True)
        await world.clock.run(60)
    assert world.server.posts <= 8 + 48
    await engine.stop()


async def test_a_rejected_token_is_better_than_none_when_it_cannot_be_replaced(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    world.server.faults = [answer(503)]
    generation = (await ask(engine)).entry.generation
    grant = await engine.rejected(ALICE, generation, min_validity=60, max_wait=10)
    assert grant.entry.generation == generation
    await engine.stop()


async def test_a_rejected_token_whose_grant_is_dead_is_not_served(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    world.server.dead = True
    generation = (await ask(engine)).entry.generation
    error = await refused(engine.rejected(ALICE, generation, min_validity=60, max_wait=10))
    assert error.code is ErrorCode.LOGIN_REQUIRED
    assert engine.peek(ALICE) is None
    await engine.stop()


# -- forced


async def test_a_final_answer_is_not_asked_for_again_because_the_access_token_is_rejected_too(world: World) -> None:
    world.write(3600)
    world.server.dead = True
    _, engine = await world.boot()
    with pytest.raises(BrokerError):
        await engine.renew(ALICE, max_wait=5)
    assert isinstance(engine.state(ALICE), NeedsLogin)
    assert world.server.posts == 1
    grant = await ask(engine)  # it lives for a while
    for _ in range(3):
        with pytest.raises(BrokerError) as told:
            await engine.rejected(ALICE, grant.entry.generation, min_validity=0, max_wait=5)
        assert told.value.code is ErrorCode.LOGIN_REQUIRED
        await world.clock.run(100)
    assert world.server.posts == 1
    assert engine.peek(ALICE) is None
    await engine.stop()


async def test_a_forced_refresh_renews_a_fresh_token(world: World) -> None:
    world.write()
    _, engine = await world.boot()
    assert shown((await engine.renew(ALICE, max_wait=10)).tokens.access_token) == "fake-access-2"
    world.server.faults = [answer(500)]
    world.clock.advance(1)
    assert (await refused(engine.renew(ALICE, max_wait=10))).code is ErrorCode.REFRESH_FAILED
    world.clock.advance(1)
    assert shown((await engine.renew(ALICE, max_wait=10)).tokens.access_token) == "fake-access-4"
    world.server.gate = asyncio.Event()
    assert (await refused(engine.renew(ALICE, max_wait=0))).code is ErrorCode.DEADLINE_EXCEEDED
    world.server.gate.set()
    await engine.stop()


# -- time


@pytest.mark.parametrize("step", [3600, -3600])
async def test_clock_steps_serve_no_dead_token_and_cost_one_refresh_at_most(world: World, step: float) -> None:
    world.write(-1)
    _, engine = await world.boot()
    assert world.server.posts == 1
    world.clock.step_wall(step)
    await world.clock.run(600)
    assert world.server.posts == 1
    grant = await ask(engine)
    assert grant.tokens.expires_at == pytest.approx(world.clock.wall + 3000, abs=2)
    await engine.stop()


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_step_after_reading_a_file_costs_one_refresh_at_most(world: World, step: float) -> None:
    world.write(1800)
    _, engine = await world.boot()
    world.clock.step_wall(step)
    await world.clock.run(600)
    assert world.server.posts <= 1
    await world.clock.run(1300)
    assert world.server.posts == 1
    await engine.stop()


async def test_the_loop_looks_at_once_when_the_wall_clock_is_set(world: World) -> None:
    world.write(1800)
    _, engine = await world.boot()
    world.clock.step_wall(1790)
    await settle()
    assert world.server.posts == 1
    await engine.stop()


# -- stopping


async def test_stop_waits_for_a_refresh_in_flight(world: World) -> None:
    world.server.gate = asyncio.Event()
    world.write(-1)
    _, engine = await world.boot()
    stopping = spawn(engine.stop(), name="stop")
    await settle()
    assert not stopping.done()
    world.server.gate.set()
    await stopping
    assert shown(world.stored().refresh_token) == "fake-refresh-2"


async def test_a_stopping_engine_starts_nothing(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(-1)
    _, engine = await world.boot()
    await engine.stop()
    assert (await refused(ask(engine))).code is ErrorCode.STOPPING
    assert world.server.posts == 0
