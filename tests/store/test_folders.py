from pathlib import Path

import pytest

from broker.store.folders import Folders, file_name, is_auth_name, own_name
from broker.store.table import Place

FOLDERS = Folders(Path("/x/auth"))


def test_paths() -> None:
    assert FOLDERS.paused == Path("/x/auth-paused")
    assert FOLDERS.path(Place(0, "a.json")) == Path("/x/auth/a.json")
    assert FOLDERS.path(Place(0, "a.json", paused=True)) == Path("/x/auth-paused/a.json")
    assert FOLDERS.lock_file("a.json") == Path("/x/auth/.ccs-broker/locks/a.json.lock")
    assert FOLDERS.journal_file("a.json") == Path("/x/auth/.ccs-broker/journal/a.json.rotation")
    assert FOLDERS.broken == Path("/x/auth/.ccs-broker/broken")
    assert FOLDERS.daemon_lock == Path("/x/auth/.ccs-broker/daemon.lock")


def test_own_names_fit_and_differ() -> None:
    one, two = own_name("a" * 240 + "1.json", ".rotation"), own_name("a" * 240 + "2.json", ".rotation")
    assert one != two
    assert one.endswith(".rotation")
    assert len(one) < 255
    assert own_name("\udcff.json", ".lock") == "\udcff.json.lock"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a.json", True),
        ("A.JSON", True),
        (".a.json", False),
        ("a.json.tmp", False),
        (".oauth-x.oauth", False),
        ("json", False),
    ],
)
def test_auth_names(name: str, is_one: bool) -> None:
    assert is_auth_name(name) is is_one


@pytest.mark.parametrize(
    ("wanted", "number", "made"),
    [
        ("gemini-a@b.c-p.json", 1, "gemini-a@b.c-p.json"),
        ("gemini-a@b.c-p.json", 3, "gemini-a@b.c-p-3.json"),
        ("../../etc/passwd", 1, "passwd.json"),
        ("..\\evil.json", 1, "evil.json"),
        (".hidden.json", 1, "hidden.json"),
        ('a:b*"\n.json', 1, "a_b___.json"),
        ("", 1, "login.json"),
        ("..", 1, "login.json"),
    ],
)
def test_new_names_are_plain_file_names(wanted: str, number: int, made: str) -> None:
    assert file_name(wanted, number) == made
    assert is_auth_name(made)


def test_a_long_name_is_cut_between_characters() -> None:
    made = file_name("ä" * 300, 1)
    assert len(made.encode()) <= 205
    assert set(made.removesuffix(".json")) == {"ä"}
