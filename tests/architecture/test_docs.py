"""Documents point at things that exist, and hold nothing that should not be committed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.imports import ROOT

DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
# Shapes of real secrets. Fixtures are obviously fake; these would not be.
REAL = re.compile(
    r"GOCSPX-[A-Za-z0-9_-]{10}|AIza[0-9A-Za-z_-]{30}|ya29\.[0-9A-Za-z_-]{30}|sk-ant-[a-z]{3}[0-9]{2}-[A-Za-z0-9_-]{20}"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_document_can_be_found_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [path.name for path in (ROOT / "docs").glob("*.md") if f"docs/{path.name}" not in readme]
    assert not missing, f"the README does not link {missing}"


def test_the_map_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| P1 |") : text.index("### What is not promised")]
    for name in re.findall(r"`((?:[a-z]+/)+[a-z_]*)`", table):
        path = ROOT / "tests" / name
        assert path.is_dir() or path.with_suffix(".py").exists(), f"architecture.md names {name}"


def test_the_page_on_reliability_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    names = re.findall(r"`((?:[a-z]+/)+test_[a-z_]+)`", text)
    assert len(names) > 20
    for name in names:
        assert (ROOT / "tests" / f"{name}.py").exists(), f"reliability.md names {name}"


def test_nothing_that_looks_like_a_real_secret_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            assert not REAL.search(path.read_text(errors="replace")), f"{name} holds what looks like a real secret"
