import errno
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.proxy import keyfile
from broker.proxy.keyfile import KeyFile, change, read
from broker.proxy.keys import LocalKey, digest_of, encode

Keys = tuple[LocalKey, ...]


def key(name: str, slot: int = 0) -> LocalKey:
    return LocalKey(name=name, sha256=digest_of(name), slot=slot, created=1)


def names(path: Path) -> list[str]:
    return [each.name for each in read(path)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conf" / "proxy-keys.json"


def test_a_change_makes_a_file_that_only_we_can_read(path: Path) -> None:
    old = os.umask(0)
    try:
        change(path, lambda keys: (*keys, key("one")))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    change(path, lambda keys: (*keys, key("two", 1)))
    assert names(path) == ["one", "two"]
    assert sorted(each.name for each in path.parent.iterdir()) == [".proxy-keys.lock", path.name]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    (tmp_path / "dots").mkdir()
    path.symlink_to(tmp_path / "dots" / "keys.json")
    change(path, lambda _keys: (key("one"),))
    assert path.is_symlink()
    assert names(tmp_path / "dots" / "keys.json") == ["one"]


def test_an_edit_that_raises_changes_nothing(path: Path) -> None:
    change(path, lambda _keys: (key("one"),))

    def refuse(_keys: Keys) -> Keys:
        raise BrokerError(ErrorCode.BAD_REQUEST, "no")

    with pytest.raises(BrokerError, match="no"):
        change(path, refuse)
    assert names(path) == ["one"]


def test_what_a_process_left_that_died_is_out_of_the_way(path: Path) -> None:
    change(path, lambda _keys: (key("one"),))
    (path.parent / ".proxy-keys.json.new").write_text("half")
    change(path, lambda keys: (*keys, key("two", 1)))
    assert names(path) == ["one", "two"]


def test_a_disk_that_refuses_leaves_everything_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(path, lambda _keys: (key("one"),))

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keyfile.os, "fsync", full)
    with pytest.raises(BrokerError, match="No space left") as raised:
        change(path, lambda keys: (*keys, key("two", 1)))
    assert raised.value.code is ErrorCode.STORAGE_UNWRITABLE
    monkeypatch.undo()
    assert names(path) == ["one"]
    assert sorted(each.name for each in path.parent.iterdir()) == [".proxy-keys.lock", path.name]


def test_changes_at_the_same_time_all_count(path: Path) -> None:
    def add(number: int) -> None:
        change(path, lambda keys: (*keys, key(f"k{number}", number)))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(names(path)) == sorted(f"k{number}" for number in range(12))


def test_a_change_waits_for_another_process(path: Path) -> None:
    change(path, lambda _keys: (key("one"),))
    code = (
        "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDWR); fcntl.flock(fd, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(path.parent / ".proxy-keys.lock")], **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == b"held\n"
        done = threading.Event()
        waiting = threading.Thread(target=lambda: (change(path, lambda _keys: ()), done.set()))
        waiting.start()
        assert not done.wait(0.1)
        holder.stdin.close()
        assert done.wait(30)
        waiting.join()
    assert names(path) == []


def test_a_missing_file_holds_no_keys(path: Path) -> None:
    assert read(path) == ()
    assert not len(KeyFile(path).ring)


@pytest.mark.parametrize(
    ("mode", "data", "told"),
    [
        (0o620, encode([key("one")]), "written by other users"),
        (0o602, encode([key("one")]), "written by other users"),
        (0o600, b"{", "not a file of local keys"),
        (0o600, b" " * ((4 << 20) + 1), "is larger than"),
    ],
)
def test_files_that_are_refused(path: Path, mode: int, data: bytes, told: str) -> None:
    path.parent.mkdir()
    path.write_bytes(data)
    path.chmod(mode)
    with pytest.raises(BrokerError, match=told) as raised:
        read(path)
    assert raised.value.code is ErrorCode.MISCONFIGURED
    assert str(path) in raised.value.detail
    assert not len(KeyFile(path).ring)


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(BrokerError, match="directory"):
        read(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_user_s_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(encode([key("one")]))
    path.chmod(0o600)
    os.chown(path, 12345, 12345)
    with pytest.raises(BrokerError, match="belongs to another user"):
        read(path)


def test_it_is_followed_and_read_only_where_it_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = KeyFile(path)
    reads: list[Path] = []
    real = keyfile.read
    monkeypatch.setattr(keyfile, "read", lambda asked: (reads.append(asked), real(asked))[1])
    change(path, lambda _keys: (key("one"),))
    reads.clear()
    for _ in range(5):
        followed.look()
    assert len(reads) == 1
    assert followed.ring.find(digest_of("one")) is not None
    change(path, lambda _keys: (key("two"),))
    followed.look()
    assert followed.ring.find(digest_of("one")) is None
    assert followed.ring.find(digest_of("two")) is not None
    path.unlink()
    followed.look()
    assert not len(followed.ring)


def test_a_file_broken_meanwhile_leaves_the_keys_known_before(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, lambda _keys: (key("one"),))
    followed = KeyFile(path)
    path.write_text("{")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            followed.look()
    assert followed.ring.find(digest_of("one")) is not None
    assert len(caplog.records) == 1
    path.write_bytes(encode([key("two")]))
    followed.look()
    assert followed.ring.find(digest_of("one")) is None
    assert followed.ring.find(digest_of("two")) is not None


def test_a_folder_that_cannot_be_looked_into_leaves_them_too(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    change(path, lambda _keys: (key("one"),))
    followed = KeyFile(path)
    moved = path.parent.rename(path.parent.with_name("away"))
    path.parent.write_text("a file where the folder was")
    with caplog.at_level(logging.ERROR):
        followed.look()
        followed.look()
    assert followed.ring.find(digest_of("one")) is not None
    assert len(caplog.records) == 1
    path.parent.unlink()
    moved.rename(path.parent)
    followed.look()
    assert followed.ring.find(digest_of("one")) is not None
