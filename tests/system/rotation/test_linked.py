"""A login shared with Claude Code: daemons killed around the write to its file, and both programs renewing and rewriting at once.

The daemons are processes, the files and locks real. Claude Code's part is played here: it takes its own lock as proper-lockfile does, reads its file, presents
what is there to the same server, and writes the file whole. The server revokes a login whose refresh token is presented twice.
"""

import asyncio
import json
import os
import random
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from broker.model.errors import BrokerError
from broker.model.secret import Digest, Secret
from broker.providers.native.base import LockKind
from broker.store.link import Link, linked
from tests.fakes.foreign import Theirs
from tests.system.rotation.figures import Figure
from tests.system.rotation.homes import FIELDS, Home, Truth, until
from tests.system.rotation.kills import Foundry
from tests.system.rotation.launcher import LINKED_POINTS, POINTS

SEED = int(os.environ.get("ROTATION_SEED", "20250601"))
MODE = 0o640
"""Not ours to change."""

FOLLOWED = ("put:after", "native:fsync1", "native:exchange1")
EVERY = (*POINTS[POINTS.index("answer:written") : POINTS.index("put:after") + 1], *LINKED_POINTS, "clear:unlink1")
HANDED_ON = {*LINKED_POINTS[LINKED_POINTS.index("native:exchange1") :], "clear:unlink1"}


@dataclass
class ClaudeCode:
    """The other program."""

    home: Home
    chance: random.Random
    mcp: dict[str, object] = field(default_factory=dict)
    renewals: int = 0

    @property
    def folder(self) -> Path:
        return self.home.folder / ".claude"

    @property
    def file(self) -> Path:
        return self.folder / ".credentials.json"

    def install(self) -> None:
        """Log in: its file gets the grant of ours, and ours the mark that says so."""
        self.folder.mkdir(0o700)
        document = self.home.document()
        section = {
            "accessToken": document["access_token"], "refreshToken": document["refresh_token"], "expiresAt": 1, "scopes": ["openid"],
        }  # fmt: skip
        self.write({"claudeAiOauth": section, "mcpOAuth": self.mcp, **FIELDS})
        (self.home.folder / ".claude.json").write_text(
            json.dumps({"oauthAccount": {"emailAddress": self.home.user}, "numStartups": 1})
        )
        self.home.file.write_text(json.dumps(linked(document, Link("claude-code", str(self.file)))))

    def document(self) -> dict[str, object]:
        found = json.loads(self.file.read_bytes())
        assert isinstance(found, dict)
        return found

    def write(self, document: object) -> None:
        temporary = self.folder / "claudes-own"
        temporary.write_text(json.dumps(document))
        temporary.chmod(MODE)
        temporary.replace(self.file)

    def token(self) -> Secret:
        section = self.document()["claudeAiOauth"]
        assert isinstance(section, dict)
        return Secret(section["refreshToken"])

    def digest(self) -> Digest:
        return self.token().digest()

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        lock = Theirs(LockKind.FOLDER, self.home.folder / ".claude.lock", self.home.truth.clock)
        async with asyncio.timeout(30):
            while not lock.try_take():
                await asyncio.sleep(0.005)
        try:
            yield
        finally:
            lock.let_go()

    async def renew(self) -> None:
        """What it does where its access token ends: everything under its lock, with what stands in the file now."""
        witness, sandbox, clock = self.home.truth.witness, self.home.truth.sandbox, self.home.truth.clock
        async with self.locked():
            document = self.document()
            await asyncio.sleep(self.chance.random() * 0.02)
            client = sandbox.world.grants.client(sandbox.client_id)
            issued = witness.refresh(client, self.token(), clock.now())
            assert issued.refresh_token is not None
            section = document["claudeAiOauth"]
            assert isinstance(section, dict)
            grant = {
                "accessToken": issued.access_token.reveal(), "refreshToken": issued.refresh_token.reveal(),
                "expiresAt": int((clock.now().wall + 3600) * 1000),
            }  # fmt: skip
            await asyncio.sleep(self.chance.random() * 0.02)
            self.write({**document, "claudeAiOauth": {**section, **grant}})
        self.renewals += 1

    async def note(self, number: int) -> None:
        """Write something that has nothing to do with the grant."""
        async with self.locked():
            self.mcp[f"server-{number}"] = {"accessToken": f"fake-mcp-{number}"}
            self.write({**self.document(), "mcpOAuth": self.mcp})

    def untouched(self) -> bool:
        """Tell whether all that is not the grant is as it was left."""
        document = self.document()
        return (
            document["mcpOAuth"] == self.mcp
            and FIELDS.items() <= document.items()
            and stat.S_IMODE(self.file.stat().st_mode) == MODE
        )


@asynccontextmanager
async def sharing() -> AsyncIterator[tuple[Truth, Home, ClaudeCode]]:
    async with Truth.started() as truth, Home.made(truth) as home:
        home.plant()
        claude = ClaudeCode(home, random.Random(SEED))
        claude.install()
        yield truth, home, claude


async def kill_at(points: tuple[str, ...], figure: Figure) -> None:
    behind = 0
    async with sharing() as (truth, home, claude), Foundry.open() as foundry:
        newest = lambda: truth.witness.current[home.user]  # noqa: E731 - what the server holds for the one that is good
        for number, point in enumerate(points):
            (home.folder / "armed").unlink(missing_ok=True)
            victim = await foundry.launch(home, point)
            assert await victim.answers(home), home.log()
            await until(lambda: home.refresh_digest() == claude.digest() == newest(), within=60)
            (home.folder / "armed").touch()
            async with home.client() as client:
                with pytest.raises(BrokerError):
                    await client.refresh(home.account)
            await victim.gone()
            handed_on = claude.digest() == newest()
            assert handed_on is (point in HANDED_ON), point
            behind += not handed_on
            (home.folder / "armed").unlink()
            posts = truth.posts
            heir = await foundry.launch(home, None)
            assert await heir.answers(home), home.log()
            await until(lambda: claude.digest() == home.refresh_digest() == newest(), within=60)
            assert truth.posts == posts, "it is mended without asking the provider"
            assert not list(claude.folder.glob(".ccs-broker-*")), "a temporary file was left behind"
            await claude.note(number)  # the dead daemon's lock does not stand in the way
            await claude.renew()
            await until(lambda: home.refresh_digest() == newest(), within=60)
            assert claude.untouched()
            heir.kill()
            await heir.gone()
        assert truth.witness.replays == []
    figure(
        f"shared logins: {len(points)} SIGKILLs between the answer and the end of a renewal; the other program's file was behind after {behind}, "
        "and brought up by the next start each time; 0 tokens presented twice"
    )


async def test_a_kill_before_the_other_program_has_the_grant_is_made_good_at_the_next_start(figure: Figure) -> None:
    await kill_at(FOLLOWED, figure)


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_a_kill_at_every_point_after_the_answer(figure: Figure) -> None:
    await kill_at(EVERY * 3, figure)


async def rewrite(rounds: int, figure: Figure) -> None:
    async with sharing() as (truth, home, claude):
        await home.start()
        chance, ours = random.Random(SEED + 1), 0

        async def renew_ours() -> None:
            nonlocal ours
            async with home.client() as client:
                for _ in range(rounds):
                    await asyncio.sleep(chance.random() * 0.1)
                    ours += (await client.refresh(home.account)).generation > 0

        async def renew_theirs() -> None:
            for number in range(rounds):
                await asyncio.sleep(claude.chance.random() * 0.1)
                await (claude.renew() if number % 2 else claude.note(number))

        await asyncio.gather(renew_ours(), renew_theirs())
        await until(lambda: home.refresh_digest() == claude.digest() == truth.witness.current[home.user], within=60)
        async with home.client() as client:
            lease = await client.lease(home.account, min_validity=60, max_wait=20)
        assert truth.accepts(lease.access_token)
        assert claude.untouched()
        assert FIELDS.items() <= home.document().items()
        assert truth.witness.replays == []
        assert claude.renewals == rounds // 2
    figure(
        f"shared logins: {ours} renewals of ours against {claude.renewals} renewals and {len(claude.mcp)} other writes of the other program "
        f"at once (seed {SEED}): 0 tokens presented twice, 0 fields lost"
    )


async def test_both_renewing_and_rewriting_at_once_lose_nothing(figure: Figure) -> None:
    await rewrite(8, figure)


@pytest.mark.faults
@pytest.mark.timeout(600)
async def test_both_renewing_and_rewriting_for_long(figure: Figure) -> None:
    await rewrite(300, figure)
