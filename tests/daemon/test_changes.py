import asyncio
import json
from functools import partial

import pytest

from broker.ipc.schema import Changed, KeyAdd
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.sandbox.faults import Delay, Drop, ErrorStatus, Target
from tests.fakes.broker import ANN, BOB, Running, running_daemon
from tests.fakes.vendors.google import AntigravityVendor


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


async def test_logging_out_here_only(running: Running) -> None:
    path = running.auth / "sandbox-ann@example.com.json"
    token = Secret(json.loads(path.read_text())["refresh_token"])
    answer = await running.client.logout(ANN, keep_remote=True)
    assert not answer.revoked
    assert answer.detail == "left as it is at the provider, as you asked"
    assert running.sandbox.grants.accepts(token)
    assert not path.exists()


async def test_choosing_a_default(running: Running) -> None:
    assert (await running.client.account(ANN)).default
    assert (await running.client.set_default(BOB)).default
    assert [each.account for each in await running.client.accounts() if each.default] == [str(BOB)]
    assert (await running.token_client.lease("sandbox")).account == str(BOB)
    assert "default_chosen" in audit(running)
    await running.stop()
    await running.start()
    assert (await running.token_client.lease("sandbox")).account == str(BOB)


async def test_watchers_are_told_of_both_accounts_when_the_default_moves(running: Running) -> None:
    news = running.token_client.watch()
    await anext(news)
    await running.client.set_default(BOB)
    seen = {}
    async with asyncio.timeout(10):
        while len(seen) < 2:
            _, event = await anext(news)
            assert isinstance(event, Changed)
            seen[event.account.view.account] = event.account.view.default
    assert seen == {str(ANN): False, str(BOB): True}
    await news.aclose()


async def test_renaming(running: Running) -> None:
    """The login, its cool-downs and its place as default stay; only the name is another."""
    from tests.daemon.test_reports import report

    before = await running.client.account(ANN)
    await running.client.report(report("limited", model="m"))
    cooled = (await running.client.account(ANN)).cooldowns
    renamed = await running.client.rename(ANN, "work")
    assert (renamed.account, renamed.file, renamed.email) == ("sandbox/work", before.file, "ann@example.com")
    assert (renamed.default, renamed.cooldowns) == (True, cooled)
    assert renamed.generation > before.generation
    lease = await running.token_client.lease("sandbox/work")
    assert running.owns(lease.access_token) == "ann@example.com"
    refreshed = await running.client.refresh("sandbox/work")
    assert refreshed.generation > renamed.generation
    assert {each.account for each in await running.client.accounts()} == {"sandbox/work", str(BOB)}
    assert json.loads((running.state / "audit.jsonl").read_text().splitlines()[-2])["before"] == str(ANN)
    assert json.loads((running.auth / before.file).read_text())["label"] == "work"
    for taken in (BOB.label, "a/b"):
        with pytest.raises(BrokerError) as caught:
            await running.client.rename("sandbox/work", taken)
        assert caught.value.code is ErrorCode.BAD_REQUEST


async def test_renaming_in_the_middle_of_a_renewal_waits_for_it(running: Running) -> None:
    running.sandbox.faults.add(Target.TOKEN, Delay(seconds=0.3))
    refreshing = asyncio.ensure_future(running.client.refresh(ANN))
    while running.sandbox.stats.refresh_posts < 1:
        await asyncio.sleep(0.01)
    renamed = await running.client.rename(ANN, "work")
    assert (await refreshing).account == str(ANN)
    assert renamed.state == "active"
    lease = await running.token_client.lease("sandbox/work")
    assert running.owns(lease.access_token) == "ann@example.com"
    assert running.sandbox.stats.refresh_posts == 1


async def test_an_unsaved_grant_keeps_its_account_s_name(running: Running) -> None:
    path = running.auth / "sandbox-ann@example.com.json"
    running.sandbox.faults.add(Target.TOKEN, Delay(seconds=0.3))
    refreshing = asyncio.ensure_future(running.client.refresh(ANN))
    while running.sandbox.stats.refresh_posts < 1:
        await asyncio.sleep(0.01)
    text = path.read_text()
    path.write_text('{"type": "nobody-s"}')  # became something else: it is not written over
    with pytest.raises(BrokerError):
        await refreshing
        await running.client.refresh(ANN)
    assert (await running.client.account(ANN)).state == "unsaved"
    with pytest.raises(BrokerError) as caught:
        await running.client.rename(ANN, "work")
    assert caught.value.code is ErrorCode.STORAGE_UNWRITABLE
    path.write_text(text)


@pytest.mark.parametrize("fault", [ErrorStatus(status=503), Drop()])
async def test_a_provider_that_cannot_be_reached_keeps_nobody_logged_in(
    running: Running, fault: ErrorStatus | Drop
) -> None:
    running.sandbox.faults.add(Target.REVOKE, fault)
    answer = await running.client.logout(ANN)
    assert not answer.revoked
    assert answer.detail
    assert not (running.auth / "sandbox-ann@example.com.json").exists()


async def test_what_cannot_be_revoked_is_told_without_looking_for_a_registration(running: Running) -> None:
    added = await running.client.add_key(KeyAdd(provider="openai-api", key=Secret("fake-key")))
    answer = await running.client.logout(AccountId.parse(added.account))
    assert not answer.revoked
    assert answer.detail == "OpenAI API key has no way to revoke it; end it in your account there"


async def test_google_is_told_the_token_where_no_client_secret_is_known() -> None:
    async with AntigravityVendor() as google:
        config = f'[providers.antigravity]\ntoken_url = "{google.url}/token"\nrevoke_url = "{google.url}/revoke"\n'
        google.live.add("fake-refresh-1")
        async with running_daemon(config=config) as running:
            file = {
                "type": "antigravity", "email": "ann@example.com", "project_id": "my-project", "access_token": "fake-access-1",
                "refresh_token": "fake-refresh-1", "expired": "2099-01-01T00:00:00Z",
            }  # fmt: skip
            path = running.auth / "antigravity-ann@example.com.json"
            path.write_text(json.dumps(file))
            path.chmod(0o600)
            await running.stop()
            await running.start()
            [account] = [AccountId.parse(each.account) for each in await running.client.accounts()]
            answer = await running.client.logout(account)
        assert (answer.revoked, answer.detail) == (True, None)
        assert not google.live
        assert [each.fields for each in google.seen] == [{"token": "fake-refresh-1"}]
        assert not path.exists()


async def test_changes_to_nobody(running: Running) -> None:
    for call in (
        running.client.pause,
        running.client.resume,
        running.client.logout,
        running.client.clear_cooldown,
        running.client.refresh,
        running.client.set_default,
        running.client.quota,
        partial(running.client.rename, label="x"),
    ):
        with pytest.raises(BrokerError) as caught:
            await call("sandbox/nobody")
        assert caught.value.code is ErrorCode.UNKNOWN_ACCOUNT


async def test_the_token_socket_changes_nothing(running: Running) -> None:
    client = running.token_client
    renamed = partial(client.rename, label="x")
    for call in (
        client.pause,
        client.resume,
        client.clear_cooldown,
        client.refresh,
        client.set_default,
        client.quota,
        renamed,
    ):
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
