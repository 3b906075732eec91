"""Documents point at things that exist, and hold nothing that should not be committed."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.imports import ROOT, is_pure, modules, room

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
        assert (ROOT / "tests" / f"{name}.py").exists(), f"architecture.md names {name}"


def test_the_map_has_every_room_and_names_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| room |") : text.index("An arrow points")]
    cells = [line.split("|") for line in table.splitlines()[2:] if line.startswith("|")]
    named = [(re.findall(r"`(\w+)`", of), re.findall(r"`([a-z_]+)`", what)) for _, of, what, _ in cells]
    assert {each for rooms, _ in named for each in rooms} == {room(module) for module in modules()} - {"", "__main__"}
    for (first, *more), names in named:
        for name in [] if more else names:
            path = ROOT / "broker" / first / name
            assert path.is_dir() or path.with_suffix(".py").exists(), f"architecture.md names {first}/{name}"


def test_what_the_map_calls_pure_is_pure() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("| room |") : text.index("An arrow points")]
    pure = set()
    for line in table.splitlines()[2:]:
        if len(cells := line.split("|")) == 4:
            of = re.findall(r"`(\w+)`", cells[1])[0]
            pure |= {f"broker.{of}"} if "*" in cells[1] else set()
            pure |= {f"broker.{of}.{name}" for name in re.findall(r"`([a-z_]+)` \*", cells[2])}
    assert len(pure) > 20
    within = [name for name in modules() for each in pure if name == each or name.startswith(f"{each}.")]
    assert not [name for name in within if not is_pure(name)]


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
