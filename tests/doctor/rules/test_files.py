from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.doctor.facts import AuthFile, Folder, Key, Kind, Leftover, Registry
from broker.doctor.finding import Finding, SetMode, Severity
from broker.doctor.rules import files as rules
from broker.model.account import AccountId, Record, Tokens
from broker.model.secret import Secret
from broker.store.codec import Fault, FaultKind

NOW = 1_750_000_000.0
FOLDER = Folder(Path("/auth"), "the auth directory", Kind.FOLDER)


def record(
    label: str = "a", *, email: str | None = "a@example.com", subject: str | None = None, ends: float | None = NOW + 1e6
) -> Record:
    return Record(AccountId("own", label), Tokens(Secret("fake-access-1"), expires_at=ends), email, subject)


def login(name: str = "own-a.json", refresh: str | None = "fake-refresh-1", **fields: object) -> AuthFile:
    digest = Secret(refresh).digest() if refresh else None
    values: dict[str, object] = {
        "path": Path("/auth") / name, "paused": False, "mode": 0o600, "mine": True, "owner": 0, "age": 60.0, "record": record(), "refresh": digest,
    }  # fmt: skip
    return AuthFile(**(values | fields))  # type: ignore[arg-type]


def faulty(kind: FaultKind, age: float = 60.0) -> AuthFile:
    return login(fault=Fault(kind, "is faulty"), record=None, refresh=None, age=age)


def ids(findings: Iterable[Finding]) -> list[str]:
    return [each.id for each in findings]


def test_a_sound_folder() -> None:
    assert list(rules.missing(FOLDER)) == list(rules.mode("x", FOLDER)) == list(rules.owner("x", FOLDER)) == []
    assert list(rules.unwritable("x", FOLDER)) == list(rules.parent(FOLDER)) == []


def test_folders_that_are_not_sound() -> None:
    gone = replace(FOLDER, kind=Kind.MISSING)
    assert ids(rules.missing(gone)) == ["auth-dir-missing"]
    assert list(rules.mode("x", replace(gone, mode=0o777))) == []
    (finding,) = rules.mode("x", replace(FOLDER, mode=0o750))
    assert finding.fix == SetMode(FOLDER.path, 0o700)
    assert list(rules.mode("x", replace(FOLDER, mode=0o750, mine=False))) == []
    assert "user 7" in next(rules.owner("x", replace(FOLDER, mine=False, owner=7))).what
    assert "is not a folder" in next(rules.unwritable("x", replace(FOLDER, kind=Kind.OTHER))).what
    assert "cannot be written" in next(rules.unwritable("x", replace(FOLDER, writable=False))).what
    assert "cannot be made" in next(rules.unwritable("x", replace(gone, writable=False))).what
    assert next(rules.parent(replace(FOLDER, open_above=Path("/tmp")))).mend == "Run: chmod go-w /tmp"


def test_a_sound_login() -> None:
    files = [login()]
    checks = (rules.file_mode, rules.file_owner, rules.broken, rules.unknown_type, rules.unusable, rules.from_the_future,
              rules.duplicates, rules.same_tokens)  # fmt: skip
    for check in checks:
        assert list(check(files)) == []
    assert list(rules.sealed(files, sealed_mode=False)) == list(rules.not_renewable(files, NOW)) == []
    assert list(rules.from_the_future([])) == []


def test_modes_and_owners() -> None:
    assert ids(rules.file_mode([login(mode=0o604), login(mode=0o644, mine=False)])) == ["auth-file-mode"]
    assert ids(rules.file_owner([login(mine=False)])) == ["auth-file-owner"]


@pytest.mark.parametrize(
    ("kind", "age", "severity"),
    [
        (FaultKind.HALF, 1.0, Severity.INFO),
        (FaultKind.HALF, 11.0, Severity.ERROR),
        (FaultKind.EMPTY, -5.0, Severity.ERROR),
        (FaultKind.NOT_JSON, 60.0, Severity.ERROR),
    ],
)
def test_broken_files(kind: FaultKind, age: float, severity: Severity) -> None:
    (finding,) = rules.broken([faulty(kind, age)])
    assert finding.severity is severity


def test_each_fault_has_one_check() -> None:
    for kind in FaultKind:
        files = [faulty(kind)]
        told = [
            *ids(rules.broken(files)),
            *ids(rules.unknown_type(files)),
            *ids(rules.unusable(files)),
            *ids(rules.sealed(files, sealed_mode=False)),
        ]
        assert len(told) == (0 if kind is FaultKind.FOREIGN_OWNER else 1), kind
    assert list(rules.sealed([faulty(FaultKind.SEALED)], sealed_mode=True)) == []


@pytest.mark.parametrize(
    ("ends", "refresh", "severity"),
    [
        (None, None, None),
        (NOW - 1, "fake-refresh-1", None),
        (NOW + 90_000, None, None),
        (NOW + 60, None, Severity.WARNING),
        (NOW, None, Severity.ERROR),
    ],
)
def test_logins_that_end(ends: float | None, refresh: str | None, severity: Severity | None) -> None:
    found = list(rules.not_renewable([login(refresh=refresh, record=record(ends=ends))], NOW))
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert list(rules.not_renewable([faulty(FaultKind.HALF)], NOW)) == []


def test_a_file_from_the_future() -> None:
    (finding,) = rules.from_the_future([login(), login("own-b.json", age=-3600.0)])
    assert finding.where == "/auth/own-b.json"


def test_the_same_person_twice() -> None:
    other = login("own-b.json", "fake-refresh-2", record=record("b", email="A@Example.com", ends=NOW + 1))
    (finding,) = rules.duplicates([login(), other, faulty(FaultKind.HALF)])
    assert finding.where == "/auth/own-b.json"
    by_subject = [
        login(record=record(email=None, subject="7")),
        login("own-b.json", "fake-refresh-2", record=record("b", email=None, subject="7")),
    ]
    assert len(list(rules.duplicates(by_subject))) == 1


def test_each_file_is_told_once_however_many_there_are() -> None:
    many = [login(f"own-{n}.json", f"fake-refresh-{n}") for n in range(5)]
    assert [each.where for each in rules.duplicates(many)] == [f"/auth/own-{n}.json" for n in range(4)]
    same = [login(f"own-{n}.json") for n in range(5)]
    assert [each.where for each in rules.same_tokens(same)] == [f"/auth/own-{n}.json" for n in range(4)]
    assert list(rules.duplicates(same)) == []


def test_people_who_only_look_alike() -> None:
    nobody = login("own-b.json", "fake-refresh-2", record=record(email=None))
    stranger = login("own-b.json", "fake-refresh-2", record=record(email="b@example.com"))
    same_token = login("own-b.json")
    for other in (nobody, stranger, same_token):
        assert list(rules.duplicates([login(), other])) == []


@pytest.mark.parametrize(("rotates", "severity"), [(True, Severity.ERROR), (False, Severity.WARNING)])
def test_the_same_token_twice(rotates: bool, severity: Severity) -> None:
    (finding,) = rules.same_tokens([login(), login("own-b.json", age=90.0, rotates=rotates, record=record("b"))])
    assert (finding.severity, finding.where) == (severity, "/auth/own-b.json")
    assert ("renewing" in finding.what) is rotates
    assert list(rules.same_tokens([login(refresh=None), login("own-b.json", None)])) == []


def test_leftovers() -> None:
    left = [Leftover(Path("/x"), 60.0)]
    assert ids(rules.temporaries(left)) == ["temporary-files"]
    assert ids(rules.broken_copies(left)) == ["broken-copies"]
    broken, whole = rules.unsaved([*left, Leftover(Path("/x"), 60.0, AccountId("own", "a"))])
    assert "cannot be read" in broken.what
    assert "of own/a is there" in whole.what
    assert ids(rules.interrupted(left, running=False)) == ["renewal-interrupted"]
    assert ids(rules.interrupted(left, running=True)) == []
    assert ids(rules.interrupted([Leftover(Path("/x"), 301.0)], running=True)) == ["renewal-interrupted"]


def test_state() -> None:
    assert ids(rules.registry([Registry(Path("/a"), None), Registry(Path("/a"), "is not JSON")])) == ["ccs-accounts"]
    assert ids(rules.state_modes([(Path("/k"), 0o600), (Path("/k"), 0o640)])) == ["state-file-mode"]
    assert ids(rules.state_database(Path("/s"), b"SQLite format 3\0")) == []
    assert ids(rules.state_database(Path("/s"), None)) == ids(rules.state_database(Path("/s"), b"")) == []
    assert ids(rules.state_database(Path("/s"), b"nonsense")) == ["state-damaged"]


def test_keys() -> None:
    assert list(rules.key(Key(), Path("/s"))) == []
    (finding,) = rules.key(Key("no key", "Do it."), Path("/s"))
    assert (finding.id, finding.severity) == ("seal-key", Severity.ERROR)
    (finding,) = rules.key(Key("no key", "Do it.", elsewhere=True), Path("/s"))
    assert finding.severity is Severity.INFO
    assert next(rules.key(Key("no key", "Do it.", keyring=True), Path("/s"))).id == "keyring-unusable"
