import os
from pathlib import Path

import pytest

from broker.login.private import read_private


def private(folder: Path, data: bytes = b"data", mode: int = 0o600) -> Path:
    path = folder / "file"
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_file_of_the_user_s_alone_is_read(tmp_path: Path) -> None:
    assert read_private(private(tmp_path), 4) == b"data"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_one_open_to_others_is_refused_with_what_closes_it(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path, mode=mode)
    with pytest.raises(ValueError, match=f"mode {mode:04o}.*chmod 600 {path}"):
        read_private(path, 4)


def test_one_byte_too_many_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too large"):
        read_private(private(tmp_path), 3)


def test_a_pipe_does_not_hold_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="regular file"):
        read_private(tmp_path / "pipe", 3)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
def test_another_user_s_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path)
    os.chown(path, 12345, -1)
    with pytest.raises(ValueError, match="another user"):
        read_private(path, 4)


def test_one_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "absent", 4)
