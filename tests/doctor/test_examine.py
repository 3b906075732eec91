"""The examination as a whole: every check is there, is planted somewhere, and falls alone; `--fix` mends and no more."""

import ast
import os
import stat
from pathlib import Path

import pytest

from broker.doctor.catalogue import BY_ID, IDS
from broker.doctor.examine import CHECKS, examine
from broker.doctor.finding import Severity
from broker.doctor.scene import Scene, Surroundings
from broker.system import SystemClock
from tests.doctor.planting import ACCESS, REFRESH, login, put
from tests.fakes.clock import FakeClock

HERE = Path(__file__).parent


def planted() -> set[str]:
    """What tests say they plant."""
    found: set[str] = set()
    for path in HERE.glob("test_planted_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "plants":
                found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def test_every_check_of_the_catalogue_is_made_and_planted() -> None:
    assert tuple(CHECKS) == IDS
    assert planted() == set(IDS)


def around(**fields: object) -> Surroundings:
    return Surroundings(os.environ, SystemClock(), answer_seconds=1.0, **fields)  # type: ignore[arg-type]


def test_a_bare_home_is_examined_without_a_fall(home: Path) -> None:
    report = examine(around())
    assert report.checked == IDS
    assert "could not be made" not in str(report)
    ids = {each.id for each in report.findings}
    assert {"auth-dir-missing", "daemon-down", "no-accounts"} <= ids
    assert all(bool(each.fix) <= BY_ID[each.id].fixes for each in report.findings)


def test_one_check_that_falls_takes_no_other_with_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(scene: Scene) -> list[None]:
        raise RuntimeError("canary")

    monkeypatch.setitem(CHECKS, "disk-space", fall)
    (finding, *_) = examine(around(), ("disk-space", "auth-dir-missing")).findings
    assert (finding.id, finding.severity) == ("disk-space", Severity.WARNING)
    assert finding.what == "This check could not be made: RuntimeError"
    assert len(examine(around(), ("disk-space", "auth-dir-missing")).findings) == 2


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_fixing_mends_what_is_safe_and_nothing_else(auth: Path, config, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = auth.parent / "run"
    sockets.mkdir(mode=0o755)
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(sockets))
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(sockets / "broker.sock"))
    text = login()
    path = put(auth / "own-a.json", text, 0o644)
    broken = put(auth / "own-b.json", "", 0o600)
    left = put(auth / ".ccs-broker-4194305-x.tmp", "canary")
    auth.chmod(0o755)
    before = path.stat()

    report = examine(around(), fix=True)

    assert (mode(auth), mode(path), mode(sockets)) == (0o700, 0o600, 0o700)
    assert not left.exists()
    assert not (sockets / "broker.sock").exists()
    assert path.read_text() == text
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert broken.exists()
    assert {each.id for each in report.repairs} >= {
        "auth-dir-mode",
        "auth-file-mode",
        "socket-dir-mode",
        "socket-stale",
        "temporary-files",
    }
    assert all(each.refused == "" for each in report.repairs)
    assert not [each for each in report.findings if each.fix is not None]
    assert "auth-file-broken" in {each.id for each in report.findings}


def test_fixing_makes_the_auth_directory(home: Path) -> None:
    report = examine(around(), ("auth-dir-missing",), fix=True)
    assert report.findings == ()
    assert mode(home / ".ccs" / "cliproxy" / "auth") == 0o700


def test_fixing_a_sound_home_does_nothing(auth: Path) -> None:
    report = examine(around(), ("auth-dir-missing", "auth-dir-mode"), fix=True)
    assert (report.findings, report.repairs) == ((), ())


def test_no_secret_is_told(auth: Path, config, home: Path) -> None:
    config('[proxy]\napi_keys = ["canary-key-12345"]\n').chmod(0o644)
    for number, text in enumerate([login(), login(email=None), f'{{"type": "own", "x": "{REFRESH}', f'["{ACCESS}"]']):
        put(auth / f"own-{number}.json", text, 0o644)
    put(home / ".tool" / "a.json", login())
    told = str(examine(around(), fix=True))
    assert "own-2.json" in told
    assert "canary" not in told


def test_looking_changes_nothing(auth: Path, config) -> None:
    put(auth / "own-a.json", login(), 0o644)
    put(auth / "own-b.json", "", 0o644)
    put(auth.parent / "accounts.json", "{")

    def state() -> list[tuple[str, int, int]]:
        home = auth.parents[2]
        return [(str(each), each.stat().st_mode, each.stat().st_ctime_ns) for each in sorted(home.rglob("*"))]

    before = state()
    examine(around())
    assert state() == before


def test_the_clock_is_read_once() -> None:
    clock = FakeClock()
    scene = Scene(Surroundings({}, clock))
    assert scene.now == clock.now().wall


FILES = sorted((HERE.parent / "golden" / "auth").glob("*/*.json"))


def test_files_of_every_provider_and_age_are_understood(auth: Path, home: Path) -> None:
    assert FILES
    for number, path in enumerate(FILES):
        put(auth / f"{path.parent.name}-{number}.json", path.read_text())
    report = examine(around())
    assert "could not be made" not in str(report)
    faults = {"auth-file-unknown-type", "auth-file-unusable", "auth-file-broken"}
    assert [each for each in report.findings if each.id in faults] == []


def test_every_registered_provider_is_asked_for_its_registration(auth: Path) -> None:
    scene = Scene(around())
    assert {each.provider for each in scene.registrations} <= set(scene.registry.names)
    named = {each.where for each in examine(around(), ("client-secret-missing",)).findings}
    secretive = {f"providers.{each.name}" for each in scene.registry if each.needs_secret and each.flows}
    assert named <= secretive
