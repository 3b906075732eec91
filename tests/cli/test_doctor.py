import json
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from broker.cli.app import cli
from broker.doctor.catalogue import IDS


@pytest.fixture(autouse=True)
def empty(home: Path) -> None:
    """An empty home."""


def test_one_check(run) -> None:
    ended = run("doctor", "--check", "auth-dir-missing", "--json")
    made = json.loads(ended.out)
    assert ended.code == 1
    assert (made["version"], made["checked"], made["repairs"]) == (1, ["auth-dir-missing"], [])
    (finding,) = made["findings"]
    assert (finding["id"], finding["severity"], finding["fixable"]) == ("auth-dir-missing", "warning", True)


def test_several_checks_come_in_their_own_order(run) -> None:
    ended = run("doctor", "--check", "wrong-user", "--check", "config-invalid", "--check", "wrong-user", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["checked"] == ["config-invalid", "wrong-user"]


def test_all_checks(run) -> None:
    ended = run("doctor")
    assert ended.code == 1
    assert "Run: mkdir -p -m 700" in ended.out
    assert f"{len(IDS)} checks made: " in ended.out
    assert "`ccs-broker doctor --fix` mends 1 of them." in ended.out


def test_fixing_says_what_it_did(run, home: Path) -> None:
    ended = run("doctor", "--fix", "--check", "auth-dir-missing")
    assert ended.code == 0
    assert ended.out.splitlines()[0].startswith("mended  auth-dir-missing: mkdir")
    assert ended.out.endswith("1 check made. All is well.\n")
    assert (home / ".ccs" / "cliproxy" / "auth").is_dir()


def test_a_note_is_no_failure(run) -> None:
    ended = run("doctor", "--check", "no-accounts")
    assert ended.code == 0
    assert "1 note." in ended.out


def test_the_list_makes_no_check(run) -> None:
    made = json.loads(run("doctor", "--list", "--json").out)
    assert [each["id"] for each in made["checks"]] == list(IDS)
    assert len(run("doctor", "--list", "--check", "disk-space").out.splitlines()) == 2


def test_a_check_that_does_not_exist(run) -> None:
    ended = run("doctor", "--check", "disk-spice")
    assert ended.code == 2
    assert "Is it disk-space" in ended.err
    assert "--list" in run("doctor", "--check", "qqqq").err


def test_a_config_that_cannot_be_used_is_a_finding(run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / "config.toml"
    file.write_text("[proxy]\nprot = 1\n")
    monkeypatch.setenv("CCS_BROKER_CONFIG", str(file))
    ended = run("doctor", "--json")
    assert ended.code == 1
    assert "config-unknown-key" in [each["id"] for each in json.loads(ended.out)["findings"]]


def test_ids_are_completed() -> None:
    shell = ShellComplete(cli, {}, "ccs-broker", "_X")
    offered = [each.value for each in shell.get_completions(["doctor", "--check"], "auth-dir")]
    assert offered == [id_ for id_ in IDS if id_.startswith("auth-dir")]


def test_nothing_is_written(run, home: Path) -> None:
    run("doctor")
    assert list(home.iterdir()) == []
