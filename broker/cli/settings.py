"""`config`: what the settings are, and whether they can work.

Owns: walking the config's tables, and the checks that need more than the file's text: folders, socket paths, providers. Secrets are shown as hidden.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker import paths
from broker.cli.options import json_option, load_config
from broker.cli.results import Checked, Finding, Setting, Settings
from broker.model.errors import BrokerError
from broker.model.secret import Secret

if TYPE_CHECKING:
    import msgspec

    from broker.config import Config
    from broker.providers.registry import Registry

_HIDDEN = "(hidden)"


@click.group()
def config() -> None:
    """Show and check the config file."""


@config.command()
@json_option
def show() -> Settings:
    """Print every setting as it stands; defaults are dimmed, keys are hidden."""
    file = paths.config_file()
    return Settings(str(file), file.exists(), tuple(settings_of(load_config())))


@config.command()
@json_option
def check() -> Checked:
    """Say whether the daemon and the proxy can work with the config. Exit code 1 if not."""
    file = paths.config_file()
    return Checked(str(file), tuple(_findings(file, load_config())))


def settings_of(config: "Config") -> Iterator[Setting]:
    """Yield every setting of every table, in the file's order. Settings of a provider that are not set are left out."""
    import msgspec

    for section in config.__struct_fields__:
        table = getattr(config, section)
        if isinstance(table, msgspec.Struct):
            yield from _table(section, table)
            continue
        for name, inner in table.items():
            yield from _table(f"{section}.{name}", inner)


def toml(value: object) -> str:
    """Write one value as TOML."""
    import json

    match value:
        case bool():
            return "true" if value else "false"
        case str():
            # A JSON string is a TOML basic string, but for DEL.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case int() | float():
            return repr(value)
        case dict():
            inside = ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(toml(each) for each in value)}]"
        case _:
            raise TypeError(f"no TOML form for {type(value).__name__}")


def _table(name: str, table: "msgspec.Struct") -> Iterator[Setting]:
    defaults = {info.name: info.default for info in _fields(table)}
    for field in table.__struct_fields__:
        value = getattr(table, field)
        if value is None:
            continue
        shown = _shown(value)
        yield Setting(f"{name}.{field}", shown, toml(shown), default=value == defaults[field])


def _fields(table: "msgspec.Struct") -> "Iterator[msgspec.structs.FieldInfo]":
    import msgspec

    for info in msgspec.structs.fields(table):
        if info.default_factory is not msgspec.NODEFAULT:
            info.default = info.default_factory()
        yield info


def _shown(value: object) -> object:
    if isinstance(value, Secret):
        return _HIDDEN
    if isinstance(value, tuple):
        return [_shown(each) for each in value]
    return value


def _findings(file: Path, config: "Config") -> Iterator[Finding]:
    yield Finding("config", f"{file}" if file.exists() else f"{file} does not exist; every setting is the default")
    for folder in config.auth_directories():
        yield _folder("auth directory", folder)
    yield _folder("state directory", paths.state_dir())
    for name in (paths.TOKEN_SOCKET, paths.CONTROL_SOCKET):
        yield _socket(name)
    yield _local_keys(paths.local_keys_file())
    yield from _upstreams(config)
    yield from _providers(config)


def _folder(subject: str, folder: Path) -> Finding:
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        return Finding(subject, str(folder), f"{nearest} is not a folder", "Move it away, or set another directory.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(subject, str(folder), f"{nearest} cannot be written", "Mend its permissions.")
    return Finding(subject, str(folder) if nearest == folder else f"{folder} (will be made)")


def _socket(name: str) -> Finding:
    try:
        return Finding("socket", str(paths.socket_path(name, paths.runtime_dir())))
    except BrokerError as error:
        return Finding("socket", name, error.detail, error.hint)


def _local_keys(file: Path) -> Finding:
    from broker.proxy.keyfile import read

    try:
        keys = read(file)
    except BrokerError as error:
        return Finding("local keys", str(file), error.detail, error.hint)
    mode = stat.S_IMODE(file.stat().st_mode) if file.exists() else 0
    if mode & 0o077:
        told = f"{file} can be read by other users (mode {mode:04o})"
        return Finding("local keys", str(file), told, f"Run: chmod 600 {file}")
    return Finding("local keys", f"{len(keys)} in {file}" if keys else "none")


def _upstreams(config: "Config") -> Iterator[Finding]:
    """Look for tables that no API goes by: they would do nothing."""
    from broker.proxy.upstreams.base import Kind

    for name in sorted(config.upstreams.keys() - set(Kind)):
        told = "the proxy knows no API of this name"
        yield Finding(f"upstream {name}", "", told, f"Known are: {', '.join(sorted(Kind))}.")


def _providers(config: "Config") -> Iterator[Finding]:
    from broker.providers.registry import build

    try:
        registry = build(config.providers)
    except BrokerError as error:
        yield Finding("providers", "", error.detail, error.hint)
        return
    import asyncio

    yield from asyncio.run(_registrations(config, registry))


async def _registrations(config: "Config", registry: "Registry") -> list[Finding]:
    """Look for each provider's client registration as a login would. A built-in provider without one is no fault: it may not be wanted."""
    from broker.daemon.outbound import Outbound
    from broker.login.clients import Clients
    from broker.login.credentials import Credentials, file_of
    from broker.system import SystemClock

    outbound = Outbound(timeout=config.refresh.request_timeout_seconds)
    listed = Credentials(file_of(config, os.environ), registry.names, config.providers)
    clients = Clients(config.providers, config.auth_directories(), outbound, SystemClock(), credentials=listed)
    found = []
    try:
        for provider in registry:
            subject = f"provider {provider.name}"
            try:
                if provider.flows:
                    await clients.find(provider)
                found.append(Finding(subject, provider.title))
            except BrokerError as error:
                wanted = provider.name in config.providers
                told = f"no login can be started yet: {error.detail}"
                found.append(Finding(subject, told, error.detail if wanted else None, error.hint))
    finally:
        await outbound.close()
    return found
