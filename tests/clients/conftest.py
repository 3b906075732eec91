"""The place the clients are proven at: daemon and proxy as processes, and four upstreams that judge what reaches them."""

import asyncio
import json
import os
import shutil
import signal
import struct
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from broker.cli.demo.stage import Stage
from broker.ipc.schema import KeyAdd
from broker.model.secret import Secret
from tests.fakes.chat_api import ChatApi
from tests.fakes.chatgpt_api import ACCOUNT, ChatGptApi
from tests.fakes.claude_api import ClaudeApi
from tests.fakes.judge import JudgingServer
from tests.fakes.vendors.codex import id_token
from tests.system.conftest import staged
from tests.system.test_vendor_files import leased, leave

GEMINI = "gemini-3-pro-preview"
CLAUDE, CLAUDE_ADAPTIVE = "claude-sonnet-4-5", "claude-opus-4-7"
OPENAI, OPENAI_PLAIN = "openai-api/gpt-5.1", "openai-api/gpt-4.1"
CHATGPT = "codex/gpt-5.2-codex"

TIDE = "the tide turns at 4711"
"""What is in the scratch folder's file: no prompt has it, so whoever says it has read it."""
_PATIENCE = 100.0
_SHOWN = 6000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/clients" in item.nodeid:
            item.add_marker(pytest.mark.clients)
            item.add_marker(pytest.mark.timeout(240))


@dataclass
class Bench:
    """Where a client is pointed at, and what the upstreams saw."""

    stage: Stage
    claude: ClaudeApi
    chat: ChatApi
    chatgpt: ChatGptApi

    @property
    def judges(self) -> list[JudgingServer]:
        return [self.claude, self.chat, self.chatgpt]

    @property
    def url(self) -> str:
        return self.stage.proxy_url

    async def begin(self) -> None:
        """Forget what was seen."""
        for judge in self.judges:
            judge.seen.clear()
        async with aiohttp.ClientSession() as session:
            async with session.delete(f"{self.stage.sandbox_url}/sandbox/stats"):
                pass

    async def seen(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Return what the upstreams were sent since, and what of it was refused."""
        judged = [each for judge in self.judges for each in judge.seen]
        sent = [{"path": each.path, "body": each.body, "refused": each.refused} for each in judged]
        refused = [each.refused for each in judged if each.refused]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.stage.sandbox_url}/sandbox/requests?last=50") as answer:
                sent += [
                    note for note in await answer.json() if "internal" in note["path"] or "/models/" in note["path"]
                ]
            async with session.get(f"{self.stage.sandbox_url}/sandbox/stats") as answer:
                stats = await answer.json()
        refused += [f"Gemini: {call}" for call in stats["upstream"]["events"] if call["status"] != 200]
        return sent, refused

    async def judge(self, ran: "Ran") -> "Ran":
        """Expect that a client ended well and no upstream refused anything; else tell all there is to know."""
        sent, refused = await self.seen()
        if ran.code or refused or not sent:
            pytest.fail(
                f"{ran}\n--- refused upstream: {refused}\n--- seen upstream\n{shown(sent)}\n{self.stage.tail()}",
                pytrace=False,
            )
        return ran


@dataclass
class Ran:
    """A client that has ended."""

    command: list[str]
    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"{self.command[0]} ended with {self.code}\n--- stdout\n{self.out[-_SHOWN:]}\n--- stderr\n{self.err[-_SHOWN:]}"


@dataclass
class Scratch:
    """A home and a working folder of a client's own, with a file and a picture in it."""

    home: Path
    work: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def note(self) -> Path:
        return self.work / "note.txt"

    @property
    def picture(self) -> Path:
        return self.work / "picture.png"

    async def run(self, *command: str, stdin: str | None = None, patience: float = _PATIENCE, **env: str) -> Ran:
        """Run a client with an environment that holds nothing but what is given."""
        there = {"HOME": str(self.home), "PATH": os.environ["PATH"], "TMPDIR": str(self.home), **self.env, **env}
        process = await asyncio.create_subprocess_exec(
            *command, env=there, cwd=self.work, start_new_session=True,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        talk = asyncio.ensure_future(process.communicate(None if stdin is None else stdin.encode()))
        _, late = await asyncio.wait([talk], timeout=patience)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it may have left running, too
        out, err = await talk
        text = err.decode(errors="replace") + (f"\n(ended by us after {patience:g} s)" if late else "")
        return Ran(list(command), -1 if late else process.returncode or 0, out.decode(errors="replace"), text)


def shown(sent: list[dict[str, Any]]) -> str:
    """Write down requests, their long texts cut."""

    def cut(value: Any) -> Any:
        if isinstance(value, str) and len(value) > 300:
            return f"{value[:150]} ... {value[-150:]}"
        if isinstance(value, list):
            return [cut(item) for item in value]
        if isinstance(value, dict):
            return {
                k: [f"... {len(v)} of them"] if k in ("tools", "functionDeclarations") and v else cut(v)
                for k, v in value.items()
            }
        return value

    kept = [{k: note[k] for k in ("path", "body", "refused") if k in note} for note in sent]
    return "\n".join(json.dumps(cut(note), ensure_ascii=False)[:_SHOWN] for note in kept[-6:])


def chatgpt_login(access_token: str) -> dict[str, object]:
    """Return a login as Codex' file in CLIProxyAPI's folder holds it, good for days."""
    now = datetime.now(UTC)
    return {
        "type": "codex", "access_token": access_token, "refresh_token": "fake-refresh", "id_token": id_token(ACCOUNT), "account_id": ACCOUNT,
        "email": "user@example.com", "last_refresh": now.isoformat(), "expired": (now + timedelta(days=9)).isoformat(),
    }  # fmt: skip


def png(width: int = 24, height: int = 24) -> bytes:
    """Return a red picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\xc8\x10\x10" * width for _ in range(height))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path / "home", tmp_path / "work")
    made.home.mkdir()
    made.work.mkdir()
    made.note.write_text(f"{TIDE}\n")
    made.picture.write_bytes(png())
    yield made
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running() -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        claude = await stack.enter_async_context(ClaudeApi())
        chat = await stack.enter_async_context(ChatApi())
        chatgpt = await stack.enter_async_context(ChatGptApi())
        urls = {"anthropic": claude.url, "openai": f"{chat.url}/v1", "codex": f"{chatgpt.url}/codex"}
        config = "\n\n".join(f'[upstreams.{name}]\nbase_url = "{url}"' for name, url in urls.items())
        stage = await stack.enter_async_context(staged(config=config, proxy=False))
        async with stage.client() as client:
            await client.add_key(KeyAdd(provider="anthropic-api", key=Secret(claude.key)))
            await client.add_key(KeyAdd(provider="openai-api", key=Secret(chat.key)))
            leave(stage.auth_dir, "codex-user@example.com-plus.json", chatgpt_login(chatgpt.key))
            await leased(client, "codex")
        await stage.start_proxy()
        yield Bench(stage, claude, chat, chatgpt)


@pytest_asyncio.fixture(loop_scope="session")
async def bench(running: Bench) -> Bench:
    await running.begin()
    return running
