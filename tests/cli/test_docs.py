"""The documents of this room say what the program does."""

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from broker.cli.app import cli
from broker.cli.exits import MEANING
from broker.cli.settings import toml
from broker.config import Config
from broker.service import units
from broker.settings.changes import RESTART

DOCS = Path(__file__).parents[2] / "docs"


def sections(name: str) -> dict[str, str]:
    """The text of a document by its second-level headings."""
    parts = re.split(r"^## (.+)$", (DOCS / name).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(group: click.Group = cli, before: str = "ccs-broker") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def rows(text: str) -> list[list[str]]:
    """The cells of a table's rows, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


COMMANDS = dict(commands())


def test_every_command_has_its_section_and_no_other() -> None:
    documented = [name for name in sections("cli.md") if name.startswith("ccs-broker")]
    assert sorted(documented) == sorted(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented_and_no_other(name: str) -> None:
    text = sections("cli.md")[name]
    options = {
        word
        for option in COMMANDS[name].params
        if isinstance(option, click.Option) and not option.hidden
        for word in (*option.opts, *option.secondary_opts)
        if word.startswith("--")
    }
    assert set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help"} == options


@pytest.mark.parametrize("name", COMMANDS)
def test_every_query_has_json(name: str) -> None:
    runs = {f"ccs-broker {each}" for each in ("up", "serve", "proxy", "sandbox", "demo", "completion")}
    has = any("--json" in option.opts for option in COMMANDS[name].params)
    assert has is (name not in runs)


def test_exit_codes_are_those_of_the_table() -> None:
    assert {int(code): meaning for code, meaning in rows(sections("cli.md")["Exit codes"])} == {
        int(code): meaning for code, meaning in MEANING.items()
    }


def settings() -> dict[str, dict[str, msgspec.structs.FieldInfo]]:
    """The fields of every table of the config, by the heading it has in the document."""
    found = {}
    for field in msgspec.structs.fields(Config):
        of_tables = typing.get_origin(field.type) is dict
        kind = typing.get_args(field.type)[1] if of_tables else field.type
        heading = f"[{field.name}.NAME]" if of_tables else f"[{field.name}]"
        found[heading] = {inner.name: inner for inner in msgspec.structs.fields(kind)}
    return found


def default_of(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return "unset" if value is None else f"`{toml(value)}`"


def test_every_table_has_its_section_and_no_other() -> None:
    assert [name for name in sections("config.md") if name.startswith("[")] == list(settings())


@pytest.mark.parametrize("heading", settings())
def test_every_setting_stands_with_its_default(heading: str) -> None:
    documented = {name: default for name, default, _ in rows(sections("config.md")[heading])}
    assert documented == {f"`{name}`": default_of(field) for name, field in settings()[heading].items()}


@pytest.mark.parametrize("heading", settings())
def test_what_needs_a_restart_is_marked(heading: str) -> None:
    marked = {name.strip("`") for name, _, text in rows(sections("config.md")[heading]) if "*Needs a restart.*" in text}
    table = heading.strip("[]")
    assert marked == {name.removeprefix(f"{table}.") for name in RESTART if name.startswith(f"{table}.")}


def test_the_page_on_providers_lists_every_setting() -> None:
    documented = [row[0].strip("`") for row in rows(sections("providers.md")["Settings"])]
    assert sorted(documented) == sorted(settings()["[providers.NAME]"])


def choices(kind: object) -> set[str]:
    if typing.get_origin(kind) is typing.Literal:
        return set(typing.get_args(kind))
    return {choice for part in typing.get_args(kind) for choice in choices(part)}


@pytest.mark.parametrize("heading", settings())
def test_every_choice_is_named(heading: str) -> None:
    said = {name.strip("`"): text for name, _, text in rows(sections("config.md")[heading])}
    for name, field in settings()[heading].items():
        for choice in choices(field.type):
            assert f'`"{choice}"`' in said[name]


def test_the_environment_is_documented() -> None:
    sources = " ".join(
        path.read_text() for path in (DOCS.parent / "broker").rglob("*.py") if "sandbox" not in path.parts
    )
    read = set(re.findall(r'"(CCS_[A-Z_]+|XDG_[A-Z]+_(?:HOME|DIR)|STATE_DIRECTORY|BROWSER|[A-Z]+_PROXY)"', sources))
    documented = {
        name for row in rows(sections("config.md")["The environment"]) for name in re.findall(r"`([A-Z_]+)`", row[0])
    }
    assert documented == read


def test_every_unit_is_documented() -> None:
    text = sections("services.md")["systemd"]
    for name in units.systemd_units(units.SYSTEMD_DEFAULTS):
        assert f"`{name}`" in text
    for label in (units.DAEMON_LABEL, units.PROXY_LABEL):
        assert f"`{label}`" in sections("services.md")["launchd"]
    assert f"{units.STOP_SECONDS} seconds" in text


def test_links_lead_somewhere() -> None:
    for name in ("cli.md", "config.md", "services.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (DOCS / name).read_text()):
            assert (DOCS / target).exists(), f"{name} -> {target}"
