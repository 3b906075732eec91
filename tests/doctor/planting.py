"""What tests that plant faults share: files of a made-up provider, and one way to run a single check through the real command."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from broker.doctor.examine import examine
from broker.doctor.finding import Finding
from broker.doctor.scene import Surroundings
from broker.system import SystemClock

F = TypeVar("F", bound=Callable[..., object])

ACCESS, REFRESH = "canary-access-7d1f" + "0" * 16, "canary-refresh-90ab" + "0" * 16
OWN = '[providers.own]\nkind = "oauth2"\ntoken_url = "https://id.example/token"\nauthorize_url = "https://id.example/a"\nclient_id = "fake-client"\n'


def plants(*_ids: str) -> Callable[[F], F]:
    """Mark a test as the one that plants these faults; test_examine.py reads the marks from the source."""
    return lambda function: function


def login(**fields: object) -> str:
    """The text of an auth file of the provider `own`."""
    document: dict[str, object] = {
        "type": "own", "access_token": ACCESS, "refresh_token": REFRESH, "email": "a@example.com", "expired": "2096-05-01T10:20:30Z",
    }  # fmt: skip
    kept = {key: value for key, value in (document | fields).items() if value is not None}
    return json.dumps(kept)


def put(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file and the private folders above it."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700)
    path.write_text(text)
    path.chmod(mode)
    return path


def found(id_: str, env: Mapping[str, str] | None = None, **around: object) -> tuple[Finding, ...]:
    """Make one check in this process, in the environment as it is or with `env` over it; nothing secret may be told."""
    surroundings = Surroundings({**os.environ, **(env or {})}, SystemClock(), **around)  # type: ignore[arg-type]
    findings = examine(surroundings, (id_,)).findings
    assert "could not be made" not in str(findings), findings
    for each in findings:
        assert each.id == id_
        assert each.what
        assert each.mend
        assert "canary" not in str(each)
    return findings


def one(id_: str, env: Mapping[str, str] | None = None, **around: object) -> Finding:
    """Make one check that must find one fault."""
    findings = found(id_, env, **around)
    assert len(findings) == 1, findings
    return findings[0]


def given_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` another user's: really where we may, else by being another user ourselves."""
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        other = os.getuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: other)
