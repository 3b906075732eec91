"""The corners of one refresh, from what an earlier process left to what other programs do meanwhile."""

import asyncio
from dataclasses import replace

import pytest

from broker.config import RefreshConfig
from broker.model.account import AccountId, Active, Ambiguous, Backoff, NeedsLogin, Record, Tokens, Unsaved
from broker.model.clock import Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Transient
from broker.oauth.messages import Flow, HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, NotSentError
from broker.observe.tasks import spawn
from broker.providers.base import Client, Provider
from broker.store.base import PendingRotation
from tests.fakes.clock import settle
from tests.fakes.provider import FakeProvider
from tests.fakes.token_endpoint import answer
from tests.refresh.harness import ALICE, Clients, World, shown


@pytest.fixture
def world() -> World:
    return World()


def pending(world: World, refresh: str = "fake-refresh-1", said: HttpResponse | None = None) -> None:
    world.disk.journal[ALICE] = PendingRotation(Secret(refresh).digest(), 1, world.clock.wall, said)  # type: ignore[arg-type]


async def test_a_record_about_another_token_is_cleared(world: World) -> None:
    world.write(3600)
    pending(world, "fake-refresh-before", answer(access_token="fake-old", refresh_token="fake-old-refresh"))
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    assert not world.disk.journal
    assert shown(world.stored().access_token) == "fake-access-1"
    await engine.stop()


async def test_a_recorded_refusal_is_taken_up_like_a_fresh_one(world: World) -> None:
    world.write(3600)
    pending(world, said=answer(400, error="invalid_grant"))
    _, engine = await world.boot()
    assert isinstance(engine.state(ALICE), NeedsLogin)
    assert world.server.posts == 0
    await engine.stop()


async def test_a_record_without_answer_and_a_dead_token_is_spent_once_more(world: World) -> None:
    world.write(-5)
    pending(world)
    _, engine = await world.boot()
    await world.clock.run(10)
    assert world.server.posts == 1
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_what_another_process_left_in_doubt_waits_for_the_end_of_the_access_token(world: World) -> None:
    world.config = RefreshConfig(ahead=False)
    world.write(200)
    _, engine = await world.boot()
    pending(world)  # another daemon on the same directory was killed
    with pytest.raises(BrokerError) as told:
        await engine.renew(ALICE, max_wait=5)
    assert told.value.code is ErrorCode.ANSWER_LOST
    assert isinstance(engine.state(ALICE), Ambiguous)
    assert world.server.posts == 0
    assert shown((await engine.lease(ALICE, min_validity=60, max_wait=5)).tokens.access_token) == "fake-access-1"
    await world.clock.run(201)
    assert shown((await engine.lease(ALICE, min_validity=60, max_wait=5)).tokens.access_token) == "fake-access-2"
    assert world.server.posts == 1
    await engine.stop()


async def test_a_process_killed_before_the_connection_stood_leaves_no_doubt(world: World) -> None:
    world.write(3600)
    world.disk.journal[ALICE] = PendingRotation(Secret("fake-refresh-1").digest(), 1, world.clock.wall, presented=False)  # type: ignore[arg-type]
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    assert not world.disk.journal
    assert shown((await engine.renew(ALICE, max_wait=5)).tokens.access_token) == "fake-access-2"
    assert (world.server.posts, world.server.reused) == (1, 0)
    await engine.stop()


@pytest.mark.parametrize("fault", ["present", "present-unproven"])
async def test_nothing_is_sent_where_it_cannot_be_noted_that_it_is(world: World, fault: str) -> None:
    world.write(-1)
    world.disk.failing = {fault}
    _, engine = await world.boot()
    await world.clock.run(1)
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert state.code is ErrorCode.STORAGE_UNWRITABLE
    assert world.server.posts == 0
    world.disk.failing = set()
    await world.clock.run(60)
    assert engine.state(ALICE) == Active()
    assert world.server.posts == 1
    await engine.stop()


@pytest.mark.parametrize("fault", ["present", "present-unproven"])
async def test_a_note_that_could_not_be_made_for_good_leaves_no_doubt(world: World, fault: str) -> None:
    world.write(100)  # due, and of use: a token that may have been spent would have to wait for its end
    world.disk.failing = {fault}
    _, engine = await world.boot()
    await world.clock.run(1)
    assert world.server.posts == 0
    assert not world.disk.journal
    world.disk.failing = set()
    await world.clock.run(30)
    assert (engine.state(ALICE), world.server.posts) == (Active(), 1)
    await engine.stop()


async def test_the_record_says_when_the_token_goes_out(world: World) -> None:
    seen = []
    world.server.on_post = lambda: seen.append(world.disk.journal[ALICE].presented)
    world.write(-1)
    world.server.faults = ["not-sent"]
    _, engine = await world.boot()
    await settle()
    await world.clock.run(60)
    assert seen == [False, True]  # one that got no connection, one that did
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_a_record_of_an_account_that_is_gone_does_no_harm(world: World) -> None:
    world.disk.journal[AccountId("fake", "gone")] = PendingRotation(Secret("x").digest(), 1, 0.0)  # type: ignore[arg-type]
    world.write(3600)
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_a_login_written_while_the_answer_is_under_way_wins(world: World) -> None:
    world.server.gate = asyncio.Event()
    world.write(-1)
    _, engine = await world.boot()
    world.write(3600, refresh="fake-refresh-login", access="fake-access-login")
    world.server.gate.set()
    await settle()
    assert shown(world.stored().refresh_token) == "fake-refresh-login"
    assert shown((await engine.lease(ALICE, min_validity=60, max_wait=5)).tokens.access_token) == "fake-access-login"
    assert not world.disk.journal
    await engine.stop()


async def test_a_file_deleted_while_the_answer_is_under_way_stays_deleted(world: World) -> None:
    world.server.gate = asyncio.Event()
    world.write(-1)
    store, engine = await world.boot()
    del world.disk.files[ALICE]
    world.server.gate.set()
    await settle()
    store.notice()
    await settle()
    assert ALICE not in world.disk.files
    with pytest.raises(BrokerError):
        engine.state(ALICE)
    await engine.stop()


class Missing(Clients):
    async def find(self, provider: Provider, carried: Client | None) -> Client:
        raise BrokerError(ErrorCode.MISCONFIGURED, "no client secret found", hint="Install gemini-cli.")


class Undiscovered(Clients):
    async def resolve(self, provider: Provider) -> Provider:
        raise NotSentError("the issuer could not be reached")


@pytest.mark.parametrize(
    ("fault", "forgotten"),
    [
        (answer(401, error="invalid_client"), ["fake"]),
        (answer(400, error="invalid_scope"), []),
        (answer(400, error="invalid_grant"), []),
    ],
)
async def test_a_registration_that_is_refused_is_looked_up_again(
    world: World, fault: HttpResponse, forgotten: list[str]
) -> None:
    world.server.faults = [fault]
    world.write(-1)
    _, engine = await world.boot()
    assert world.clients.forgotten == forgotten
    await engine.stop()


async def test_a_missing_client_registration_spends_nothing_and_says_what_to_do(world: World) -> None:
    world.clients = Missing()
    world.write(-1)
    _, engine = await world.boot()
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert state.code is ErrorCode.MISCONFIGURED
    assert "Install gemini-cli." in state.reason
    assert world.server.posts == 0
    await engine.stop()


async def test_an_issuer_that_cannot_be_reached_is_a_passing_fault(world: World) -> None:
    world.clients = Undiscovered()
    world.write(-1)
    _, engine = await world.boot()
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert state.code is ErrorCode.REFRESH_FAILED
    await engine.stop()


async def test_a_lock_that_somebody_keeps_is_a_passing_fault(world: World) -> None:
    world.write(-1)
    world.disk.locks[ALICE] = object()
    _, engine = await world.boot()
    await world.clock.run(31)
    assert isinstance(engine.state(ALICE), Backoff)
    assert world.server.posts == 0
    del world.disk.locks[ALICE]
    await world.clock.run(60)
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_storage_that_fails_under_the_lock_is_told(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"lock"}
    _, engine = await world.boot()
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert state.code is ErrorCode.STORAGE_UNWRITABLE
    await engine.stop()


async def test_a_fault_of_ours_is_told_and_not_spun_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    world.server.on_post = break_down
    world.write(-1)
    _, engine = await world.boot()
    state = engine.state(ALICE)
    assert isinstance(state, Backoff)
    assert "ZeroDivisionError" in state.reason
    assert "refresh broke off" in caplog.text
    await engine.stop()


async def test_an_unsaved_grant_whose_lock_is_kept_stays_unsaved(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    _, engine = await world.boot()
    world.disk.locks[ALICE] = object()
    await world.clock.run(40)
    assert isinstance(engine.state(ALICE), Unsaved)
    del world.disk.locks[ALICE]
    world.disk.failing = set()
    await world.clock.run(60)
    assert engine.state(ALICE) == Active()
    await engine.stop()


async def test_an_unsaved_grant_gives_way_to_a_login_it_finds_in_the_file(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    _, engine = await world.boot()
    world.disk.failing = set()
    world.write(3600, refresh="fake-refresh-login", access="fake-access-login")
    await world.clock.run(6)
    assert engine.state(ALICE) == Active()
    assert shown(engine.peek(ALICE).tokens.access_token) == "fake-access-login"  # type: ignore[union-attr]
    await engine.stop()


async def test_an_unsaved_account_whose_file_is_gone_is_let_go(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    store, engine = await world.boot()
    del world.disk.files[ALICE]
    store.notice()
    await settle()
    with pytest.raises(BrokerError):
        engine.state(ALICE)
    await engine.stop()


async def test_an_unsaved_grant_that_dies_is_refused_with_the_reason(world: World) -> None:
    world.server.lifetime = 100
    world.write(-1)
    world.disk.failing = {"put"}
    _, engine = await world.boot()
    await world.clock.run(101)
    with pytest.raises(BrokerError) as caught:
        await engine.lease(ALICE, min_validity=0, max_wait=1)
    assert caught.value.code is ErrorCode.STORAGE_UNWRITABLE
    await engine.stop()


async def test_other_changes_of_the_file_leave_an_unsaved_grant_alone(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    store, engine = await world.boot()
    file = world.disk.files[ALICE]
    world.disk.files[ALICE] = replace(file, record=replace(file.record, facts={"project_id": "other"}))
    store.notice()
    await settle()
    assert isinstance(engine.state(ALICE), Unsaved)
    assert shown(engine.peek(ALICE).tokens.access_token) == "fake-access-2"  # type: ignore[union-attr]
    await engine.stop()


async def test_an_old_grant_written_again_leaves_an_unsaved_one_alone(world: World) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    store, engine = await world.boot()
    world.write(3600, access="fake-access-other")  # its refresh token is the one that was spent
    store.notice()
    await settle()
    assert isinstance(engine.state(ALICE), Unsaved)
    assert shown(engine.peek(ALICE).tokens.access_token) == "fake-access-2"  # type: ignore[union-attr]
    world.disk.failing = set()
    await world.clock.run(10)
    assert engine.state(ALICE) == Active()
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert world.server.posts == 1
    await engine.stop()


@pytest.mark.parametrize(("offset", "served"), [(3600, False), (5, True)])
async def test_the_providers_clock_is_learned_from_its_date(world: World, offset: float, served: bool) -> None:
    from email.utils import formatdate

    headers = {"date": formatdate(world.clock.wall + offset, usegmt=True)}
    world.server.faults = [HttpResponse(500, headers, b"")]
    world.config = RefreshConfig(ahead=False)
    world.write(1800)
    _, engine = await world.boot()
    with pytest.raises(BrokerError):
        await engine.renew(ALICE, max_wait=5)
    # The file's expiry was told by a clock; where the provider's is an hour ahead, the token has ended.
    assert (engine.peek(ALICE) is not None) is served
    await engine.stop()


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 01 Jan 0001 00:00:00 -2359", "Fri, 31 Dec 99999 00:00:00 GMT"])
async def test_a_date_that_is_none_teaches_nothing(world: World, date: str) -> None:
    world.server.faults = [HttpResponse(500, {"date": date}, b"")]
    world.write(200)
    _, engine = await world.boot()
    assert engine.peek(ALICE) is not None
    await engine.stop()


async def test_a_stop_that_cannot_wait_longer_leaves_the_record_in_the_journal(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.config = RefreshConfig(stop_timeout_seconds=0.01)
    world.server.gate = asyncio.Event()
    world.write(-1)
    _, engine = await world.boot()
    stopping = spawn(engine.stop(), name="stop")
    await stopping
    assert "the journal has them" in caplog.text
    assert ALICE in world.disk.journal
    world.server.gate.set()
    await settle()


async def test_a_stop_with_an_unsaved_grant_is_never_silent(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.write(-1)
    world.disk.failing = {"put"}
    _, engine = await world.boot()
    await engine.stop()
    assert "unsaved grant" in caplog.text
    assert ALICE in world.disk.journal


class TwoSteps(FakeProvider):
    """Asks for something more after the grant, and keeps the grant whatever comes of it."""

    def refresh(self, record: Record, client: Client, now: Now) -> Flow[Tokens]:
        tokens = yield from FakeProvider.refresh(self, record, client, now)
        try:
            answer = yield HttpRequest("POST", "https://fake.invalid/key", form={"refresh_token": Secret("fake-none")})
        except FlowFailedError:
            return replace(tokens, access_token=Secret("fake-old-key"))
        return replace(tokens, access_token=Secret(f"fake-key-{answer.status}"))


@pytest.mark.parametrize(
    ("fault", "key"), [("not-sent", "fake-old-key"), ("lost", "fake-old-key"), (answer(201), "fake-key-201")]
)
async def test_a_grant_is_not_lost_with_what_follows_it(world: World, fault: HttpResponse | str, key: str) -> None:
    world.provider = TwoSteps
    world.server.faults = [answer(access_token="fake-a", refresh_token="fake-refresh-2", expires_in=3600), fault]
    world.write(-5)
    _, engine = await world.boot()
    assert engine.state(ALICE) == Active()
    assert (shown(world.stored().refresh_token), shown(world.stored().access_token)) == ("fake-refresh-2", key)
    assert not world.disk.journal
    await engine.stop()


class Offline(Clients):
    """An issuer that cannot be asked, or a registration that cannot be found, for a while."""

    def __init__(self, fault: Exception) -> None:
        super().__init__()
        self.fault: Exception | None = fault

    async def resolve(self, provider: Provider) -> Provider:
        if self.fault is not None:
            raise self.fault
        return provider


@pytest.mark.parametrize(
    "fault",
    [
        NotSentError("the network is down"),
        AnswerLostError("the issuer hung up"),
        FlowFailedError(Transient("the issuer answered 503")),
        BrokerError(ErrorCode.MISCONFIGURED, "no client secret", hint="Set one"),
    ],
)
async def test_a_recorded_answer_waits_for_what_is_needed_to_take_it_up(world: World, fault: Exception) -> None:
    world.write(100)
    world.server.current = "fake-refresh-2"
    pending(world, said=answer(access_token="fake-access-2", refresh_token="fake-refresh-2", expires_in=3600))
    world.clients = clients = Offline(fault)
    _, engine = await world.boot()
    assert world.disk.journal[ALICE].answer is not None
    clients.fault = None
    await world.clock.run(120)
    assert engine.state(ALICE) == Active()
    assert shown(world.stored().refresh_token) == "fake-refresh-2"
    assert not world.disk.journal
    assert world.server.posts == 0
    await engine.stop()


async def test_a_recorded_answer_that_storage_refuses_is_as_old_as_it_is(world: World) -> None:
    """Its lifetime counts from when it came, not from when it was taken up."""
    world.write(-5)
    world.server.current = "fake-refresh-2"
    pending(world, said=answer(access_token="fake-access-2", refresh_token="fake-refresh-2", expires_in=3600))
    world.clock.advance(3700)
    world.disk.failing.add("put")
    _, engine = await world.boot()
    assert isinstance(engine.state(ALICE), Unsaved)
    asked = asyncio.ensure_future(engine.lease(ALICE, min_validity=0, max_wait=5))
    await world.clock.run(6)
    with pytest.raises(BrokerError):
        await asked
    await engine.stop()
