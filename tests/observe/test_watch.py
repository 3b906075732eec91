"""Being told of files: a real folder, and the system's notices."""

import asyncio
import sys
from pathlib import Path

import pytest

from broker.observe.watch import Watcher


async def names_told(folder: Path, *, writes: bool) -> list[str]:
    """Write to a file that stays open, then make another; return which were told of by the time that one was."""
    told: list[str] = []
    came = asyncio.Event()

    def hint(path: Path) -> None:
        told.append(path.name)
        if path.name == "new":
            came.set()

    with (folder / "open").open("w") as open_file:
        watcher = Watcher([folder], hint, lambda: None, writes=writes)
        await asyncio.to_thread(watcher.start)
        try:
            assert watcher.working
            for _ in range(3):
                open_file.write("a line\n")
                open_file.flush()
            (folder / "new").touch()
            async with asyncio.timeout(20):
                await came.wait()  # notices of one folder come in their order
        finally:
            await asyncio.to_thread(watcher.stop)
    return told


async def test_a_file_that_is_written_to_is_told_of(tmp_path: Path) -> None:
    assert "open" in await names_told(tmp_path, writes=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells that a file was closed")
async def test_writes_to_a_file_that_stays_open_wake_nobody_where_they_are_not_asked_for(tmp_path: Path) -> None:
    assert "open" not in await names_told(tmp_path, writes=False)


async def test_a_file_that_was_written_to_and_closed_is_told_of(tmp_path: Path) -> None:
    file, told = tmp_path / "file", asyncio.Event()
    file.touch()
    watcher = Watcher([tmp_path], lambda _path: told.set(), lambda: None, writes=False)
    await asyncio.to_thread(watcher.start)
    try:
        file.write_text("new")
        async with asyncio.timeout(20):
            await told.wait()
    finally:
        await asyncio.to_thread(watcher.stop)
