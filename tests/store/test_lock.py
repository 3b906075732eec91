import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.store.base import StorageError
from broker.store.lock import holder, try_lock

HOLD = """
import sys, time
from pathlib import Path
from broker.store.lock import try_lock
assert try_lock(Path(sys.argv[1]), "other") is not None
print("held", flush=True)
time.sleep(60)
"""


def test_a_lock_excludes_and_names_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert holder(path) is None
    fd = try_lock(path, "daemon")
    assert fd is not None
    assert try_lock(path, "other") is None
    assert holder(path) == f"pid {os.getpid()}, daemon"
    assert not os.get_inheritable(fd)
    os.close(fd)
    again = try_lock(path, "other")
    assert again is not None
    os.close(again)
    assert path.exists()  # never unlinked


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert try_lock(path, "daemon") is None
        assert holder(path) == f"pid {process.pid}, other"
        process.kill()
    fd = try_lock(path, "daemon")
    assert fd is not None
    os.close(fd)


def test_a_lock_on_a_deleted_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    first = try_lock(path, "daemon")
    path.unlink()
    second = try_lock(path, "daemon")
    assert first is not None
    assert second is not None
    assert os.fstat(second).st_ino == path.stat().st_ino
    os.close(first)
    os.close(second)


def test_a_lock_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENOENT"):
        try_lock(tmp_path / "nowhere" / "a.lock", "daemon")
    (tmp_path / "link.lock").symlink_to("target")
    with pytest.raises(StorageError, match="ELOOP"):
        try_lock(tmp_path / "link.lock", "daemon")


def test_a_holder_that_is_no_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "a.lock").write_bytes(b"\x1b[31m\n")
    assert holder(tmp_path / "a.lock") is None
