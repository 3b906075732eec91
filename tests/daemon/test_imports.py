"""Taking over logins of other programs, with a real daemon, a real store and the sandbox as its provider."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from broker.daemon import imports
from broker.ipc.schema import ImportAnswer, ImportedLogin, ImportRequest
from broker.login import adopt
from broker.model.account import AccountId, NeedsLogin
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.providers.native.base import Native
from broker.providers.native.claude_code import ClaudeCode
from broker.providers.native.cliproxyapi import FORMAT as CLIPROXYAPI
from broker.providers.native.table import FORMATS
from broker.store.base import StorageError
from broker.store.link import Link, linked
from tests.fakes.broker import ANN, PROVIDER, Running, running_daemon

CLAUDE = FORMATS["claude-code"]
SANDBOXED = ClaudeCode("claude-code", CLAUDE.title, PROVIDER, CLAUDE.spots, CLAUDE.beside, CLAUDE.lock)


@dataclass
class Home:
    """A running daemon, and a Claude Code whose provider is the sandbox."""

    running: Running

    @property
    def file(self) -> Path:
        return self.running.folder / ".claude" / ".credentials.json"

    def log_in(self, user: str = ANN.label, *, lifetime: float = 3600.0) -> str:
        """Give Claude Code a grant of its own; return its refresh token."""
        now = self.running.clock.now()
        issued = self.running.sandbox.grants.issue(self.running.sandbox.client_id, user, ("openid",), now)
        assert issued.refresh_token is not None
        section = {
            "accessToken": issued.access_token.reveal(), "refreshToken": issued.refresh_token.reveal(),
            "expiresAt": int((now.wall + lifetime) * 1000),
        }  # fmt: skip
        self.write({"claudeAiOauth": section})
        profile = {"oauthAccount": {"emailAddress": user}}
        (self.running.folder / ".claude.json").write_text(json.dumps(profile))
        return issued.refresh_token.reveal()

    def write(self, document: object) -> None:
        self.file.parent.mkdir(exist_ok=True)
        temporary = self.file.with_name("writing")
        temporary.write_text(json.dumps(document))
        temporary.replace(self.file)

    def theirs(self) -> str:
        token = json.loads(self.file.read_bytes())["claudeAiOauth"]["refreshToken"]
        assert isinstance(token, str)
        return token

    def ours(self, account: AccountId = ANN) -> Secret | None:
        entry = self.running.daemon.store.get(account)
        return entry.record.tokens.refresh_token if entry else None

    async def run(self, tool: str = "claude-code", mode: str | None = None, **more: object) -> ImportAnswer:
        request = ImportRequest(tool=tool, mode=mode, **more)  # type: ignore[arg-type]
        return await self.running.daemon.dispatch.imports.run(request)

    async def one(self, mode: str | None = None, **more: object) -> ImportedLogin:
        (login,) = (await self.run(mode=mode, **more)).logins
        return login


async def until(seen: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not seen():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def a_home(monkeypatch: pytest.MonkeyPatch, *accounts: AccountId) -> AsyncIterator[Home]:
    formats: dict[str, Native] = {"claude-code": SANDBOXED, "cliproxyapi": CLIPROXYAPI}
    monkeypatch.setattr(adopt, "FORMATS", formats)
    async with running_daemon(*accounts) as running:
        monkeypatch.setattr(running.daemon.store, "_formats", formats)
        yield Home(running)


@pytest.fixture
async def home(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Home]:
    async with a_home(monkeypatch) as made:
        yield made


async def test_a_copy(home: Home) -> None:
    token = home.log_in()
    trial = await home.one(dry_run=True)
    assert (trial.action, trial.account, trial.email) == ("added", str(ANN), ANN.label)
    assert home.ours() is None
    answer = await home.run()
    assert answer.adopted == (str(ANN),)
    (login,) = answer.logins
    assert login.action == "added"
    assert login.linkable
    assert login.rotates
    assert "one of the two will be logged out" in login.notes[-1]
    assert "import it linked" in login.notes[-1]
    assert home.ours() == Secret(token)
    assert home.running.owns((await home.running.client.lease(ANN)).access_token) == ANN.label
    view = await home.running.client.account(ANN)
    assert view.linked is None
    again = await home.run()
    assert (again.adopted, again.logins[0].action) == ((), "present")


async def test_a_link_from_end_to_end(home: Home) -> None:
    token = home.log_in()
    assert (await home.one("linked")).action == "added"
    client = home.running.client
    view = await client.account(ANN)
    assert (view.linked, view.linked_file, view.warnings) == ("claude-code", str(home.file), ())
    assert (await home.one("linked")).action == "present"
    await client.refresh(ANN)
    assert home.theirs() != token
    assert home.ours() == Secret(home.theirs())
    theirs = home.log_in(lifetime=7200.0)  # Claude Code logs in anew
    await until(lambda: home.ours() == Secret(theirs))
    home.write({"claudeAiOauth": {"accessToken": "", "refreshToken": "", "expiresAt": 0}})
    await until(lambda: home.running.daemon.store.health().problems)
    view = await client.account(ANN)
    assert "logged out there" in view.warnings[0]
    assert home.ours() == Secret(theirs)
    assert (await client.health()).status == "degraded"
    home.log_in(lifetime=9000.0)
    await until(lambda: not home.running.daemon.store.health().problems)


async def test_a_link_of_an_account_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_home(monkeypatch, ANN) as home:
        mine = home.ours()
        assert mine is not None
        home.log_in(lifetime=60.0)  # theirs is older than ours
        skipped = await home.one("copy")
        assert (skipped.action, skipped.reason) == ("skipped", "the account here has a newer grant")
        linked = await home.one("linked")
        assert (linked.action, linked.account) == ("linked", str(ANN))
        await until(lambda: Secret(home.theirs()) == mine)
        assert (await home.one("copy")).action == "unlinked"
        assert (await home.running.client.account(ANN)).linked is None
        newer = home.log_in(lifetime=90_000.0)
        updated = await home.one("copy")
        assert updated.action == "updated"
        assert home.ours() == Secret(newer)
        assert len(home.running.daemon.store.entries()) == 1


async def test_a_dead_login_takes_whatever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_home(monkeypatch, ANN) as home:
        store = home.running.daemon.store
        mine = home.ours()
        assert mine is not None
        async with store.lock(ANN, 5.0) as lock:
            await store.mark_terminal(lock, NeedsLogin("refused", home.running.clock.now().wall, mine.digest()))
        older = home.log_in(lifetime=600.0)
        assert (await home.one("copy")).action == "updated"
        assert home.ours() == Secret(older)


async def test_logging_out_of_a_linked_account_leaves_the_other_program_alone(home: Home) -> None:
    home.log_in()
    await home.one("linked")
    answer = await home.running.client.logout(ANN)
    assert not answer.revoked
    assert "log out there too" in (answer.detail or "")
    access = json.loads(home.file.read_bytes())["claudeAiOauth"]["accessToken"]
    assert home.running.owns(Secret(access)) == ANN.label


async def test_what_cannot_be_taken_over_says_why(home: Home) -> None:
    assert (await home.run()).logins == ()
    home.write({"claudeAiOauth": {"accessToken": "", "refreshToken": ""}})
    answer = await home.run()
    assert answer.logins[0].action == "refused"
    assert ".credentials.json has empty tokens" in (answer.logins[0].reason or "")
    assert list(answer.refused) == [f"claude-code {home.file}"]
    for request in (
        ImportRequest(tool="nobody"),
        ImportRequest(mode="steal"),
        ImportRequest(tool="claude-code", path="/no/such/file"),
        ImportRequest(tool="claude-code", path="relative"),
        ImportRequest(path=str(home.file)),
    ):
        with pytest.raises(BrokerError, match=r"bad|known|mode|no file|absolute|program"):
            await home.running.daemon.dispatch.imports.run(request)


async def test_a_copied_login_that_another_program_renews_too_is_told_of(home: Home) -> None:
    home.log_in()
    await home.one("copy")
    copies = home.running.daemon.copies
    entry = home.running.daemon.store.entries()[ANN]
    copies._looked = None
    await until(lambda: copies.warnings(entry))
    (warning,) = copies.warnings(entry)
    assert "Claude Code holds the same login" in warning
    assert "ccs-broker import claude-code --linked" in warning
    assert (await home.running.client.account(ANN)).warnings == (warning,)


async def test_cliproxyapis_files_are_copied_whole(home: Home) -> None:
    token = home.running.plant(ANN)
    document = json.loads(token.read_bytes())
    token.unlink()
    await until(lambda: home.ours() is None)
    folder = home.running.folder / ".cli-proxy-api"
    folder.mkdir()
    document["x_theirs"] = {"deep": [1, None]}
    (folder / "sandbox-ann.json").write_text(json.dumps(document))
    (folder / "unknown.json").write_text('{"type": "of-tomorrow"}')
    answer = await home.run("cliproxyapi", "linked")
    assert [each.action for each in answer.logins] == ["skipped", "refused"]
    assert "takes no lock" in (answer.logins[0].reason or "")
    answer = await home.run("cliproxyapi")
    assert [each.action for each in answer.logins] == ["added", "refused"]
    made = json.loads((home.running.auth / "sandbox-ann.json").read_bytes())
    assert made == document
    copies = home.running.daemon.copies
    copies._looked = None
    entry = home.running.daemon.store.entries()[ANN]
    await until(lambda: copies.warnings(entry))
    assert "--linked" not in copies.warnings(entry)[0]


async def test_over_the_socket(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As curl would ask: `POST /v1/import` on the control socket, with the caller's variables; not on the tokens' socket."""
    moved = home.running.folder / "moved"
    home.log_in()
    home.file.rename(moved.with_name("x"))
    moved.mkdir()
    moved.with_name("x").rename(moved / ".credentials.json")
    (home.running.folder / ".claude.json").rename(moved / ".claude.json")

    async def post(path: Path, body: dict[str, object]) -> tuple[int, dict[str, object]]:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
            session.post("http://localhost/v1/import", json=body) as answer,
        ):
            return answer.status, await answer.json(content_type=None)

    control = home.running.control_path
    trial = {"tool": "all", "dry_run": True, "variables": {"CLAUDE_CONFIG_DIR": str(moved)}}
    status, told = await post(control, trial)
    assert status == 200
    assert (told["dry_run"], told["adopted"], told["refused"]) == (True, [], {})
    (login,) = told["logins"]  # type: ignore[misc]
    assert (login["action"], login["account"], login["linkable"]) == ("added", str(ANN), True)
    assert home.ours() is None
    status, told = await post(control, {**trial, "dry_run": False, "mode": "linked"})
    assert (status, told["adopted"]) == (200, [str(ANN)])
    view = await home.running.client.account(ANN)
    assert (view.linked, view.linked_file) == ("claude-code", str(moved / ".credentials.json"))
    for body, said in (
        ({"tool": "nobody"}, "no program"),
        ({"mode": "steal"}, "copy or linked"),
        ({"tool": 7}, "tool"),
        ({"path": "x", "tool": "claude-code"}, "absolute"),
    ):
        status, told = await post(control, body)
        assert status == 400, body
        assert said in str(told["detail"])
    status, _ = await post(home.running.token_path, trial)
    assert status in {403, 404}


async def test_a_file_that_says_it_is_linked_is_not(home: Home) -> None:
    """Else a file from a backup, or from somebody else, would have our renewals written into another program's login."""
    home.log_in()
    folder = home.running.folder / ".cli-proxy-api"
    folder.mkdir()
    document = json.loads(home.running.plant(ANN).read_bytes())
    (home.running.auth / f"{PROVIDER}-{ANN.label}.json").unlink(missing_ok=True)
    await until(lambda: home.ours() is None)
    mark = linked(document, Link("claude-code", str(home.file)))
    (folder / "sandbox-ann.json").write_text(json.dumps(mark))
    assert [each.action for each in (await home.run("cliproxyapi")).logins] == ["added"]
    assert (await home.running.client.account(ANN)).linked is None
    assert json.loads((home.running.auth / "sandbox-ann.json").read_bytes()) == document


async def test_a_file_that_sends_tokens_elsewhere_says_so(home: Home) -> None:
    folder = home.running.folder / ".cli-proxy-api"
    folder.mkdir()
    document = json.loads(home.running.plant(ANN).read_bytes())
    (home.running.auth / f"{PROVIDER}-{ANN.label}.json").unlink(missing_ok=True)
    await until(lambda: home.ours() is None)
    (folder / "sandbox-ann.json").write_text(json.dumps({**document, "base_url": "https://evil.example/v1"}))
    for dry_run in (True, False):
        (login,) = (await home.run("cliproxyapi", dry_run=dry_run)).logins
        assert login.action == "added"
        assert any("its tokens go to evil.example (base_url)" in note for note in login.notes)


async def test_storage_that_refuses_is_a_reason(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    home.log_in()

    async def refuse(*_: object) -> AccountId:
        raise StorageError("cannot write: ENOSPC")

    monkeypatch.setattr(imports.Imports, "_do", refuse)
    login = await home.one("copy")
    assert (login.action, login.reason) == ("refused", "cannot write: ENOSPC")


async def test_where_their_folder_cannot_be_written_there_is_no_link(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.log_in()
    real = os.access
    monkeypatch.setattr(
        "broker.store.linked.os.access", lambda path, mode: path != home.running.folder and real(path, mode)
    )
    login = await home.one("linked")
    assert login.action == "skipped"
    assert "the lock of Claude Code lies in" in (login.reason or "")
    monkeypatch.setattr(
        "broker.store.linked.os.access", lambda path, mode: path != home.file.parent and real(path, mode)
    )
    assert "cannot be written" in ((await home.one("linked")).reason or "")
