"""`config`: what the settings are, and whether they can work.

Owns: settings as TOML, and the checks that need more than the file's text: folders, socket paths, providers. Secrets are shown as hidden.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker import paths
from broker.cli import output
from broker.cli.options import ask, json_option, read_config
from broker.cli.results import Checked, ConfigFault, Finding, Reloaded, Setting, Settings
from broker.model.errors import BrokerError, ErrorCode, SettingError

if TYPE_CHECKING:
    from broker.config import Config, Loaded
    from broker.providers.registry import Registry
    from broker.settings.refusal import Located


@click.group()
def config() -> None:
    """Show and check the config file."""


@config.command()
@click.option("--effective", is_flag=True, help="What the running daemon goes by, also where the file says nothing.")
@json_option
def show(effective: bool) -> Settings:
    """Print every setting as it stands and where it comes from; defaults are dimmed, keys are hidden."""
    if effective and (running := _running()) is not None:
        return running
    loaded = read_config()
    return Settings(str(loaded.file), loaded.exists, tuple(settings_of(loaded, effective=effective)))


@config.command()
@json_option
def check() -> Checked:
    """Say whether the daemon and the proxy can work with the config. Exit code 1 if not, 2 where the file has faults."""
    from broker.providers.registry import build
    from broker.settings.refusal import ConfigError, located

    file = paths.config_file()
    try:
        loaded = read_config()
        try:
            registry = build(loaded.config.providers)
        except SettingError as error:
            raise located(error, str(file), loaded.lines) from None
    except ConfigError as error:
        return Checked(str(file), (), tuple(_fault(error.file, each) for each in error.faults))
    return Checked(str(file), tuple(_findings(loaded, registry)))


@config.command("reload")
@json_option
def reload_() -> Reloaded:
    """Have the daemon read the file again now. It does so by itself when the file changes, and so does the proxy."""
    from broker.ipc.config_view import ReloadAnswer

    return Reloaded(ask(ReloadAnswer, "POST", "/v1/config/reload"))


def settings_of(loaded: "Loaded", *, effective: bool = False) -> Iterator[Setting]:
    """Yield every setting of a file, in the order of the tables, those that are not set left out; with `effective` what stands in for them."""
    from broker.settings import effective as listing

    stand_ins = {}
    if effective:
        from broker.daemon.configs import elsewhere

        stand_ins = elsewhere(loaded.config, os.environ)
    for each in listing.effective(loaded.config, loaded, stand_ins):
        if each.value is not None:
            where = origin(each.origin, each.line, each.variable)
            yield Setting(each.key, each.value, toml(each.value), each.value == each.default, where)


def origin(kind: str, line: int | None, variable: str | None) -> str:
    """Say where a setting comes from."""
    return f"line {line}" if line is not None else f"${variable}" if variable is not None else kind


def _running() -> Settings | None:
    """Ask the daemon; None where there is none, which is told."""
    from broker.ipc.config_view import ConfigView

    try:
        view = ask(ConfigView, "GET", "/v1/config")
    except BrokerError as error:
        if error.code is not ErrorCode.DAEMON_UNREACHABLE:
            raise
        output.notice("No daemon is running; this is what the file says.")
        return None
    settings = tuple(
        Setting(
            each.key,
            each.value,
            toml(each.value),
            each.value == each.default,
            origin(each.origin, each.line, each.variable),
            None if each.pending is None else toml(each.pending),
        )
        for each in view.settings
        if each.value is not None
    )
    return Settings(view.file, view.exists, settings, running=True, problem=view.problem)


def _fault(file: str, fault: "Located") -> ConfigFault:
    from broker.settings.checks import dotted

    key = dotted(fault.key) if fault.key else None
    return ConfigFault(file, fault.line, fault.column, key, fault.text, fault.said(file))


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
            said = {key: inner for key, inner in value.items() if inner is not None}
            inside = ", ".join(f"{json.dumps(key)} = {toml(inner)}" for key, inner in said.items())
            return f"{{ {inside} }}" if inside else "{}"
        case list() | tuple():
            return f"[{', '.join(toml(each) for each in value)}]"
        case _:
            raise TypeError(f"no TOML form for {type(value).__name__}")


def _findings(loaded: "Loaded", registry: "Registry") -> Iterator[Finding]:
    import asyncio

    file, config = loaded.file, loaded.config
    yield Finding("config", f"{file}" if file.exists() else f"{file} does not exist; every setting is the default")
    for folder in config.auth_directories():
        yield _folder("auth directory", folder)
    yield _folder("state directory", paths.state_dir())
    for name in (paths.TOKEN_SOCKET, paths.CONTROL_SOCKET):
        yield _socket(name)
    yield _local_keys(paths.local_keys_file())
    yield _outbound(config)
    yield from _upstreams(loaded)
    yield from _models(loaded)
    yield from _payload(loaded)
    yield from asyncio.run(_registrations(loaded, registry))


def _line(loaded: "Loaded", *key: str) -> int | None:
    from broker.settings.lines import line_of

    return line_of(key, loaded.lines)


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


def _outbound(config: "Config") -> Finding:
    """Say by which way an https host that nothing else is said of is reached from here; services have an environment of their own."""
    from broker.model.network import PROXY_HINT, ProxyServer, Target, Unusable
    from broker.network.settings import network_of

    route = network_of(config, os.environ).route(None, None, Target("", 443))
    if isinstance(route.setting, Unusable):
        return Finding("outbound proxy", route.source, f"{route.source} {route.setting.why}", PROXY_HINT)
    way = route.setting.shown if isinstance(route.setting, ProxyServer) else "none"
    return Finding("outbound proxy", f"{way} ({route.source})")


def _upstreams(loaded: "Loaded") -> Iterator[Finding]:
    """Look for tables that no API goes by: they would do nothing."""
    from broker.proxy.upstreams.base import Kind

    for name in sorted(loaded.config.upstreams.keys() - set(Kind)):
        told, known = "the proxy knows no API of this name", f"Known are: {', '.join(sorted(Kind))}."
        yield Finding(f"upstream {name}", "", told, known, _line(loaded, "upstreams", name))


def _models(loaded: "Loaded") -> Iterator[Finding]:
    """Look for models that nobody serves: their tables would do nothing."""
    from broker.proxy.catalog import idle
    from broker.proxy.upstreams.table import PROVIDERS

    for name, told in idle(loaded.config.models, PROVIDERS):
        known = f"Known are: {', '.join(sorted(PROVIDERS))}."
        yield Finding(f"model {name}", "", told, known, _line(loaded, "models", name))


def _payload(loaded: "Loaded") -> Iterator[Finding]:
    """Look for rules that fit no upstream: they would do nothing."""
    from broker.proxy.policies import unknown

    for key, known in unknown(loaded.config.payload):
        yield Finding(key, "", "the proxy knows none of this name", known, _line(loaded, *key.split(".")))


async def _registrations(loaded: "Loaded", registry: "Registry") -> list[Finding]:
    """Look for each provider's client registration as a login would. A built-in provider without one is no fault: it may not be wanted."""
    from broker.daemon.outbound import Outbound
    from broker.login.clients import Clients
    from broker.login.credentials import Credentials, file_of
    from broker.system import SystemClock

    config = loaded.config
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
                line = _line(loaded, "providers", provider.name) if wanted else None
                found.append(Finding(subject, told, error.detail if wanted else None, error.hint, line))
    finally:
        await outbound.close()
    return found
