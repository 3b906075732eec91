"""Repairs look again before they act."""

import os
import socket
import stat
from pathlib import Path

import pytest

from broker.doctor.finding import Finding, Fix, MakeFolder, RemoveSocket, RemoveTemporary, SetMode, Severity, mendable
from broker.doctor.mend import Repair, mend
from broker.system import SystemClock


def done(*fixes: Fix) -> tuple[Repair, ...]:
    return mend(tuple(mendable("x", Severity.ERROR, "It is so", fix) for fix in fixes), SystemClock())


def refused(fix: Fix) -> str:
    (repair,) = done(fix)
    return repair.refused


def test_a_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o644)
    assert done(SetMode(path, 0o600)) == (Repair("x", f"chmod 600 {path}"),)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_link_is_followed(tmp_path: Path) -> None:
    path, link = tmp_path / "a", tmp_path / "link"
    path.touch(0o644)
    link.symlink_to(path)
    assert refused(SetMode(link, 0o600)) != ""
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_nothing_of_another_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.touch(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    assert "belongs to user" in refused(SetMode(path, 0o600))


def test_what_is_gone_cannot_be_mended(tmp_path: Path) -> None:
    assert refused(SetMode(tmp_path / "nothing", 0o600)) == "No such file or directory"
    assert refused(RemoveSocket(tmp_path / "nothing")) == ""
    assert refused(RemoveTemporary(tmp_path / "nothing.tmp")) != ""


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert refused(MakeFolder(tmp_path / "a" / "b")) != ""


def test_a_socket_somebody_listens_on_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert refused(RemoveSocket(path)) == "somebody listens there now"
    assert path.exists()
    assert refused(RemoveSocket(path)) == ""
    assert not path.exists()
    path.touch()
    assert refused(RemoveSocket(path)) != ""
    assert path.exists()


def test_a_temporary_file_of_a_live_writer_stays(tmp_path: Path) -> None:
    path = tmp_path / f".ccs-broker-{os.getpid()}-x.tmp"
    path.touch()
    assert refused(RemoveTemporary(path)) == "somebody writes it"
    assert path.exists()


def test_each_thing_is_mended_once_and_what_a_person_must_decide_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.touch(0o644)
    fix = SetMode(path, 0o600)
    assert len(done(fix, fix)) == 1
    assert mend((Finding("x", Severity.ERROR, "It is so", "Decide."),), SystemClock()) == ()
