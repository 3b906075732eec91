import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from broker.ipc.schema import Cooldown, Report, ReportAnswer, WatchEvent
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.tasks import spawn
from broker.proxy import leases
from broker.proxy.attempts import Leased, Limit
from broker.proxy.leases import LeaseTable
from broker.proxy.naming import Goal
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.clock import FakeClock


class Even:
    """Chance without surprises: a pause is as long as it says."""

    def unit(self) -> float:
        return 0.5

    def token(self, bytes_: int) -> str:
        return "x" * bytes_


class Rig:
    def __init__(self, daemon: FakeDaemon) -> None:
        self.daemon = daemon
        self.clock = FakeClock()
        self.table = LeaseTable(daemon, self.clock, Even())

    def names(self) -> list[str]:
        return [each.view.account for each in self.table.accounts()]

    def cooldowns(self, name: str) -> list[Cooldown]:
        return [
            cooldown for each in self.table.accounts() if each.view.account == name for cooldown in each.view.cooldowns
        ]


@pytest.fixture
def daemon() -> FakeDaemon:
    made = FakeDaemon()
    made.put(account("gemini/b", lease("gemini/b")), account("gemini/a", lease("gemini/a")))
    return made


@pytest.fixture
async def rig(daemon: FakeDaemon) -> AsyncIterator[Rig]:
    made = Rig(daemon)
    following = spawn(made.table.follow(), name="test")
    await made.table.settled.wait()
    await quiet()
    yield made
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


@pytest.fixture(autouse=True)
def _strict(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "fake-access" not in caplog.text


async def quiet() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def limit(name: str = "gemini/a", seconds: float | None = 60.0, model: str = "m") -> Limit:
    return Limit(name, 1, seconds, "quota", model)


async def test_follows_the_daemon(rig: Rig) -> None:
    assert rig.names() == ["gemini/a", "gemini/b"]
    assert rig.table.held() == 2
    assert rig.table.connected
    rig.daemon.put(account("gemini/c", None))
    rig.daemon.remove("gemini/a")
    await quiet()
    assert rig.names() == ["gemini/b", "gemini/c"]
    assert rig.table.accounts() is rig.table.accounts(), "nothing is made anew for each request"
    assert rig.table.held() == 1


async def test_the_accounts_some_goals_mean_are_found_anew_after_every_change(
    rig: Rig, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals = (Goal("m", ("gemini",)),)
    meant = rig.table.meant(goals)
    assert [each.view.account for each in meant] == ["gemini/a", "gemini/b"]
    assert rig.table.meant((Goal("m", ("gemini",)),)) is meant
    assert rig.table.meant((Goal("m", ("xai",)),)) == ()
    daemon.put(account("gemini/c", lease("gemini/c")))
    await quiet()
    assert [each.view.account for each in rig.table.meant(goals)] == ["gemini/a", "gemini/b", "gemini/c"]
    meant = rig.table.meant(goals)
    monkeypatch.setattr(leases, "_MAX_MEANT", 1)
    rig.table.meant((Goal("n", ("gemini",)),))
    assert rig.table.meant(goals) is not meant, "forgotten with the others when there were too many"


async def test_works_on_and_returns_after_the_daemon_was_away(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.daemon.stop()
    await quiet()
    assert not rig.table.connected
    assert rig.names() == ["gemini/a", "gemini/b"]
    for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        assert rig.clock.sleepers == 1
        rig.clock.advance(pause - 0.01)
        await quiet()
        assert rig.clock.sleepers == 1
        rig.clock.advance(0.02)
        await quiet()
    assert caplog.text.count("daemon not reachable") == 1
    assert rig.table.away == ""
    del rig.daemon.accounts["gemini/a"]
    rig.daemon.start()
    rig.clock.advance(5.1)
    await quiet()
    assert rig.table.connected
    assert rig.names() == ["gemini/b"]
    assert rig.daemon.watched_from == [None, "1"]
    rig.daemon.stop()
    await quiet()
    rig.daemon.start()
    rig.clock.advance(0.11)
    await quiet()
    assert rig.table.connected, "after a success the pauses begin short again"


async def test_a_daemon_that_was_never_there() -> None:
    daemon = FakeDaemon()
    daemon.stop()
    rig = Rig(daemon)
    assert rig.table.away == "it has not been reached yet"
    following = spawn(rig.table.follow(), name="test")
    await rig.table.settled.wait()
    assert rig.table.away == "no daemon on the socket"
    daemon.start()
    await quiet()
    rig.clock.advance(1)
    await quiet()
    assert rig.table.away == ""
    following.cancel()


async def test_an_event_that_is_stumbled_over_does_not_end_the_following(caplog: pytest.LogCaptureFixture) -> None:
    class Odd(FakeDaemon):
        async def watch(self, last_event_id: str | None = None) -> AsyncIterator[tuple[str, WatchEvent]]:
            if not self.watched_from:
                self.watched_from.append(last_event_id)
                raise RuntimeError("planted")
            async for each in super().watch(last_event_id):
                yield each

    rig = Rig(Odd())
    following = spawn(rig.table.follow(), name="test")
    await quiet()
    rig.clock.advance(1)
    await quiet()
    assert rig.table.connected
    assert "push stream not understood" in caplog.text
    following.cancel()


async def test_borrowing(rig: Rig) -> None:
    rig.daemon.renew = lambda name: lease(name, "fake-access-2", 2)
    got = await rig.table.borrow("gemini/a")
    assert got.lease is not None
    assert got.lease.generation == 2
    held = rig.table.accounts()[0].lease
    assert held is not None
    assert held.generation == 2
    rig.daemon.renew = lambda name: lease(name, "fake-access-1", 1)
    await rig.table.borrow("gemini/a")
    held = rig.table.accounts()[0].lease
    assert held is not None
    assert held.generation == 2, "an older lease does not replace a newer one"
    assert await rig.table.borrow("gemini/zzz") == Leased(None, "no account gemini/zzz (Run: ccs-broker list)")
    rig.daemon.accounts["gemini/gone"] = account("gemini/gone", None)
    assert (await rig.table.borrow("gemini/gone")).lease is not None, "an account the table has not heard of yet"


async def test_borrowing_from_a_dead_login_or_daemon(rig: Rig) -> None:
    rig.daemon.put(account("gemini/dead", None, state="needs_login"))
    got = await rig.table.borrow("gemini/dead")
    assert got == Leased(None, "the login is dead (Run: ccs-broker login gemini)", login=True)
    got = await rig.table.borrow("gemini/a")
    assert got == Leased(None, "the token endpoint is down")
    rig.daemon.stop()
    got = await rig.table.borrow("gemini/a")
    assert not got.login
    assert "no daemon" in got.text


async def test_rejecting(rig: Rig) -> None:
    assert (await rig.table.reject("gemini/a", 1)).text == "the provider rejects its token and there is no newer one"
    rig.daemon.renew = lambda name: lease(name, "fake-access-2", 2)
    got = await rig.table.reject("gemini/a", 1)
    assert got.lease is not None
    assert got.lease.generation == 2
    assert [report.generation for report in rig.daemon.reports] == [1, 1]
    again = await rig.table.reject("gemini/a", 1)
    assert again.lease is got.lease, "the table already knows a newer one"
    assert len(rig.daemon.reports) == 2
    rig.daemon.stop()
    assert (await rig.table.reject("gemini/b", 1)).lease is None


async def test_a_limit_counts_here_at_once_and_is_told(rig: Rig) -> None:
    rig.table.limit(limit(model="m"))
    until = rig.clock.now().wall + 60
    assert rig.cooldowns("gemini/a") == [Cooldown("m", until, "quota")]
    assert rig.cooldowns("gemini/b") == []
    await quiet()
    report = rig.daemon.reports[0]
    assert (report.outcome, report.model, report.until, report.reason) == ("limited", "m", until, "quota")


async def test_without_a_hint_cool_downs_double_and_a_burst_counts_once(rig: Rig) -> None:
    def seconds() -> float:
        return max(cooldown.until for cooldown in rig.cooldowns("gemini/a")) - rig.clock.now().wall

    lengths = []
    for _ in range(4):
        for _ in range(3):
            rig.table.limit(limit(seconds=None, model="m"))
        lengths.append(seconds())
        rig.clock.advance(lengths[-1] + 1)
    assert lengths == [2, 4, 8, 16]
    rig.table.served("gemini/a", 1, "m")
    assert rig.cooldowns("gemini/a") == []
    await quiet()
    assert rig.daemon.reports[-1] == Report(account="gemini/a", generation=1, outcome="ok", model="m")
    told = len(rig.daemon.reports)
    rig.table.served("gemini/a", 1, "m")
    rig.table.served("gemini/b", 1, "m")
    await quiet()
    assert len(rig.daemon.reports) == told, "a success tells only where there was a failure"


async def test_a_reset_by_a_person_counts_here_too(rig: Rig) -> None:
    rig.table.limit(limit(model="m"))
    rig.table.limit(limit("gemini/b", model="m"))
    rig.daemon.put(
        account("gemini/a", lease("gemini/a"), cooldowns=(Cooldown("m", rig.clock.now().wall + 60, "quota"),))
    )
    await quiet()
    assert len(rig.cooldowns("gemini/a")) == 2
    rig.daemon.put(account("gemini/a", lease("gemini/a")))
    await quiet()
    assert rig.cooldowns("gemini/a") == []
    assert len(rig.cooldowns("gemini/b")) == 1


async def test_after_a_reset_cool_downs_begin_anew_but_not_after_their_end(rig: Rig) -> None:
    def seconds() -> float:
        rig.table.limit(limit(seconds=None, model="m"))
        return rig.cooldowns("gemini/a")[-1].until - rig.clock.now().wall

    async def told(*cooldowns: Cooldown) -> None:
        rig.daemon.put(account("gemini/a", lease("gemini/a"), cooldowns=cooldowns))
        await quiet()

    assert [seconds(), seconds()] == [1, 2]
    await told(Cooldown("m", rig.clock.now().wall + 2, "quota"))
    rig.clock.advance(3)
    await told()
    assert seconds() == 2, "it was over by itself"
    await told(Cooldown("m", rig.clock.now().wall + 2, "quota"))
    await told()
    assert seconds() == 1


async def test_cool_downs_of_names_without_end_are_forgotten_when_they_are_over(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.proxy.leases._MAX_COOLING", 3)
    for number in range(4):
        rig.table.limit(limit(model=f"m{number}"))
    assert len(rig.cooldowns("gemini/a")) == 4, "none is over"
    rig.clock.advance(61)
    rig.table.limit(limit(model="m"))
    assert [each.model for each in rig.cooldowns("gemini/a")] == ["m"]


async def test_what_could_not_be_told_is_told_with_the_next_snapshot(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.table.limit(limit("gemini/b", model="told"))
    await quiet()
    rig.daemon.stop()
    rig.table.limit(limit(model="m"))
    rig.table.limit(limit(model="later-fine"))
    await quiet()
    assert len(rig.daemon.reports) == 1
    assert "report not taken" in caplog.text
    assert "gemini/a" not in caplog.text
    rig.table.served("gemini/a", 1, "later-fine")
    await quiet()
    rig.daemon.start()
    rig.clock.advance(1)
    await quiet()
    assert [report.model for report in rig.daemon.reports] == ["told", "m"]
    assert [cooldown.model for cooldown in rig.cooldowns("gemini/a")] == ["m"]
    assert rig.cooldowns("gemini/b") == [], "the daemon knows better"


async def test_a_report_that_is_refused_is_not_an_error(rig: Rig) -> None:
    async def refuse(report: Report) -> ReportAnswer:
        raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, "gone")

    rig.daemon.report = refuse  # type: ignore[method-assign]
    rig.table.limit(limit(model="m"))
    rig.table.served("gemini/a", 1, "m")
    await quiet()
    assert rig.cooldowns("gemini/a") == []
