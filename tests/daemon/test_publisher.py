import asyncio

from broker.ipc.schema import Changed
from broker.ipc.sse import EventReader
from broker.sandbox.faults import ErrorStatus, Target
from tests.fakes.broker import ANN, BOB, Running, running_daemon


def metric(running: Running, name: str) -> float:
    lines = running.daemon.dispatch.metrics.render().decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


async def test_a_refresh_is_counted_timed_and_written_down(running: Running) -> None:
    await running.client.refresh(ANN)
    await asyncio.sleep(0.05)
    assert metric(running, 'ccs_broker_refreshes_total{outcome="renewed",provider="sandbox"}') == 1
    assert metric(running, 'ccs_broker_refresh_seconds_count{provider="sandbox"}') == 1
    assert '"outcome": "renewed"' in (running.state / "audit.jsonl").read_text()


async def test_a_failed_refresh_is_counted_by_its_code() -> None:
    async with running_daemon(ANN, lifetime=-10) as running:
        running.sandbox.faults.add(Target.TOKEN, ErrorStatus(status=503), times=100)
        async with asyncio.timeout(10):
            while not metric(running, 'ccs_broker_refreshes_total{outcome="refresh_failed",provider="sandbox"}'):
                await asyncio.sleep(0.02)
        assert metric(running, 'ccs_broker_accounts{provider="sandbox",state="backoff"}') == 1


async def test_a_dead_login_says_so(running: Running) -> None:
    running.sandbox.grants.revoke_user("ann@example.com")
    await asyncio.gather(running.client.refresh(ANN), return_exceptions=True)
    view = await running.client.account(ANN)
    assert view.state == "needs_login"
    assert view.hint == "Run: ccs-broker login sandbox"
    await asyncio.sleep(0.05)
    assert metric(running, 'ccs_broker_refreshes_total{outcome="login_required",provider="sandbox"}') == 1


async def test_several_changes_in_one_turn_are_told_once(running: Running) -> None:
    hub, publisher = running.daemon.dispatch.hub, running.daemon.publisher
    got: list[bytes] = []
    _, leave = hub.join(got.append, None)
    cooldowns, now = running.daemon.dispatch.accounts.cooldowns, running.clock.now().wall
    for seconds in (10, 20, 30):
        cooldowns.limit(BOB, "m", seconds, "", now)
        publisher.touch(BOB)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leave()
    assert len(got) == 1
    ((event,),) = [EventReader().feed(got[0].split(b"\r\n", 1)[1])]
    assert event.name == "changed"
    assert Changed.__struct_config__.tag == "changed"


async def test_what_goes_leaves_nothing_behind(running: Running) -> None:
    await running.token_client.lease(ANN)
    running.daemon.dispatch.accounts.cooldowns.limit(ANN, "m", 30, "", running.clock.now().wall)
    await running.client.logout(ANN)
    await asyncio.sleep(0.05)
    assert ANN not in running.daemon.dispatch.leases._built
    assert running.daemon.dispatch.accounts.cooldowns.of(ANN, running.clock.now().wall) == ()
    assert running.daemon.dispatch.accounts.find(ANN) is None


async def test_without_a_reader_nothing_is_worked_out_and_the_next_reader_misses_nothing(running: Running) -> None:
    hub = running.daemon.dispatch.hub
    assert hub._known == {}  # since the start
    first, leave = hub.join(lambda _data: None, None)
    leave()
    (before,) = EventReader().feed(first.split(b"\r\n", 1)[1])
    assert before.name == "snapshot"
    await running.client.refresh(ANN)
    await running.client.logout(BOB)
    await asyncio.sleep(0.05)
    assert hub._known[ANN].account is None
    missed, leave = hub.join(lambda _data: None, before.id)
    leave()
    told = [event for part in missed.split(b"\r\n") for event in EventReader().feed(part)]
    assert sorted(event.name for event in told) == ["changed", "removed"]
    assert all(known.account is not None for known in hub._known.values())
