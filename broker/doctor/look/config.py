"""Looking at the config file and what its settings name. Asks no network."""

import asyncio
import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker import paths
from broker.config import Config
from broker.doctor.facts import AuthFile, ConfigFile, CredentialsFile, Registration, SecretFile
from broker.doctor.rules.config import unknown_in
from broker.login.clients import Clients
from broker.login.credentials import FILE_MAX, Credentials, file_of
from broker.login.private import read_private
from broker.model.errors import BrokerError
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import NotSentError, Transport
from broker.providers import credentials
from broker.providers.base import Provider
from broker.providers.registry import Registry
from broker.settings.reading import load
from broker.system import SystemClock

Env = Mapping[str, str]

_CREDENTIALS = "provider-credentials.json"


class _NoNetwork:
    """A transport that sends nothing."""

    def on_behalf(self, provider: str, own: Secret | None = None) -> Transport:  # noqa: ARG002 - the protocol's signature
        return self

    async def send(self, request: HttpRequest, *, connected: object = None, heard: object = None) -> HttpResponse:  # noqa: ARG002 - the protocol's signature
        raise NotSentError("the doctor asks no provider")


def config_file(env: Env) -> ConfigFile:
    """Read the config file; never raises."""
    path = paths.config_file(env)
    config, fault = Config(), None
    try:
        config = load(path if env.get("CCS_BROKER_CONFIG") else None)
    except BrokerError as error:
        fault = error.detail
    tree = _tree(path)
    try:
        info = path.stat()
    except OSError:
        return ConfigFile(path, False, config, fault)
    unknown = unknown_in(tree) if fault is not None else {}
    keys = bool(_section(tree, "proxy").get("api_keys"))
    mine = info.st_uid in (0, os.geteuid())
    return ConfigFile(path, True, config, fault, unknown, stat.S_IMODE(info.st_mode), mine, keys)


def secret_files(config: Config, env: Env) -> list[SecretFile]:
    """Look at the client secrets' files that exist."""
    found = []
    for name, table in config.providers.items():
        if table.client_secret_file is None:
            continue
        path = paths.expand(table.client_secret_file, env)
        try:
            info = path.stat()
        except OSError:
            continue  # `registrations` says that it is missing
        mine = info.st_uid in (0, os.geteuid())
        found.append(SecretFile(f"providers.{name}.client_secret_file", path, stat.S_IMODE(info.st_mode), mine))
    return found


def credentials_file(config: Config, registry: Registry, env: Env) -> CredentialsFile | None:
    """Look at `provider-credentials.json`, and read it where it is not refused for its mode; None where there is none."""
    path = file_of(config, env)
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return CredentialsFile(SecretFile(_CREDENTIALS, path, 0o600, True), (f"it cannot be read: {error.strerror}",))
    file = SecretFile(_CREDENTIALS, path, stat.S_IMODE(info.st_mode), info.st_uid in (0, os.geteuid()))
    return CredentialsFile(file, () if file.mode & 0o077 or not file.mine else _left_out(path, registry))


def _left_out(path: Path, registry: Registry) -> tuple[str, ...]:
    try:
        return credentials.read(read_private(path, FILE_MAX), registry.names).warnings
    except OSError as error:
        return (f"it cannot be read: {error.strerror}",)
    except ValueError as error:
        return (f"it {error}",)


def local_keys_file(env: Env) -> SecretFile | None:
    """Look at the file of the proxy's local keys; None where there is none."""
    path = paths.local_keys_file(env)
    try:
        info = path.stat()
    except OSError:
        return None
    return SecretFile(path.name, path, stat.S_IMODE(info.st_mode), info.st_uid in (0, os.geteuid()))


def registrations(config: Config, registry: Registry, files: Sequence[AuthFile], env: Env) -> list[Registration]:
    """Look for each provider's client registration as a login and a renewal would; return those that cannot be had."""
    return asyncio.run(_registrations(config, registry, files, env))


async def _registrations(config: Config, registry: Registry, files: Sequence[AuthFile], env: Env) -> list[Registration]:
    listed = Credentials(file_of(config, env), registry.names, config.providers)
    clients = Clients(config.providers, config.auth_directories(), _NoNetwork(), SystemClock(), env, listed)
    missing: list[Registration] = []
    for provider in registry:
        renewed = [file for file in files if _of(file, provider) and file.refresh is not None]
        failed = [await _ask(clients, provider, file) for file in renewed]
        told = list({each.told: each for each in failed if each is not None}.values())
        if provider.flows and not told:
            wanted = f"[providers.{provider.name}] is set" if provider.name in config.providers else ""
            login = await _ask(clients, provider, None, wanted)
            told = [login] if login is not None else []
        missing += told
    return missing


async def _ask(clients: Clients, provider: Provider, file: AuthFile | None, wanted: str = "") -> Registration | None:
    try:
        await clients.find(provider, file.client if file else None)
    except BrokerError as error:
        account = file.record.account if file is not None and file.record is not None else None
        why = f"{account} cannot be renewed" if account is not None else wanted
        return Registration(provider.name, provider.title, error.detail, error.hint, why)
    return None


def _of(file: AuthFile, provider: Provider) -> bool:
    return file.record is not None and file.record.account.provider == provider.name


def _tree(path: Path) -> Mapping[str, object]:
    try:
        return tomllib.loads(path.read_bytes()[: 1 << 20].decode())
    except (OSError, ValueError):
        return {}


def _section(tree: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = tree.get(name)
    return found if isinstance(found, Mapping) else {}
