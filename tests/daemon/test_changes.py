import json

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.sandbox.faults import Drop, ErrorStatus, Target
from tests.fakes.broker import ANN, BOB, Running, running_daemon


def audit(running: Running) -> list[str]:
    return [json.loads(line)["event"] for line in (running.state / "audit.jsonl").read_text().splitlines()]


async def test_renewing_by_hand(running: Running) -> None:
    before = await running.client.account(ANN)
    after = await running.client.refresh(ANN)
    assert after.generation > before.generation
    assert after.state == "active"
    assert running.sandbox.stats.refresh_posts == 1


async def test_a_paused_account_is_kept_renewable_and_not_served(running: Running) -> None:
    paused = await running.client.pause(ANN)
    assert (paused.state, paused.paused, paused.hint) == ("paused", True, f"Run: ccs-broker resume {ANN}")
    with pytest.raises(BrokerError) as caught:
        await running.client.lease(ANN)
    assert caught.value.code is ErrorCode.ACCOUNT_PAUSED
    assert (await running.client.refresh(ANN)).paused
    assert (await running.client.resume(ANN)).state == "active"
    assert (await running.client.lease(ANN)).account == str(ANN)
    assert [each for each in audit(running) if each in {"paused", "resumed"}] == ["paused", "resumed"]


async def test_clearing_cooldowns(running: Running) -> None:
    from tests.daemon.test_reports import report

    await running.client.report(report("limited", model="m"))
    assert (await running.client.clear_cooldown(ANN)).cooldowns == ()
    await running.client.clear_cooldown(ANN)
    assert audit(running).count("cooldown_cleared") == 1


async def test_logging_out_revokes_then_removes(running: Running) -> None:
    path = running.auth / "sandbox-ann@example.com.json"
    token = Secret(json.loads(path.read_text())["refresh_token"])
    assert running.sandbox.grants.accepts(token)
    answer = await running.client.logout(ANN)
    assert (answer.account, answer.revoked, answer.detail) == (str(ANN), True, None)
    assert not running.sandbox.grants.accepts(token)
    assert not path.exists()
    assert [each.account for each in await running.client.accounts()] == [str(BOB)]
    assert "logout" in audit(running)


@pytest.mark.parametrize("fault", [ErrorStatus(status=503), Drop()])
async def test_a_provider_that_cannot_be_reached_keeps_nobody_logged_in(
    running: Running, fault: ErrorStatus | Drop
) -> None:
    running.sandbox.faults.add(Target.REVOKE, fault)
    answer = await running.client.logout(ANN)
    assert not answer.revoked
    assert answer.detail
    assert not (running.auth / "sandbox-ann@example.com.json").exists()


async def test_changes_to_nobody(running: Running) -> None:
    for call in (
        running.client.pause,
        running.client.resume,
        running.client.logout,
        running.client.clear_cooldown,
        running.client.refresh,
    ):
        with pytest.raises(BrokerError) as caught:
            await call("sandbox/nobody")
        assert caught.value.code is ErrorCode.UNKNOWN_ACCOUNT


async def test_the_token_socket_changes_nothing(running: Running) -> None:
    client = running.token_client
    for call in (client.pause, client.resume, client.clear_cooldown, client.refresh):
        with pytest.raises(BrokerError, match=r"broker\.sock only"):
            await call(ANN)
    with pytest.raises(BrokerError) as caught:
        await client.logout(ANN)
    assert caught.value.code is ErrorCode.METHOD_NOT_ALLOWED
    assert (await client.account(ANN)).state == "active"


async def test_a_storage_that_refuses_is_told_and_nothing_is_lost() -> None:
    """The paused folder's place is taken by a file: the move cannot be made."""
    async with running_daemon(ANN) as running:
        paused = running.folder / "auth-paused"
        if paused.exists():
            paused.rmdir()
        paused.write_text("in the way")
        with pytest.raises(BrokerError) as caught:
            await running.client.pause(ANN)
        assert caught.value.code is ErrorCode.STORAGE_UNWRITABLE
        assert (await running.client.lease(ANN)).account == str(ANN)
        paused.unlink()
