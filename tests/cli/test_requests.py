import json
from pathlib import Path

import pytest

from broker.proxy.reqlog.capture import Captured
from broker.proxy.reqlog.folder import Folder
from tests.proxy.reqlog.test_entry import BEGAN, attempt, entry

FOLDER = Path(".local/state/ccs-broker-proxy/request-log")


def write(folder: Path) -> None:
    log = Folder(folder, lambda: BEGAN, max_bytes=1 << 20, max_age_days=9, max_string_bytes=999)
    log.write(entry(id="r1", model="m", status=404, told=(404, [(b"x-note", b"no such model")])))
    log.write(
        entry(
            id="r2",
            began=BEGAN + 1,
            key="ci",
            model="m",
            body=Captured(b"hello"),
            told=(200, []),
            tries=(attempt(status=503), attempt(2)),
        )
    )
    log.write(entry(id="r3", began=BEGAN + 2, tries=tuple(attempt(number) for number in range(1, 12)), left_out=3))


@pytest.fixture
def filled(home: Path) -> Path:
    write(home / FOLDER)
    return home


def ids(run, *arguments: str) -> list[str]:
    ended = run("requests", "list", "--json", *arguments)
    assert ended.code == 0
    return [each["id"] for each in json.loads(ended.out)["requests"]]


def test_the_newest_come_first(run, filled: Path) -> None:
    assert ids(run) == ["r3", "r2", "r1"]
    assert ids(run, "--number", "2") == ["r3", "r2"]
    assert ids(run, "--errors") == ["r1"]
    found = json.loads(run("requests", "list", "--json").out)
    assert (found["enabled"], found["directory"]) == (False, str(filled / FOLDER))
    assert found["requests"][1] == {
        "id": "r2",
        "began": "2026-11-21T19:23:59.123Z",
        "seconds": 1.5,
        "route": "Messages",
        "model": "m",
        "opened_by": "ci",
        "status": 200,
        "outcome": "ok",
        "accounts": ["claude/12345678"],
        "attempts": 2,
        "folder": str(filled / FOLDER / "20261121T192359.123Z-r2-200"),
    }
    assert found["requests"][0]["attempts"] == 14


def test_what_is_no_request_is_left_out(run, filled: Path) -> None:
    there = filled / FOLDER
    (there / "notes").mkdir()
    (there / "20261121T192400.000Z-r9-200").mkdir()
    odd = there / "20261121T192400.000Z-r8-200"
    odd.mkdir()
    (odd / "summary.json").write_text("[1]")
    linked = there / "20261121T192400.000Z-r7-200"
    linked.mkdir()
    (linked / "summary.json").symlink_to(there / "20261121T192359.123Z-r2-200" / "summary.json")
    (there / "20261121T192400.000Z-r6-200").symlink_to(there / "20261121T192359.123Z-r2-200")
    assert ids(run) == ["r3", "r2", "r1"]


def test_the_directory_of_the_config(run, home: Path) -> None:
    assert ids(run) == []
    file = home / ".config" / "ccs-broker" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[request_log]\nenabled = true\ndirectory = "~/my-log"\n')
    write(home / "my-log")
    assert ids(run) == ["r3", "r2", "r1"]
    assert json.loads(run("requests", "list", "--json").out)["enabled"] is True


def test_one_is_shown_in_the_order_in_which_it_passed(run, filled: Path) -> None:
    ended = run("requests", "show", "r2")
    assert ended.code == 0
    order = [
        "client-request",
        "upstream-request-1",
        "upstream-response-1",
        "upstream-request-2",
        "client-response",
        "summary.json",
    ]
    assert [line.strip("- ") for line in ended.out.splitlines() if line.startswith("---")] == order
    assert "hello" in ended.out
    shown = json.loads(run("requests", "show", "last", "--json").out)
    assert list(shown["files"]) == [
        "client-request",
        *(f"upstream-request-{number}" for number in range(1, 12)),
        "summary.json",
    ]
    (filled / FOLDER / "20261121T192400.123Z-r3-200" / "a-note-of-mine").write_text("x")
    assert list(json.loads(run("requests", "show", "r3", "--json").out)["files"])[-1] == "a-note-of-mine"


def test_one_that_is_not_there(run, filled: Path) -> None:
    ended = run("requests", "show", "r99")
    assert ended.code == 1
    assert "no request 'r99'" in ended.err
    assert "requests list" in ended.err


@pytest.mark.parametrize("command", [["list"], ["show", "last"]])
def test_a_directory_that_is_none(run, home: Path, command: list[str]) -> None:
    (home / FOLDER).parent.mkdir(parents=True)
    (home / FOLDER).write_text("a file")
    ended = run("requests", *command)
    assert ended.code == 1
    assert "Not a directory" in ended.err
