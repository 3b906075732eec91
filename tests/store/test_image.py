import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from broker.store.codec import MAX_BYTES, Fault, FaultKind
from broker.store.image import Image, content_of, mark_of, read
from tests.fakes.disk import FaultyOs

OLD, NEW = b'{"n": "old"}', b'{"n": "longer than old"}'


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


def test_reading(target: Path) -> None:
    image = read(target)
    assert isinstance(image, Image)
    assert (image.data, image.content, image.repaired) == (OLD, content_of(OLD), False)
    assert "old" not in repr(image)
    assert read(target.with_name("none.json")) is None


def test_an_image_can_let_its_bytes_go(target: Path) -> None:
    image = read(target)
    assert isinstance(image, Image)
    bare = image.emptied()
    assert (bare.data, bare.content, bare.mark, bare.repaired) == (b"", image.content, image.mark, False)


def test_an_open_mode_is_repaired(target: Path) -> None:
    target.chmod(0o644)
    image = read(target)
    assert isinstance(image, Image)
    assert image.repaired
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_a_mode_that_cannot_be_repaired_does_not_stop_reading(target: Path) -> None:
    target.chmod(0o644)
    faulty = FaultyOs({"fchmod"}, errno.EPERM)
    image = read(target, chmod=faulty.calls().fchmod)
    assert isinstance(image, Image)
    assert not image.repaired


def test_a_link_to_a_file_of_ours_is_followed(target: Path) -> None:
    link = target.with_name("link.json")
    link.symlink_to(target.name)
    image = read(link)
    assert isinstance(image, Image)
    assert image.data == OLD


def test_what_is_no_plain_file_of_ours_is_refused(tmp_path: Path) -> None:
    pipe, folder, plug = tmp_path / "pipe.json", tmp_path / "folder.json", tmp_path / "plug.json"
    os.mkfifo(pipe)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(plug))
        device, loop, dangling = tmp_path / "device.json", tmp_path / "loop.json", tmp_path / "dangling.json"
        device.symlink_to("/dev/zero")
        loop.symlink_to(loop)
        dangling.symlink_to("nothing")
        kinds = [read(path) for path in (pipe, folder, plug, device, loop, dangling)]
    assert [fault.kind for fault in kinds if isinstance(fault, Fault)] == [
        *[FaultKind.NOT_REGULAR] * 4,
        *[FaultKind.UNREADABLE] * 2,
    ]


def test_another_users_file_is_refused(target: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(target, 12345, 12345)
    fault = read(target)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.FOREIGN_OWNER


def test_a_huge_file_is_refused_unread(target: Path) -> None:
    os.truncate(target, MAX_BYTES + 1)
    fault = read(target)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.TOO_BIG


def test_a_file_that_cannot_be_opened_is_a_fault(target: Path) -> None:
    fault = read(target, FaultyOs({"open"}, errno.EMFILE).calls().open)
    assert fault == Fault(FaultKind.UNREADABLE, "cannot be read: EMFILE")


def test_a_file_that_is_written_meanwhile_is_read_again(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, between = os.pread, [NEW]

    def pread(fd: int, size: int, offset: int) -> bytes:
        data = real(fd, size, offset)
        if between:
            target.write_bytes(between.pop())
        return data

    monkeypatch.setattr(os, "pread", pread)
    image = read(target)
    assert isinstance(image, Image)
    assert (image.data, image.mark) == (NEW, mark_of(target.stat()))


def test_one_seen_to_be_plain_is_opened_and_then_looked_at(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = read(target, plain=True)
    assert isinstance(image, Image)
    assert image == read(target)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    monkeypatch.setattr(os, "pread", None)  # never read
    foreign = read(target, plain=True)
    assert isinstance(foreign, Fault)
    assert foreign.kind is FaultKind.FOREIGN_OWNER


def test_one_that_became_something_else_meanwhile_does_not_block(target: Path) -> None:
    target.unlink()
    os.mkfifo(target, 0o600)
    fault = read(target, plain=True)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.NOT_REGULAR


def test_another_users_file_that_cannot_be_opened_is_told_by_its_owner(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "denied")

    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    foreign = read(target, refuse, plain=True)
    assert isinstance(foreign, Fault)
    assert foreign.kind is FaultKind.FOREIGN_OWNER
    monkeypatch.undo()
    closed = read(target, refuse, plain=True)
    assert isinstance(closed, Fault)
    assert closed.kind is FaultKind.UNREADABLE
