import asyncio

import pytest

from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.sandbox.faults import Delay, ErrorStatus, Target
from broker.sandbox.settings import SandboxSettings
from tests.fakes.broker import ANN, BOB, Running, running_daemon


async def test_a_provider_means_its_default_account(running: Running) -> None:
    client = running.token_client
    assert (await client.lease("sandbox")).account == str(ANN)
    assert (await client.lease(BOB)).account == str(BOB)
    await running.client.pause(ANN)
    assert (await client.lease("sandbox")).account == str(BOB)


async def test_a_provider_all_of_whose_accounts_rest_says_why(running: Running) -> None:
    for account in (ANN, BOB):
        await running.client.pause(account)
    with pytest.raises(BrokerError) as caught:
        await running.token_client.lease("sandbox")
    assert caught.value.code is ErrorCode.ACCOUNT_PAUSED


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("nobody", ErrorCode.UNKNOWN_PROVIDER),
        ("gemini", ErrorCode.NO_ACCOUNT),
        ("sandbox/nobody", ErrorCode.UNKNOWN_ACCOUNT),
        ("sandbox/ a", ErrorCode.BAD_REQUEST),
    ],
)
async def test_a_name_that_means_nothing(running: Running, name: str, code: ErrorCode) -> None:
    with pytest.raises(BrokerError) as caught:
        await running.token_client.lease(name)
    assert caught.value.code is code


async def test_many_leases_at_expiry_cause_one_refresh() -> None:
    async with running_daemon(ANN, lifetime=-10, config="[refresh]\nahead = false\n") as running:
        client = running.token_client
        leases = await asyncio.gather(*(client.lease("sandbox") for _ in range(200)))
        assert len({each.generation for each in leases}) == 1
        assert running.owns(leases[0].access_token) == "ann@example.com"
        assert running.sandbox.stats.refresh_posts == 1
        counted = running.daemon.dispatch.metrics.render().decode()
        assert 'ccs_broker_leases_total{outcome="served",provider="sandbox"} 200.0' in counted


async def test_a_lease_never_holds_less_than_asked_unless_it_says_so() -> None:
    async with running_daemon(ANN, settings=SandboxSettings(access_lifetime=120), lifetime=30) as running:
        lease = await running.token_client.lease("sandbox", min_validity=100)
        assert not lease.short
        assert lease.expires_at is not None
        assert lease.expires_at - running.clock.now().wall >= 99
        # The provider never gives that much: its best, marked.
        short = await running.token_client.lease("sandbox", min_validity=3000, max_wait=2)
        assert short.short


async def test_a_wait_ends_at_its_deadline_and_at_the_daemons_own() -> None:
    limit = "[socket]\nmax_wait_seconds = 0.3\n[refresh]\nahead = false\n"
    async with running_daemon(ANN, lifetime=-10, config=limit) as running:
        running.sandbox.faults.add(Target.TOKEN, Delay(seconds=2))
        for asked in (0.1, 60.0):
            with pytest.raises(BrokerError) as caught:
                async with asyncio.timeout(1.5):
                    await running.token_client.lease("sandbox", max_wait=asked)
            assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED


async def test_a_failing_token_endpoint_serves_what_is_valid_then_says_so() -> None:
    async with running_daemon(ANN, BOB, lifetime=100, config="[refresh]\nahead = false\n") as running:
        running.sandbox.faults.add(Target.TOKEN, ErrorStatus(status=503), times=50)
        assert (await running.token_client.lease(ANN, min_validity=60)).account == str(ANN)
        with pytest.raises(BrokerError) as caught:
            await running.token_client.lease(BOB, min_validity=200, max_wait=0.5)
        assert caught.value.code in {
            ErrorCode.REFRESH_FAILED,
            ErrorCode.DEADLINE_EXCEEDED,
            ErrorCode.VALIDITY_UNAVAILABLE,
        }


async def test_the_bytes_of_a_lease_are_built_once_a_grant(running: Running) -> None:
    leases, accounts = running.daemon.dispatch.leases, running.daemon.dispatch.accounts

    async def data() -> bytes:
        return leases.data(await leases.lend("sandbox", None, min_validity=1, max_wait=1))

    first = await data()
    assert await data() is first
    await running.client.refresh(ANN)
    second = await data()
    assert second != first
    await running.client.logout(ANN)
    await asyncio.sleep(0.05)
    assert ANN not in leases._built
    assert accounts.of_provider("sandbox") == (BOB,)


async def test_no_refresh_token_ever_crosses_the_socket(running: Running) -> None:
    """Every byte the daemon sends for every readable operation, against what the files hold."""
    from tests.daemon.test_server import get, say

    secrets = [line for path in running.auth.glob("*.json") for line in _refresh_tokens(path.read_text())]
    assert len(secrets) == 2
    for target in ("/v1/health", "/v1/accounts", "/v1/lease/sandbox", "/metrics", "/v1/openapi.json"):
        answer = await say(running.control_path, get(target))
        assert answer.startswith(b"HTTP/1.1 200")
        assert not any(each.encode() in answer for each in secrets)
    answer = await say(running.control_path, get("/v1/watch"), wait=0.3)
    assert b"access_token" in answer
    assert not any(each.encode() in answer for each in secrets)


def _refresh_tokens(text: str) -> list[str]:
    import json

    return [json.loads(text)["refresh_token"]]


async def test_an_unknown_provider_is_no_label_of_its_own(running: Running) -> None:
    for name in ("nobody", "somebody"):
        with pytest.raises(BrokerError):
            await running.token_client.lease(name)
    counted = running.daemon.dispatch.metrics.render().decode()
    assert 'outcome="unknown_provider",provider="unknown"} 2.0' in counted
    assert "somebody" not in counted


async def test_a_file_dropped_in_is_served(running: Running) -> None:
    eve = AccountId("sandbox", "eve@example.com")
    running.plant(eve)
    async with asyncio.timeout(5):
        while True:
            try:
                lease = await running.token_client.lease(eve)
                break
            except BrokerError:
                await asyncio.sleep(0.05)
    assert running.owns(lease.access_token) == "eve@example.com"
