"""The file `provider-credentials.json`, followed as it changes.

Owns: looking whether it changed, reading it again, and putting what it says in the place of what is built in, beneath what the config says. It must never
write the file.
"""

import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from broker.config import Config, ProviderConfig
from broker.login.private import read_private
from broker.model.secret import Secret
from broker.paths import Env, config_file, expand
from broker.providers import credentials
from broker.providers.base import Provider
from broker.providers.credentials import EMPTY, Credential, Listed
from broker.providers.setup import Settings

_log = logging.getLogger(__name__)

FILE_MAX = 1 << 20
"""Larger files are refused."""

Print = tuple[int, int, int, int, int]


def file_of(config: Config, env: Env) -> Path:
    """Return where the file is: where the config says, else beside the config file."""
    named = config.store.provider_credentials
    return expand(named, env) if named else config_file(env).parent / "provider-credentials.json"


class Credentials:
    """What the file says now."""

    def __init__(self, path: Path, known: Collection[str], tables: Mapping[str, Settings]) -> None:
        """Read nothing yet. `known` are the providers' names, `tables` the config's."""
        self._path = path
        self._known = frozenset(known)
        self._tables = dict(tables)
        self._reading = threading.Lock()
        self._print: Print | None = None
        self._listed = EMPTY
        self._refused: str | None = None

    @property
    def in_words(self) -> str:
        """Where a secret was looked for, and why the file was not taken where it was not."""
        return f"{self._path} ({self._refused})" if self._refused else str(self._path)

    def changed(self) -> bool:
        """Look at the file, and read it where it is another one than last time; tell whether it was. May wait for the disk; any thread may ask."""
        with self._reading:
            return self._look()

    def _look(self) -> bool:
        now = self._fingerprint()
        if now == self._print:
            return False
        self._print = now
        self._listed, self._refused = self._read() if now else (EMPTY, None)
        for warning in self._listed.warnings:
            _log.warning("%s: %s; that is left out", self._path, warning)
        if self._refused:
            _log.warning("%s is not used: it %s", self._path, self._refused)
        return True

    def secret(self, provider: Provider, client_id: str) -> Secret | None:
        """Return the client secret the file has for this client id, and no other's."""
        entry = self._entry(provider)
        return entry.client_secret if (entry.client_id or provider.client_id) == client_id else None

    def applied(self, provider: Provider) -> Provider:
        """Return the provider as the file has it, where the config says nothing."""
        entry, table = self._entry(provider), self._tables.get(provider.name, ProviderConfig())
        client_id = entry.client_id if not table.client_id else None
        ours = entry.client_id in (None, client_id or provider.client_id)
        if client_id or (entry.client_secret and ours):
            provider = provider.with_client(client_id or provider.client_id, secret=bool(entry.client_secret and ours))
        told = {
            name: value
            for name, value in (("authorize_url", entry.authorize_url), ("token_url", entry.token_url))
            if value and not getattr(table, name)
        }
        return provider.with_known(replace(provider.endpoints, **told)) if told else provider

    def renewing(self, provider: Provider) -> Provider:
        """Return the provider as renewals use it: its token endpoint is the file's `refreshUrl`, unless the config names a token endpoint."""
        entry, table = self._entry(provider), self._tables.get(provider.name, ProviderConfig())
        if not entry.refresh_url or table.token_url:
            return provider
        return provider.with_known(replace(provider.endpoints, token_url=entry.refresh_url))

    def _entry(self, provider: Provider) -> Credential:
        return self._listed.credentials.get(provider.name, Credential())

    def _fingerprint(self) -> Print | None:
        try:
            info = self._path.stat()
        except OSError:
            return None
        return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns

    def _read(self) -> tuple[Listed, str | None]:
        try:
            return credentials.read(read_private(self._path, FILE_MAX), self._known), None
        except OSError as error:
            return EMPTY, f"cannot be read: {error.strerror}"
        except ValueError as error:
            return EMPTY, str(error)
