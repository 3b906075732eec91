"""A linked store on a memory store, and the other program's login file on a real disk."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from broker.login.adopt import read_login
from broker.model.account import AccountId, Record, Tokens
from broker.model.secret import Secret
from broker.providers.native.base import LockKind
from broker.providers.native.table import FORMATS
from broker.store.base import Entry
from broker.store.link import Link
from broker.store.linked import LinkedStore
from tests.fakes.clock import FakeChance, FakeClock
from tests.fakes.disk import FaultyOs
from tests.fakes.foreign import Theirs
from tests.fakes.memory_store import MemoryDisk, MemoryStore

ANN = AccountId("fake", "ann@example.com")


@dataclass
class Shared:
    """A home with Claude Code's files, and a disk of ours."""

    home: Path
    clock: FakeClock = field(default_factory=FakeClock)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    faulty: FaultyOs = field(default_factory=FaultyOs)
    problems: list[AccountId] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir()

    @property
    def folder(self) -> Path:
        return self.home / ".claude"

    @property
    def file(self) -> Path:
        return self.folder / ".credentials.json"

    @property
    def link(self) -> Link:
        return Link("claude-code", str(self.file))

    def tokens(self, number: int, ends: float | None = None) -> Tokens:
        """Grant `number`; a higher one ends later."""
        ends = self.clock.wall + 3600.0 * number if ends is None else ends
        return Tokens(Secret(f"fake-access-{number}"), Secret(f"fake-refresh-{number}"), expires_at=ends)

    def ours(self, number: int, *spent: int, link: Link | None = None, ends: float | None = None) -> None:
        """Put an auth file of ours on the disk."""
        self.disk.write(Record(ANN, self.tokens(number, ends), email=ANN.label))
        known = tuple(Secret(f"fake-refresh-{each}").digest() for each in spent)
        made = replace(link or self.link, spent=known)
        self.disk.files[ANN] = replace(self.disk.files[ANN], link=made)

    def theirs(self, number: int, ends: float | None = None, **more: object) -> None:
        """Write Claude Code's file, in one piece."""
        tokens = self.tokens(number, ends)
        assert tokens.access_token is not None
        assert tokens.refresh_token is not None
        assert tokens.expires_at is not None
        section = {
            "accessToken": tokens.access_token.reveal(), "refreshToken": tokens.refresh_token.reveal(),
            "expiresAt": int(tokens.expires_at * 1000), "scopes": ["user:inference"],
        }  # fmt: skip
        self.write({"claudeAiOauth": section, "mcpOAuth": {"kept": 1}, **more})

    def write(self, document: object) -> None:
        temporary = self.folder / "writing"
        temporary.write_text(json.dumps(document))
        temporary.chmod(0o600)
        temporary.replace(self.file)

    def profile(self, email: str) -> None:
        (self.home / ".claude.json").write_text(json.dumps({"oauthAccount": {"emailAddress": email}}))

    def native(self) -> str:
        """The refresh token in Claude Code's file."""
        found = json.loads(self.file.read_bytes())["claudeAiOauth"]["refreshToken"]
        assert isinstance(found, str)
        return found

    def stored(self) -> str:
        """The refresh token in our file."""
        token = self.disk.files[ANN].record.tokens.refresh_token
        assert token is not None
        return token.reveal()

    def lock(self) -> Theirs:
        """Claude Code's own lock, as it takes it."""
        return Theirs(LockKind.FOLDER, self.home / ".claude.lock", self.clock)

    async def open(self) -> LinkedStore:
        inner = MemoryStore(self.disk, self.clock)
        store = LinkedStore(
            inner, FORMATS, read_login, self.clock, FakeChance(0.0), calls=self.faulty.calls(), wait_seconds=5.0
        )
        store.on_problem = self.problems.append
        await store.open()
        return store


async def reread(store: LinkedStore) -> Entry:
    """What a refresh begins with."""
    async with store.lock(ANN, 1.0) as lock:
        entry = await store.reread(lock)
        assert entry is not None
        return entry
