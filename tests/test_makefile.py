"""`make` in a fresh clone: what it says where Python cannot be used, and that `make help` tells of every target."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.architecture.imports import ROOT

TOOLS = ("make", "sh", "rm", "mkdir", "touch", "echo")
# A Python new enough whose `-m venv` stops half-way, as Debian's does without its package; $BROKEN says what importing ensurepip and venv comes to.
HALF = """#!/bin/sh
case "$*" in
  "-m venv"*) mkdir -p .venv/bin; echo "ensurepip is not available"; exit 1;;
  *ensurepip*) exit $BROKEN;;
  *venv*) echo python3.11-venv;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, and a `bin` with what a machine has: no Python yet."""
    if any(shutil.which(tool) is None for tool in TOOLS):
        pytest.skip("make is not installed")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(str(shutil.which(tool)))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make(clone: Path, target: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", target],
        cwd=clone,
        env={"PATH": str(clone / "bin"), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def give(clone: Path, name: str, text: str) -> None:
    path = clone / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_without_python_it_says_which_one_it_needs(clone: Path, target: str) -> None:
    ended = make(clone, target)
    assert ended.returncode != 0
    assert "needs Python 3.11 or newer" in ended.stderr


def test_a_python_that_is_too_old_is_passed_over(clone: Path) -> None:
    give(clone, "python3", "#!/bin/sh\nexit 1\n")
    assert "none of these is: python3" in make(clone, "demo").stderr
    give(clone, "python3.12", HALF)
    assert "python3.12 has no usable venv module" in make(clone, "demo", BROKEN="1").stderr


def test_without_venv_it_says_which_package_is_missing_and_leaves_nothing_behind(clone: Path) -> None:
    give(clone, "python3", HALF)
    ended = make(clone, "demo", BROKEN="1")
    assert ended.returncode != 0
    assert "apt install python3-venv (or python3.11-venv)" in ended.stderr
    assert not (clone / ".venv").exists()


def test_a_venv_that_fails_for_another_reason_is_told_in_its_own_words(clone: Path) -> None:
    give(clone, "python3", HALF)
    ended = make(clone, "demo", BROKEN="0")
    assert "python3 -m venv failed:" in ended.stderr
    assert "ensurepip is not available" in ended.stderr


def test_help_tells_of_every_target(clone: Path) -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)
    assert targets is not None
    told = set(re.findall(r"^make ([a-z-]+)", make(clone, "help").stdout, re.MULTILINE))
    assert told == set(targets[1].split()) - {"help"}
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
