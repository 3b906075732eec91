"""The directory: whole folders or none, limits, links, siblings, disks that are full."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.model.errors import BrokerError
from broker.proxy.reqlog import folder as module
from broker.proxy.reqlog.capture import Captured
from broker.proxy.reqlog.entry import folder_name
from broker.proxy.reqlog.folder import Folder
from tests.proxy.reqlog.test_entry import BEGAN, entry


class Wall:
    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def make(tmp_path: Path, wall: Wall) -> Callable[..., Folder]:
    def made(max_bytes: int = 1 << 20, max_age_days: float = 1.0) -> Folder:
        return Folder(
            tmp_path / "a" / "log", wall, max_bytes=max_bytes, max_age_days=max_age_days, max_string_bytes=1 << 20
        )

    return made


def put(folder: Folder, number: int, began: float = BEGAN, size: int = 10) -> Path:
    folder.write(entry(id=f"r{number}", began=began, body=Captured(b"x y " * (size // 4))))
    return folder.path / folder_name(began, f"r{number}", 200)


def test_it_is_made_for_its_owner_only(make: Callable[..., Folder]) -> None:
    folder = make()
    folder.prune()
    assert not folder.path.exists()
    before = os.umask(0)
    try:
        made = put(folder, 1)
    finally:
        os.umask(before)
    for path, mode in ((folder.path, 0o700), (made, 0o700), (made / "summary.json", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    folder.path.chmod(0o755)
    put(folder, 2)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_the_oldest_go_where_there_is_too_much(make: Callable[..., Folder], wall: Wall) -> None:
    folder = make(max_bytes=50_000)
    paths = []
    for number in range(12):
        wall.now = BEGAN + number * 10
        paths.append(put(folder, number, wall.now, 9000))
    left = [path.exists() for path in paths]
    assert left == [False] * 7 + [True] * 5
    # What siblings wrote counts.
    other = make(max_bytes=20_000)
    other.prune()
    assert [path.exists() for path in paths] == [False] * 10 + [True] * 2


def test_much_at_once_is_seen_to_at_once(make: Callable[..., Folder]) -> None:
    folder = make(max_bytes=20_000)
    for number in range(50):
        put(folder, number, BEGAN + number / 1000, 4000)
    assert sum(path.stat().st_size for path in folder.path.glob("*/*")) <= 21_000


def test_the_old_go_also_where_nothing_is_written(make: Callable[..., Folder], wall: Wall) -> None:
    folder = make(max_age_days=2)
    old, young = put(folder, 1), put(folder, 2, BEGAN + 86_400)
    wall.now = BEGAN + 2.5 * 86_400
    folder.prune()
    assert (old.exists(), young.exists()) == (False, True)


def test_what_a_killed_worker_left_goes_after_an_hour(make: Callable[..., Folder], wall: Wall) -> None:
    folder = make()
    left = put(folder, 1)
    left = left.rename(left.with_name(".writing-" + left.name))
    folder.prune()
    assert left.exists()
    wall.now += 4000
    folder.prune()
    assert not left.exists()


def test_nothing_but_its_own_is_touched(make: Callable[..., Folder], wall: Wall, tmp_path: Path) -> None:
    folder = make()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    first = put(folder, 1)
    planted = folder.path / folder_name(BEGAN, "link", 200)
    planted.symlink_to(outside)
    (folder.path / "notes.txt").write_text("mine")
    inner = first / "kept"
    inner.mkdir()
    file = folder.path / folder_name(BEGAN, "file", 200)
    file.write_text("no folder")
    stranger = put(folder, 2)
    (stranger / "link").symlink_to(outside / "precious")
    wall.now += 90 * 86_400
    folder.prune()
    assert (outside / "precious").read_text() == "x"
    assert planted.is_symlink()
    assert (folder.path / "notes.txt").exists()
    assert inner.exists()
    assert file.exists()
    assert not stranger.exists()


def test_links_in_its_way_are_not_followed(make: Callable[..., Folder], tmp_path: Path) -> None:
    folder = make()
    folder.path.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    name = folder_name(BEGAN, "r1", 200)
    for planted in (name, f".writing-{name}"):
        (folder.path / planted).symlink_to(outside)
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            put(folder, 1)
        (folder.path / planted).unlink()
    assert list(outside.iterdir()) == []
    linked = Folder(tmp_path / "link", lambda: BEGAN, max_bytes=1, max_age_days=1, max_string_bytes=1)
    linked.path.symlink_to(outside)
    for act in (linked.prune, lambda: put(linked, 1)):
        with pytest.raises(BrokerError):
            act()
    assert list(outside.iterdir()) == []


def test_of_a_request_that_finds_the_disk_full_nothing_is_left(
    make: Callable[..., Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real, calls = make(), os.write, []

    def full(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return real(file, data[:7])  # a short write is no fault
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(file, data)

    monkeypatch.setattr(module.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        put(folder, 1)
    assert list(folder.path.iterdir()) == []
    monkeypatch.undo()
    assert put(folder, 1).exists()


def test_siblings_prune_at_once(make: Callable[..., Folder], wall: Wall, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has taken away what the other has just seen."""
    one, other = make(), make()
    made = [put(one, number) for number in range(3)]
    wall.now += 90 * 86_400
    real = module._remove

    def late(here: int, name: str) -> None:
        monkeypatch.setattr(module, "_remove", real)
        other.prune()
        real(here, name)

    monkeypatch.setattr(module, "_remove", late)
    one.prune()
    assert not any(path.exists() for path in made)
