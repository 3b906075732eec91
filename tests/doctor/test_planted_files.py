"""Faults of files, planted for real."""

import json
import os
import time
from pathlib import Path

import pytest

from broker.doctor.finding import Severity
from tests.doctor.planting import found, given_away, login, one, plants, put

ROOT = os.geteuid() == 0


@plants("auth-dir-missing")
def test_no_auth_directory(home: Path) -> None:
    finding = one("auth-dir-missing")
    assert finding.mend == f"Run: mkdir -p -m 700 {home}/.ccs/cliproxy/auth"
    assert finding.fix is not None


@plants("auth-dir-mode")
def test_an_open_auth_directory(auth: Path) -> None:
    assert found("auth-dir-mode") == ()
    auth.chmod(0o755)
    (auth.parent / "auth-paused").mkdir(mode=0o750)
    first, second = found("auth-dir-mode")
    assert (first.severity, first.mend) == (Severity.ERROR, f"Run: chmod 700 {auth}")
    assert second.where == f"{auth}-paused"


@plants("auth-dir-owner")
def test_a_foreign_auth_directory(auth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found("auth-dir-owner") == ()
    given_away(auth, monkeypatch)
    finding = one("auth-dir-owner")
    assert finding.fix is None
    assert finding.mend == f"Run: sudo chown -R $USER {auth}"


@plants("auth-dir-unwritable")
def test_an_auth_directory_that_is_none(home: Path) -> None:
    put(home / ".ccs" / "cliproxy" / "auth", "")
    assert "not a folder" in one("auth-dir-unwritable").what


def test_an_auth_directory_that_cannot_be_made(home: Path) -> None:
    put(home / ".ccs" / "cliproxy", "")
    assert "cannot be made" in one("auth-dir-unwritable").what


def test_an_auth_directory_on_a_link_to_nothing(home: Path) -> None:
    (home / ".ccs").mkdir()
    (home / ".ccs" / "cliproxy").symlink_to(home / "nowhere")
    assert found("auth-dir-missing")


@pytest.mark.skipif(ROOT, reason="root may write everywhere")
def test_an_auth_directory_without_leave_to_write(auth: Path) -> None:
    auth.chmod(0o500)
    assert "cannot be written" in one("auth-dir-unwritable").what
    auth.chmod(0o700)


@plants("auth-dir-parent")
def test_a_folder_above_that_others_may_write_to(auth: Path) -> None:
    assert found("auth-dir-parent") == ()
    auth.parent.chmod(0o777)
    assert one("auth-dir-parent").where == str(auth.parent)
    auth.parent.chmod(0o1777)
    assert found("auth-dir-parent") == ()


def test_a_folder_above_that_is_another_users(auth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_away(auth.parent, monkeypatch)
    assert found("auth-dir-parent")


@plants("auth-file-mode")
def test_an_open_login(auth: Path, config) -> None:
    path = put(auth / "own-a.json", login(), 0o640)
    assert one("auth-file-mode").mend == f"Run: chmod 600 {path}"
    assert path.stat().st_mode & 0o777 == 0o640


@plants("auth-file-owner")
def test_a_foreign_login(auth: Path, config, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(auth / "own-a.json", login())
    assert found("auth-file-owner") == ()
    given_away(path, monkeypatch)
    assert one("auth-file-owner").where == str(path)


@plants("auth-file-broken")
@pytest.mark.parametrize("text", ["", '{"type": "own", "access_token": "canary', "not json"])
def test_a_broken_login_is_a_fault_once_it_lasts(auth: Path, text: str) -> None:
    path = put(auth / "own-a.json", text)
    assert one("auth-file-broken").severity is Severity.INFO
    old = time.time() - 60
    os.utime(path, (old, old))
    finding = one("auth-file-broken")
    assert finding.severity is Severity.ERROR
    assert f"rm {path}" in finding.mend


@plants("auth-file-unknown-type")
def test_a_login_of_nobody(auth: Path, config) -> None:
    put(auth / "strange.json", json.dumps({"type": "strange-2", "access_token": "canary"}))
    finding = one("auth-file-unknown-type")
    assert "'strange-2'" in finding.what
    assert finding.severity is Severity.WARNING


@plants("auth-file-unusable")
@pytest.mark.parametrize("text", ["[]", "{}", '{"type": "own", "refresh_token": 7}', '{"type": "own"}'])
def test_json_that_is_no_login(auth: Path, config, text: str) -> None:
    put(auth / "own-a.json", text)
    assert one("auth-file-unusable").severity is Severity.ERROR


def test_what_is_not_even_a_file(auth: Path) -> None:
    (auth / "folder.json").mkdir()
    os.mkfifo(auth / "pipe.json")
    (auth / "link.json").symlink_to(auth / "nowhere")
    put(auth / "huge.json", " " * ((1 << 20) + 1))
    told = {each.where.rpartition("/")[2]: each.what for each in found("auth-file-unusable")}
    assert set(told) == {"folder.json", "pipe.json", "link.json", "huge.json"}
    assert "larger than" in told["huge.json"]


@plants("auth-file-duplicate")
def test_one_login_in_two_files(auth: Path, config) -> None:
    older = put(auth / "own-a.json", login(refresh_token="canary-other-token", expired="2090-01-01T00:00:00Z"))
    put(auth / "own-b.json", login())
    finding = one("auth-file-duplicate")
    assert finding.mend == f"Run: mv {older} {older}.old"
    assert found("auth-file-same-token") == ()


def test_two_people_are_no_duplicate(auth: Path, config) -> None:
    put(auth / "own-a.json", login(refresh_token="canary-other-token"))
    put(auth / "own-b.json", login(email="b@example.com"))
    assert found("auth-file-duplicate") == ()


@plants("auth-file-same-token")
def test_one_refresh_token_in_two_files(auth: Path, config) -> None:
    put(auth / "own-a.json", login())
    older = put(
        auth.parent / "auth-paused" / "own-z.json", login(email="z@example.com", expired="2090-01-01T00:00:00Z")
    )
    finding = one("auth-file-same-token")
    assert (finding.severity, finding.where) == (Severity.ERROR, str(older))
    assert "ccs-broker login own" in finding.mend


@plants("auth-file-not-renewable")
def test_a_login_that_has_ended_for_good(auth: Path, config) -> None:
    put(auth / "own-a.json", login(refresh_token=None, expired="2020-01-01T00:00:00Z"))
    finding = one("auth-file-not-renewable")
    assert finding.severity is Severity.ERROR
    assert finding.mend == "Run: ccs-broker login own"


@plants("auth-file-sealed")
def test_a_sealed_login_in_plain_mode(auth: Path, config) -> None:
    put(auth / "own-a.json", json.dumps({"type": "own", "ccs_broker_sealed": {"v": 1, "data": "canary"}}))
    assert "store.mode" in one("auth-file-sealed").what
    config('[store]\nmode = "sealed"')
    assert found("auth-file-sealed") == ()


@plants("temporary-files")
def test_what_a_dead_writer_left(auth: Path) -> None:
    dead = put(auth / ".ccs-broker-4194305-x.tmp", "canary")
    put(auth / f".ccs-broker-{os.getpid()}-x.tmp", "canary")
    finding = one("temporary-files")
    assert finding.mend == f"Run: rm {dead}"


@plants("broken-copies")
def test_copies_of_broken_files(auth: Path) -> None:
    path = put(auth / ".ccs-broker" / "broken" / "own-a.json.1", "canary")
    finding = one("broken-copies")
    assert (finding.severity, finding.where) == (Severity.INFO, str(path))


@plants("ccs-accounts")
@pytest.mark.parametrize("text", ['{"version": 1, "prov', "[]", '{"version": 1}', "[" * 100_000])
def test_a_damaged_list_of_accounts(auth: Path, text: str) -> None:
    path = put(auth.parent / "accounts.json", text)
    assert f"mv {path} {path}.old" in one("ccs-accounts").mend
    put(path, '{"version": 1, "providers": {}}')
    assert found("ccs-accounts") == ()


@plants("clock-behind")
def test_a_login_from_the_future(auth: Path, config) -> None:
    path = put(auth / "own-a.json", login())
    assert found("clock-behind") == ()
    later = time.time() + 3600
    os.utime(path, (later, later))
    assert one("clock-behind").where == str(path)


# --- state ---


@pytest.fixture
def state(home: Path) -> Path:
    folder = home / ".local" / "state" / "ccs-broker"
    folder.mkdir(parents=True, mode=0o700)
    return folder


@plants("state-dir-mode")
def test_an_open_state_directory(state: Path) -> None:
    state.chmod(0o755)
    assert one("state-dir-mode").mend == f"Run: chmod 700 {state}"


@plants("state-dir-owner")
def test_a_foreign_state_directory(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_away(state, monkeypatch)
    assert one("state-dir-owner").where == str(state)


@plants("state-dir-unwritable")
def test_a_state_directory_that_is_none(home: Path) -> None:
    path = put(home / ".local" / "state" / "ccs-broker", "")
    assert one("state-dir-unwritable").where == str(path)


@plants("state-file-mode")
def test_open_keys_and_copies(state: Path) -> None:
    key = put(state / "seal.key", "canary", 0o644)
    copy = put(state / "unsaved" / "x.json", "canary", 0o660)
    assert [each.mend for each in found("state-file-mode")] == [f"Run: chmod 600 {key}", f"Run: chmod 600 {copy}"]


@plants("state-damaged")
def test_a_database_that_is_none(state: Path) -> None:
    put(state / "state.db", "canary canary canary")
    assert one("state-damaged").severity is Severity.WARNING


@plants("unsaved-grants")
def test_emergency_copies(state: Path) -> None:
    grant = {
        "access_token": "canary",
        "refresh_token": "canary",
        "id_token": None,
        "token_type": "Bearer",
        "expires_at": None,
        "scopes": [],
    }
    copy = {
        "v": 1,
        "account": "own/a@example.com",
        "file": "own-a.json",
        "since": 1.0,
        "replaces": "0" * 32,
        "grant": grant,
    }
    put(state / "unsaved" / "x.json", json.dumps(copy))
    put(state / "unsaved" / "y.json", "canary")
    first, second = found("unsaved-grants")
    assert "own/a@example.com" in first.what
    assert "cannot be read" in second.what
    assert first.severity is Severity.ERROR


@plants("renewal-interrupted")
def test_a_renewal_that_nobody_ends(auth: Path) -> None:
    path = put(auth / ".ccs-broker" / "journal" / "own-a.json.rotation", "canary")
    assert one("renewal-interrupted").where == str(path)
