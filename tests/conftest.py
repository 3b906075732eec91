"""What all tests share: examples of properties have no time limit, since a busy machine is no fault of the code, and are the same in every run, so that a
change is judged by what it changed; tests marked `faults` draw new ones. Figures are shown at the end.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("broker", deadline=None, derandomize=True)
settings.load_profile("broker")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder of the test's own with a short name: pytest's own, under xdist, leaves no room for the name of a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="ccsb-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured (their property `figure`)."""
    reports = [each for kind in ("passed", "failed") for each in terminalreporter.getreports(kind)]
    figures = [
        str(text) for each in reports if each.when == "call" for name, text in each.user_properties if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures")
    for text in figures:
        terminalreporter.line(text)
