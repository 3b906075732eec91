"""docs/socket.md against the program: its tables are the contract's, and its examples run."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from broker.config import SocketConfig
from broker.daemon.connection import IDLE_SECONDS
from broker.daemon.server import HOSTS
from broker.daemon.stream import BACKLOG_BYTES
from broker.ipc.operations import OPERATIONS
from broker.ipc.schema import AccountView, LoginStart
from broker.model.account import AccountId, StateName
from broker.model.errors import TRAITS, ErrorCode
from tests.fakes.broker import running_daemon

TEXT = (Path(__file__).parents[2] / "docs" / "socket.md").read_text()
ALICE = AccountId("gemini", "alice@example.com")


def section(title: str) -> str:
    return re.split(r"^##+ ", TEXT.split(f"# {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_operations_are_listed_as_they_are() -> None:
    expected = [
        [f"`{each.method} {each.path}`", "broker" if each.control else "both", each.summary] for each in OPERATIONS
    ]
    assert rows("Operations") == expected


def test_the_error_codes_are_listed_as_they_are() -> None:
    expected = []
    for code in ErrorCode:
        traits = TRAITS[code]
        expected.append(
            [f"`{code.value}`", str(traits.status), "yes" if traits.retryable else "no", traits.title, traits.hint]
        )
    assert rows("Errors") == expected


def test_the_limits_are_the_defaults() -> None:
    given = {cells[0].split("`")[1]: cells[1] for cells in rows("Limits") if cells[0].startswith("`")}
    assert set(given) == set(SocketConfig.__struct_fields__)
    for name, value in given.items():
        assert float(value) == getattr(SocketConfig(), name)
    others = {cells[0]: cells[1] for cells in rows("Limits")}
    assert others["idle between two requests"] == f"{IDLE_SECONDS:g} seconds"
    assert others["a push stream's backlog"].startswith(f"{BACKLOG_BYTES >> 20} MiB")


def test_fields_states_and_hosts_are_named() -> None:
    accounts = section("Accounts")
    named = set(re.findall(r"`(\w+)`", accounts))
    assert set(AccountView.__struct_fields__) <= named
    assert {state.value for state in StateName} <= named
    assert all(f"`{host}`" in TEXT for host in HOSTS)
    login = section("Logging in")
    assert all(f"`{field}`" in login for field in LoginStart.__struct_fields__)


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)


def test_there_are_examples() -> None:
    assert len(blocks()) >= 8
    assert "SOCKETS=" in blocks()[0]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_every_example_runs() -> None:
    async with running_daemon(ALICE) as running:
        env = {"PATH": "/usr/bin:/bin", "CCS_BROKER_RUNTIME_DIR": str(running.folder / "run")}
        for block in blocks():
            script = f"set -euo pipefail\n{blocks()[0].splitlines()[0]}\n{block}"
            process = await asyncio.create_subprocess_exec(
                "bash", "-c", script, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            out, error = await process.communicate()
            # 28: curl's own time limit, which ends the push stream
            assert process.returncode == (28 if " -m 2 " in block else 0), f"{block}\n{out.decode()}\n{error.decode()}"
            assert out
        assert running.owns((await running.token_client.lease(ALICE)).access_token) == "alice@example.com"
