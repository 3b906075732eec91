"""One account of a group at a time, among processes that share an auth directory."""

import os
import secrets
from pathlib import Path

import pytest

from broker.store.base import LockTimeoutError
from broker.store.files import Disk
from broker.store.folders import Folders
from broker.store.groups import Groups
from broker.store.lock import holder, try_lock
from tests.fakes.clock import LiveClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "auth"
    made.mkdir(mode=0o700)
    return made


def groups(folder: Path) -> Groups:
    return Groups(folder, Disk(lambda: secrets.token_hex(4)), LiveClock(), "test")


async def test_one_process_waits_for_the_other(folder: Path) -> None:
    one, other = groups(folder), groups(folder)
    async with one.lock("codex", 0.0):
        with pytest.raises(LockTimeoutError):
            async with other.lock("codex", 0.0):
                raise AssertionError
        async with other.lock("another", 0.0):
            pass
        path = Folders(folder).lock_file("group-codex")
        assert holder(path) == f"pid {os.getpid()}, test"
        assert try_lock(path, "x") is None
    async with other.lock("codex", 0.0):
        pass
    one.close()
    other.close()


async def test_closing_lets_go(folder: Path) -> None:
    one, other = groups(folder), groups(folder)
    async with one.lock("codex", 0.0):
        one.close()
        async with other.lock("codex", 0.0):
            pass
    other.close()
