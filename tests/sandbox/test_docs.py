"""docs/sandbox.md names every fault, setting, target and directive, and nothing else."""

import re
from pathlib import Path
from typing import get_args

import msgspec

from broker.sandbox.answers import Pace
from broker.sandbox.faults import Fault, Target
from broker.sandbox.settings import SandboxSettings

TEXT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")


def rows(section: str) -> list[str]:
    """Return the first cells of a section's last table, without its head."""
    body = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (text,) = [part for part in body if part.startswith(section)]
    table = text.rstrip().split("\n\n")
    lines = [part for part in table if part.startswith("|")][-1].splitlines()[2:]
    return [line.split("|")[1] for line in lines]


def names(cells: list[str]) -> list[str]:
    return [name for cell in cells for name in re.findall(r"`([a-z_]+)", cell)]


def test_faults_and_their_fields():
    body = TEXT.split("\n## Faults", 1)[1].split("\n## ", 1)[0]
    kinds = {str(kind.__struct_config__.tag): kind for kind in get_args(Fault)}
    assert names(rows("Faults")) == list(kinds)
    for name, kind in kinds.items():
        (line,) = [line for line in body.splitlines() if line.startswith(f"| `{name}` ")]
        assert re.findall(r"`([a-z_]+)`", line.split("|")[2]) == list(kind.__struct_fields__)
    assert all(f"`{target}`" in body for target in Target)


def test_settings_and_their_defaults():
    assert names(rows("Settings")) == list(SandboxSettings.__struct_fields__)
    defaults = msgspec.to_builtins(SandboxSettings())
    for line in (
        line for line in TEXT.splitlines() if re.match(r"\| `(access|rotate|grace|require|shape|quota|users)", line)
    ):
        name, told = (cell.strip().strip("`") for cell in line.split("|")[1:3])
        value = defaults[name]
        assert told == (value if isinstance(value, str) else msgspec.json.encode(_plain(value)).decode())


def test_directives():
    assert sorted(names(rows("What the upstream answers"))) == sorted(Pace.__struct_fields__)


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) else value
