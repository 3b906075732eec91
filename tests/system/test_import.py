"""`ccs-broker import` as a person runs it, where no daemon runs: real processes in a home of its own. No file here lets a provider be asked."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.native import golden, jwt
from tests.system.rotation.homes import ROOT


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's tmp_path: socket paths must stay short.
    with tempfile.TemporaryDirectory(prefix="ccsb-") as folder:
        yield Path(folder)


def ccs_broker(home: Path, *arguments: str, code: int = 0) -> dict[str, object]:
    environ = {
        "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), "HOME": str(home), "CCS_BROKER_RUNTIME_DIR": str(home / "run"),
    }  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-m", "broker", *arguments, "--json"],
        env=environ, cwd=home, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert "fake-" not in ended.stdout + ended.stderr, "a token is shown"
    told = json.loads(ended.stdout)
    assert isinstance(told, dict)
    return told


def everything(home: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file() and not {".local", ".ccs-broker"} & {*path.parts}
    }


def test_a_trial_changes_nothing_and_the_import_does_what_it_said(home: Path) -> None:
    codex = golden("codex", "auth.json")
    section = codex["tokens"]
    assert isinstance(section, dict)
    claims = {
        "email": "ann@example.com",
        "sub": "7",
        "https://api.openai.com/auth": {"chatgpt_account_id": "account-1", "chatgpt_plan_type": "plus"},
    }
    codex["tokens"] = {**section, "id_token": jwt(claims), "access_token": jwt({"exp": 4_102_444_800})}
    for name, document in (
        (".codex/auth.json", codex), (".claude/.credentials.json", golden("claude-code", "blank.json")),
        (".config/github-copilot/apps.json", golden("copilot", "blank.json")),
    ):  # fmt: skip
        path = home / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document))
    before = everything(home)

    trial = ccs_broker(home, "import", "all", "--dry-run", "--linked")
    assert (trial["dry_run"], trial["adopted"]) == (True, [])
    assert everything(home) == before
    by_tool = {each["tool"]: each for each in trial["logins"]}  # type: ignore[attr-defined]
    assert by_tool["codex"]["action"] == "added"
    assert {by_tool[name]["action"] for name in ("claude-code", "copilot")} == {"refused"}
    assert "No lock of Codex's is known" in by_tool["codex"]["notes"][0]

    done = ccs_broker(home, "import", "codex", "--linked")
    assert done["adopted"] == ["codex/ann@example.com"]
    after = everything(home)
    assert {name: after[name] for name in before} == before, "the programs' own files are as they were"
    (made,) = (Path(name) for name in after.keys() - before.keys() if name.endswith(".json"))
    assert made.parent == home / ".ccs" / "cliproxy" / "auth"
    assert made.stat().st_mode & 0o777 == 0o600
    document = json.loads(made.read_bytes())
    assert document["type"] == "codex"
    assert document["ccs_broker"]["linked"]["path"] == str(home / ".codex" / "auth.json")
