"""A second login of somebody who is logged in already: real sessions, real store, the sandbox as the provider."""

import json
from pathlib import Path

import aiohttp
import pytest

from broker.ipc.schema import LoginStart, LoginView
from broker.model.account import AccountId
from broker.model.secret import Secret
from broker.sandbox.faults import ErrorStatus, Target
from tests.fakes.broker import ANN, BOB, PROVIDER, Running

WORK = AccountId(PROVIDER, "work")


async def login(running: Running, user: str, label: str | None = None) -> LoginView:
    running.sandbox.change(users=(user,))
    view = await running.client.start_login(LoginStart(provider=PROVIDER, label=label, callback=False))
    async with aiohttp.ClientSession() as browser, browser.get(str(view.url), allow_redirects=False) as page:
        landed = page.headers["Location"]
    await running.client.finish_login(view.id, Secret(landed))
    while (view := await running.client.login(view.id, wait=5)).state in {"waiting", "finishing"}:
        pass
    return view


def files(running: Running) -> list[Path]:
    return sorted(running.folder.glob("auth*/*.json"))


def refresh_token(path: Path) -> str:
    return str(json.loads(path.read_text())["refresh_token"])


async def names(running: Running) -> list[str]:
    return [each.account for each in await running.client.accounts()]


async def test_it_renews_the_account_it_belongs_to(running: Running) -> None:
    (path, other) = files(running)
    before, untouched = refresh_token(path), other.read_bytes()
    generation = (await running.client.account(ANN)).generation
    done = await login(running, ANN.label)
    assert (done.state, done.account, done.file) == ("done", str(ANN), path.name)
    assert any("former login" in note for note in done.notes)
    assert refresh_token(path) != before
    assert (files(running), other.read_bytes()) == ([path, other], untouched)
    assert (await running.client.account(ANN)).generation > generation
    assert (await running.token_client.lease(ANN)).account == str(ANN)


@pytest.mark.parametrize("label", [None, "home", ANN.label])
async def test_also_where_it_was_renamed(running: Running, label: str | None) -> None:
    """The name people gave it stays, whatever the second login came with; what was said is told."""
    (path, _) = files(running)
    await running.client.rename(ANN, "work")
    before = refresh_token(path)
    done = await login(running, ANN.label, label)
    assert done.account == str(WORK)
    assert any("known already, as sandbox/work" in note for note in done.notes)
    assert await names(running) == [str(BOB), str(WORK)]
    assert len(files(running)) == 2
    assert refresh_token(path) != before
    assert running.owns((await running.token_client.lease(WORK)).access_token) == ANN.label


async def test_also_where_it_is_paused(running: Running) -> None:
    await running.client.pause(ANN)
    (paused,) = [path for path in files(running) if path.parent.name == "auth-paused"]
    before = refresh_token(paused)
    done = await login(running, ANN.label)
    assert done.account == str(ANN)
    assert any(f"ccs-broker resume {ANN}" in note for note in done.notes)
    assert refresh_token(paused) != before
    assert len(files(running)) == 2
    assert (await running.client.account(ANN)).paused
    assert (await running.client.resume(ANN)).state == "active"
    assert running.owns((await running.token_client.lease(ANN)).access_token) == ANN.label


async def test_also_where_another_program_named_the_file(running: Running) -> None:
    (path, _) = files(running)
    odd = path.rename(path.with_name("whatever.json"))
    await running.stop()
    await running.start()
    assert (await login(running, ANN.label)).file == odd.name
    assert odd in files(running)
    assert len(files(running)) == 2


async def test_fields_of_others_stay_in_the_file(running: Running) -> None:
    (path, _) = files(running)
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "priority": 7, "note": "ours"}))
    await login(running, ANN.label)
    after = json.loads(path.read_text())
    assert (after["priority"], after["note"]) == (7, "ours")


async def test_several_accounts_by_label(running: Running) -> None:
    first = await login(running, "carol@example.com", "one")
    second = await login(running, "dave@example.com", "two")
    assert (first.account, second.account) == ("sandbox/one", "sandbox/two")
    third = await login(running, "erin@example.com", "two")
    assert str(third.account).startswith("sandbox/two:")
    assert any("another login called sandbox/two" in note for note in third.notes)
    for account, user in ((first.account, "carol"), (second.account, "dave"), (third.account, "erin")):
        lease = await running.token_client.lease(str(account))
        assert running.owns(lease.access_token) == f"{user}@example.com"


async def test_one_that_fails_leaves_the_old(running: Running) -> None:
    (path, _) = files(running)
    before = path.read_bytes()
    running.sandbox.faults.add(Target.TOKEN, ErrorStatus(status=400))
    assert (await login(running, ANN.label)).state == "failed"
    assert path.read_bytes() == before
    assert (await running.client.refresh(ANN)).state == "active"
