import stat
from pathlib import Path

import pytest

from broker.model.errors import BrokerError, ErrorCode
from broker.service.steps import Action, Step, Tool, put, read, remove


def test_put_writes_once_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.service"
    assert put(file, b"one") == Step(Action.WROTE, str(file))
    assert put(file, b"one") == Step(Action.UNCHANGED, str(file))
    assert put(file, b"two") == Step(Action.WROTE, str(file))
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [each.name for each in file.parent.iterdir()] == ["a.service"]


def test_put_says_which_file_could_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("a file")
    with pytest.raises(BrokerError, match="in-the-way") as caught:
        put(tmp_path / "in-the-way" / "a.service", b"")
    assert caught.value.code is ErrorCode.STORAGE_UNWRITABLE


def test_put_cleans_up_when_the_last_step_fails(tmp_path: Path) -> None:
    (tmp_path / "a.service" / "sub").mkdir(parents=True)
    with pytest.raises(BrokerError):
        put(tmp_path / "a.service", b"x")
    assert [each.name for each in tmp_path.iterdir()] == ["a.service"]


def test_remove_takes_an_emptied_drop_in_folder_along(tmp_path: Path) -> None:
    ours = tmp_path / "x.service.d" / "sandbox.conf"
    put(ours, b"")
    assert remove(ours) == Step(Action.REMOVED, str(ours))
    assert not ours.parent.exists()
    assert remove(ours) is None


def test_remove_leaves_the_users_own_drop_ins(tmp_path: Path) -> None:
    ours = tmp_path / "x.service.d" / "sandbox.conf"
    put(ours, b"")
    theirs = ours.with_name("mine.conf")
    theirs.write_text("mine")
    remove(ours)
    assert theirs.read_text() == "mine"


def test_remove_takes_a_dangling_link(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert remove(link) is not None
    assert not link.is_symlink()


def test_read_of_nothing(tmp_path: Path) -> None:
    assert read(tmp_path / "missing") is None
    assert read(tmp_path) is None


def script(folder: Path, name: str, text: str) -> dict[str, str]:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "GREETING": "hello"}


def test_a_tool_runs_in_the_given_environment(tmp_path: Path) -> None:
    tool = Tool("greet", script(tmp_path, "greet", 'echo "$GREETING $*"; echo oops >&2; exit 3'))
    ran = tool.try_run("a", "b")
    assert tool.exists
    assert (ran.status, ran.output, ran.errors) == (3, "hello a b", "oops")


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    tool = Tool("greet", script(tmp_path, "greet", "echo 'no bus' >&2; exit 1"))
    with pytest.raises(BrokerError, match="`greet a` ended with 1: no bus") as caught:
        tool.run("a", hint="look there")
    assert caught.value.hint == "look there"


def test_a_tool_that_works_is_told(tmp_path: Path) -> None:
    assert Tool("greet", script(tmp_path, "greet", "exit 0")).run("a", hint="") == Step(Action.RAN, "greet a")


def test_a_tool_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.service.steps._COMMAND_SECONDS", 0.1)
    ran = Tool("greet", script(tmp_path, "greet", "exec sleep 60")).try_run()
    assert ran.status == 124


def test_a_tool_that_is_missing(tmp_path: Path) -> None:
    tool = Tool("no-such-tool", {"PATH": str(tmp_path)})
    assert not tool.exists
    assert tool.try_run().status == 127
