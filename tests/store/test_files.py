import errno
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from broker.store import rename
from broker.store.base import StorageError
from broker.store.files import TEMP_PREFIX, Disk, Os
from broker.store.image import content_of
from broker.store.rename import UnsupportedRenameError
from tests.fakes.clock import FakeChance
from tests.fakes.disk import FaultyOs

OLD, NEW = b'{"n": "old"}', b'{"n": "new"}'


def disk(calls: Os | None = None) -> Disk:
    chance = FakeChance()
    return Disk(lambda: chance.token(9), calls)


def without_exchange(one: str, other: str) -> None:
    raise UnsupportedRenameError(errno.EINVAL, "not here")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


# --- swapping ---


def test_swap_in(target: Path) -> None:
    faulty = FaultyOs()
    assert disk(faulty.calls()).swap_in(target, content_of(OLD), NEW).done
    assert target.read_bytes() == NEW
    assert mode(target) == 0o600
    assert names(target.parent) == ["a.json"]
    assert faulty.log == ["open", "write", "fsync", "open", "exchange", "open", "open", "fsync", "open", "unlink"]


def test_swap_in_where_names_cannot_be_exchanged(target: Path) -> None:
    made = disk(Os(exchange=without_exchange))
    assert made.swap_in(target, content_of(OLD), NEW).done
    assert target.read_bytes() == NEW
    assert made.exchanges is False
    assert names(target.parent) == ["a.json"]


def test_swap_in_keeps_a_link(target: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real.json"
    target.rename(real)
    target.symlink_to("elsewhere/real.json")
    assert disk().swap_in(target, content_of(OLD), NEW).done
    assert target.is_symlink()
    assert real.read_bytes() == NEW


def test_swap_in_of_a_changed_file_does_nothing(target: Path) -> None:
    assert not disk().swap_in(target, content_of(b"something else"), NEW).done
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["a.json"]


def test_swap_in_of_a_vanished_file_does_nothing(target: Path) -> None:
    faulty = FaultyOs(before={"exchange": target.unlink})
    assert not disk(faulty.calls()).swap_in(target, content_of(OLD), NEW).done
    assert not disk().swap_in(target, content_of(OLD), NEW).done
    assert names(target.parent) == []


def replace_by_rename(target: Path, data: bytes) -> None:
    other = target.with_name("other.tmp")
    other.write_bytes(data)
    other.rename(target)


@pytest.mark.parametrize("how", [Path.write_bytes, replace_by_rename])
def test_a_write_between_check_and_rename_is_put_back(target: Path, how: object) -> None:
    assert callable(how)
    faulty = FaultyOs(before={"exchange": lambda: how(target, b"foreign")})
    assert not disk(faulty.calls()).swap_in(target, content_of(OLD), NEW).done
    assert target.read_bytes() == b"foreign"
    assert names(target.parent) == ["a.json"]


def test_a_writer_that_had_the_old_file_open_is_put_back(target: Path) -> None:
    def late() -> None:
        with os.fdopen(fd, "r+b") as file:
            file.write(b'{"n": "FOR"}')

    fd = os.open(target, os.O_RDWR)
    faulty = FaultyOs()
    made = disk(faulty.calls())

    def after_exchange() -> None:
        faulty.before["fsync"] = late  # the folder's

    faulty.before["exchange"] = after_exchange
    assert not made.swap_in(target, content_of(OLD), NEW).done
    assert target.read_bytes() == b'{"n": "FOR"}'


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a file open")
def test_a_writer_that_is_slow_to_write_is_waited_for(target: Path) -> None:
    fd = os.open(target, os.O_RDWR)

    def late() -> None:
        with os.fdopen(fd, "r+b") as file:
            file.write(b'{"n": "FOR"}')

    timer = threading.Timer(0.2, late)
    faulty = FaultyOs(before={"exchange": timer.start})
    assert not disk(faulty.calls()).swap_in(target, content_of(OLD), NEW).done
    timer.join()
    assert target.read_bytes() == b'{"n": "FOR"}'


def test_a_third_write_while_the_second_is_put_back_stays(target: Path) -> None:
    faulty = FaultyOs()

    def foreign() -> None:
        target.write_bytes(b"second")
        faulty.before["exchange"] = lambda: replace_by_rename(target, b"third")  # the way back

    faulty.before["exchange"] = foreign
    assert not disk(faulty.calls()).swap_in(target, content_of(OLD), NEW).done
    assert target.read_bytes() == b"third"


def test_what_was_replaced_and_cannot_be_looked_at_is_put_back(target: Path) -> None:
    faulty = FaultyOs()

    def run_out() -> None:
        replace_by_rename(target, b"foreign")
        faulty.failing.add("open")

    faulty.before["exchange"] = run_out
    faulty.error = errno.EMFILE
    with pytest.raises(StorageError, match="EMFILE"):
        disk(faulty.calls()).swap_in(target, content_of(OLD), NEW)
    assert target.read_bytes() == b"foreign"


@pytest.mark.parametrize("call", ["open", "write", "fsync", "exchange"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_failing_call_leaves_the_old_file_and_nothing_else(target: Path, call: str, number: int) -> None:
    faulty = FaultyOs({call}, number)
    with pytest.raises(StorageError, match=errno.errorcode[number]) as caught:
        disk(faulty.calls()).swap_in(target, content_of(OLD), NEW)
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["a.json"]
    assert isinstance(caught.value.__cause__, OSError) or call == "open"


def test_a_failing_rename_without_exchange_leaves_the_old_file(target: Path) -> None:
    def fail(source: str, to: str) -> None:
        raise OSError(errno.EIO, "no")

    with pytest.raises(StorageError, match="EIO"):
        disk(Os(exchange=without_exchange, replace=fail)).swap_in(target, content_of(OLD), NEW)
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["a.json"]


def test_a_failing_folder_sync_leaves_the_new_file_for_a_later_proof(target: Path) -> None:
    faulty = FaultyOs()
    faulty.before["exchange"] = lambda: faulty.failing.add("fsync")
    made = disk(faulty.calls())
    with pytest.raises(StorageError, match="fsync"):
        made.swap_in(target, content_of(OLD), NEW)
    assert target.read_bytes() == NEW
    with pytest.raises(StorageError, match="fsync"):
        made.prove(target)
    faulty.failing.clear()
    made.prove(target)


def test_short_writes_are_continued(tmp_path: Path) -> None:
    def little(fd: int, data: bytes) -> int:
        return os.write(fd, data[:5])

    path = disk(Os(write=little)).stage(tmp_path, b"0123456789ab")
    assert path.read_bytes() == b"0123456789ab"


# --- new files, moving, deleting ---


def test_write_new_never_touches_an_existing_file(target: Path) -> None:
    with pytest.raises(FileExistsError):
        disk().write_new(target, NEW)
    assert target.read_bytes() == OLD
    fresh = target.with_name("b.json")
    disk().write_new(fresh, NEW)
    assert (fresh.read_bytes(), mode(fresh)) == (NEW, 0o600)
    assert names(target.parent) == ["a.json", "b.json"]


def test_move_new(target: Path, tmp_path: Path) -> None:
    other = tmp_path / "paused"
    other.mkdir()
    disk().move_new(target, other / "a.json")
    assert (other / "a.json").read_bytes() == OLD
    target.write_bytes(NEW)
    with pytest.raises(FileExistsError):
        disk().move_new(target, other / "a.json")
    assert target.read_bytes() == NEW


def test_rename_new_where_the_system_has_none(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rename, "_rename", None)
    other = target.with_name("b.json")
    rename.rename_new(str(target), str(other))
    assert names(target.parent) == ["b.json"]
    target.write_bytes(NEW)
    with pytest.raises(FileExistsError):
        rename.rename_new(str(target), str(other))
    with pytest.raises(UnsupportedRenameError):
        rename.exchange(str(target), str(other))


def test_write_over_and_delete(target: Path) -> None:
    disk().write_over(target, NEW)
    assert target.read_bytes() == NEW
    disk().delete(target)
    disk().delete(target)
    assert names(target.parent) == []


def test_probe_leaves_nothing(tmp_path: Path) -> None:
    made = disk()
    made.probe(tmp_path)
    made.probe_exchange(tmp_path)
    assert made.exchanges is True
    assert names(tmp_path) == []
    for call in ("open", "write", "fsync", "replace"):
        with pytest.raises(StorageError, match="ENOSPC"):
            disk(FaultyOs({call}).calls()).probe(tmp_path)
    assert names(tmp_path) == []


def test_a_real_full_file_size_limit_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ENAMETOOLONG"):
        disk().write_over(tmp_path / ("x" * 300), NEW)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="ENOTDIR"):
        disk().stage(tmp_path / "file", NEW)


def test_open_journal_reserves_room(tmp_path: Path) -> None:
    path = tmp_path / "r"
    fd = disk().open_journal(path, b"first\n", 1000)
    os.write(fd, b"second")
    os.close(fd)
    assert path.read_bytes() == b"first\nsecond" + b"\0" * 994
    assert names(tmp_path) == ["r"]


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_open_journal_where_room_cannot_be_reserved(tmp_path: Path, number: int) -> None:
    fd = disk(FaultyOs({"allocate"}, number).calls()).open_journal(tmp_path / "r", b"first\n", 1000)
    os.close(fd)
    fd = disk(Os(allocate=None)).open_journal(tmp_path / "r", b"first\n", 1000)
    os.close(fd)
    assert (tmp_path / "r").read_bytes() == b"first\n"


@pytest.mark.parametrize("call", ["open", "write", "allocate", "fsync", "replace"])
def test_open_journal_on_a_full_disk_leaves_nothing(tmp_path: Path, call: str) -> None:
    with pytest.raises(StorageError, match="ENOSPC"):
        disk(FaultyOs({call}).calls()).open_journal(tmp_path / "r", b"first\n", 1000)
    assert names(tmp_path) == []


# --- folders ---


def test_ensure_folder_makes_and_closes(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "auth"
    assert disk().ensure_folder(folder) is None
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    folder.chmod(0o755)
    assert disk().ensure_folder(folder) is None
    assert mode(folder) == 0o700


def test_ensure_folder_refuses_a_file_and_tells_of_an_owner(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"ENOTDIR|EEXIST"):
        disk().ensure_folder(tmp_path / "file")
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 12345, 12345)
        assert "12345" in str(disk().ensure_folder(tmp_path / "theirs"))


def test_clean_removes_what_dead_processes_left(tmp_path: Path) -> None:
    def temp(pid: object) -> Path:
        path = tmp_path / f"{TEMP_PREFIX}{pid}-x.tmp"
        path.write_bytes(b"")
        return path

    now = tmp_path.stat
    dead, alive, odd = temp(2**22 + 5), temp(os.getpid()), temp("odd")
    (tmp_path / "a.json").write_bytes(b"")
    disk().clean(tmp_path, now().st_mtime)
    assert (dead.exists(), alive.exists(), odd.exists()) == (False, True, False)
    disk().clean(tmp_path, now().st_mtime + 7200)
    assert names(tmp_path) == ["a.json"]
    disk().clean(tmp_path / "nowhere", 0.0)
