"""The document about clients names the versions that are tried."""

import re
from pathlib import Path

from tests.clients.table import PROGRAMS, SDKS

DOC = (Path(__file__).parents[1] / "docs" / "clients.md").read_text()


def test_versions_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| ([\w -]+?)(?: \([^|]*\))? \| ([\d., ]+) \|", DOC, flags=re.MULTILINE)
    told = {name.lower().replace(" ", "-"): version.split(", ") for name, version in rows}
    tried: dict[str, list[str]] = {program.name: [program.version] for program in PROGRAMS}
    for sdk in SDKS:
        tried.setdefault(sdk.package, []).append(sdk.version)
    assert told == tried
