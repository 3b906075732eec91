import asyncio

import pytest

from broker.ipc.schema import Report
from broker.model.errors import BrokerError, ErrorCode
from broker.sandbox.faults import Delay, Target
from tests.fakes.broker import ANN, Running


def report(outcome: str, generation: int = 1, **fields: object) -> Report:
    return Report(account=str(ANN), generation=generation, outcome=outcome, **fields)  # type: ignore[arg-type]


async def test_a_rejected_token_is_renewed_once_and_late_reports_get_the_new_one(running: Running) -> None:
    client = running.token_client
    first = await client.lease(ANN)
    answers = await asyncio.gather(*(client.report(report("rejected", first.generation)) for _ in range(20)))
    leases = [each.lease for each in answers if each.lease]
    assert len(leases) == 20
    assert {each.generation for each in leases} == {leases[0].generation}
    assert leases[0].generation > first.generation
    assert running.owns(leases[0].access_token) == "ann@example.com"
    assert running.sandbox.stats.refresh_posts == 1
    late = await client.report(report("rejected", first.generation))
    assert late.lease
    assert late.lease.generation == leases[0].generation
    assert running.sandbox.stats.refresh_posts == 1


async def test_a_limited_account_cools_down_for_everybody_until_it_is_over_or_ok(running: Running) -> None:
    client = running.token_client
    answer = await client.report(report("limited", model="m", retry_after=30, reason="quota of token=fake-access-1"))
    assert answer.cooldown
    assert answer.cooldown.model == "m"
    assert "fake-access" not in answer.cooldown.reason
    assert (await client.account(ANN)).cooldowns == (answer.cooldown,)
    assert answer.cooldown.until == pytest.approx(running.clock.now().wall + 30, abs=2)
    assert await client.report(report("ok", model="m")) == await client.report(report("ok", model="m"))
    assert (await client.account(ANN)).cooldowns == ()


async def test_a_limit_until_a_moment_is_capped_at_an_hour(running: Running) -> None:
    now = running.clock.now().wall
    answer = await running.token_client.report(report("limited", until=now + 90_000))
    assert answer.cooldown
    assert answer.cooldown.until == pytest.approx(now + 3600, abs=5)
    assert answer.cooldown.model is None


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"outcome": "fine"}, "rejected, limited, ok"),
        ({"outcome": "limited", "retry_after": -1.0}, "retry_after"),
        ({"outcome": "limited", "until": -1.0}, "until"),
        ({"outcome": "rejected", "generation": -1}, "generation"),
        ({"outcome": "rejected", "max_wait": -1.0}, "max_wait"),
        ({"outcome": "limited", "model": "x" * 201}, "model"),
        ({"outcome": "limited", "reason": "a\nb"}, "reason"),
        ({"outcome": "ok", "account": "sandbox"}, "provider/label"),
    ],
)
async def test_a_report_that_makes_no_sense_names_the_field(
    running: Running, fields: dict[str, object], word: str
) -> None:
    with pytest.raises(BrokerError, match=word) as caught:
        await running.token_client.report(Report(**{"account": str(ANN), "generation": 1, **fields}))  # type: ignore[arg-type]
    assert caught.value.code is ErrorCode.BAD_REQUEST


async def test_a_report_about_nobody(running: Running) -> None:
    for account, code in (("sandbox/x", ErrorCode.UNKNOWN_ACCOUNT), ("nobody/x", ErrorCode.UNKNOWN_PROVIDER)):
        with pytest.raises(BrokerError) as caught:
            await running.token_client.report(Report(account=account, generation=1, outcome="ok"))
        assert caught.value.code is code


async def test_rejections_are_in_the_audit_trail(running: Running) -> None:
    lease = await running.token_client.lease(ANN)
    await running.token_client.report(report("rejected", lease.generation))
    await running.token_client.report(report("rejected", lease.generation))
    trail = (running.state / "audit.jsonl").read_text()
    assert trail.count('"token_rejected"') == 1


async def test_a_rejection_is_told_once_however_many_report_it(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.sandbox.faults.add(Target.TOKEN, Delay(seconds=0.3))
    lease = await running.token_client.lease(ANN)
    with caplog.at_level("INFO", "broker.daemon.reports"):
        await asyncio.gather(*(running.token_client.report(report("rejected", lease.generation)) for _ in range(20)))
    assert caplog.messages.count("token rejected by the api") == 1
    trail = (running.state / "audit.jsonl").read_text()
    assert trail.count('"token_rejected"') == 1
