"""Client registrations: whose id and secret a request is made with.

Owns: the order in which a registration is looked for, reading a secret from where the config says or a program left it, and resolving the
endpoints of a provider that gives only its issuer. It must never write a secret anywhere, and never use one whose client id is not the one in question.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from broker.login import places, scan
from broker.login.credentials import Credentials
from broker.login.private import read_private
from broker.login.runner import run_flow
from broker.model.clock import Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError
from broker.oauth.transport import Transport
from broker.paths import expand
from broker.providers.base import Client, Endpoints, Provider, SecretSource, SourceKind
from broker.providers.setup import Settings

_log = logging.getLogger(__name__)

_SECRET_FILE_MAX = 65_536
_AUTH_FILE_MAX = 1 << 20
_PROGRAM_FILE_MAX = 32 << 20  # the largest chunk of a bundled command-line tool is a third of this
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EINTR})
_FOUND_SECONDS = 600.0  # a secret found once is looked for again after this: the tool may have been updated
_MISSED_SECONDS = 30.0  # ... and one not found soon: the person is just installing the tool
_RESOLVED_SECONDS = 86_400.0


class _Search(msgspec.Struct, frozen=True):
    """What a search came to, and the places it went, in words."""

    secret: Secret | None
    looked: tuple[str, ...]
    until: float


class _Resolved(msgspec.Struct, frozen=True):
    endpoints: Endpoints
    until: float


class Clients:
    """Finds registrations and endpoints; remembers what it found. One event loop uses it."""

    def __init__(
        self,
        tables: Mapping[str, Settings],
        directories: Sequence[Path],
        transport: Transport,
        clock: Clock,
        env: Mapping[str, str] = os.environ,
        credentials: Credentials | None = None,
    ) -> None:
        """Use the config's provider `tables`, the auth `directories`, and the registrations in a file of their own."""
        self._tables = dict(tables)
        self._directories = tuple(directories)
        self._transport = transport
        self._clock = clock
        self._env = env
        self._credentials = credentials
        self._searches: dict[tuple[str, str], _Search] = {}
        self._resolved: dict[str, _Resolved] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def renew(self, tables: Mapping[str, Settings], credentials: Credentials) -> None:
        """Go on by other tables and another file of registrations; what was found by the old ones is looked for again."""
        self._tables = dict(tables)
        self._credentials = credentials
        self._searches.clear()
        self._resolved.clear()

    async def find(self, provider: Provider, carried: Client | None = None) -> Client:
        """Return the registration to use. `carried` is the one in the account's file: its grant belongs to that client id and no other.

        The secret is the config's, else that of the file of registrations, else the account's, else one found on this machine, each only for the
        client id it belongs to.

        Raises:
            BrokerError: `misconfigured`, saying where it was looked for.
        """
        provider = await self._known(provider)
        identifier = (carried.id if carried else "") or provider.client_id
        if not identifier:
            raise _missing(provider, "no client_id is known", ())
        ours = identifier == provider.client_id
        secret = await self._configured(provider) if ours else None
        if secret is None and self._credentials is not None:
            secret = self._credentials.secret(provider, identifier)
        if secret is None and carried is not None:
            secret = carried.secret
        if secret is None and ours and provider.needs_secret:
            secret = await self._searched(provider)
        if secret is None and provider.needs_secret:
            raise _missing(provider, "the auth file names a client id of its own and no secret for it", ())
        return replace(carried, id=identifier, secret=secret) if carried else Client(identifier, secret)

    async def resolve(self, provider: Provider, *, login: bool = False) -> Provider:
        """Return the provider with its endpoints known, for renewals unless it is for a `login`.

        Discovery is done once a day at most, and an old result outlives a failing issuer.

        Raises:
            FlowFailedError: there is no metadata, or it cannot be trusted.
        """
        provider = await self._known(provider)
        if provider.endpoints_needed() is not None:
            provider = await self._discovered(provider)
        return provider if login or self._credentials is None else self._credentials.renewing(provider)

    async def _known(self, provider: Provider) -> Provider:
        """Return the provider as the file of registrations has it now."""
        if self._credentials is None:
            return provider
        if await asyncio.to_thread(self._credentials.changed):
            self._searches.clear()
            self._resolved.clear()
        return self._credentials.applied(provider)

    async def _discovered(self, provider: Provider) -> Provider:
        async with self._locks.setdefault(provider.name, asyncio.Lock()):
            known = self._resolved.get(provider.name)
            now = self._clock.now().boot
            if known is None or known.until <= now:
                known = await self._discover(provider, known, now)
        return provider.with_endpoints(known.endpoints)

    def forget(self, provider: str) -> None:
        """Drop what was found for a provider, so that the next request looks again: its token endpoint refused the client."""
        self._searches = {key: found for key, found in self._searches.items() if key[0] != provider}
        self._resolved.pop(provider, None)

    async def _discover(self, provider: Provider, known: _Resolved | None, now: float) -> _Resolved:
        flow = provider.endpoints_needed()
        assert flow is not None
        try:
            endpoints = await run_flow(flow, self._transport.on_behalf(provider.name), self._clock)
            found = _Resolved(endpoints, now + _RESOLVED_SECONDS)
        except FlowFailedError:
            if known is None:
                raise
            _log.warning("discovery failed, using what was found before", extra={"provider": provider.name})
            found = _Resolved(known.endpoints, now + _FOUND_SECONDS)
        self._resolved[provider.name] = found
        return found

    async def _configured(self, provider: Provider) -> Secret | None:
        table = self._tables.get(provider.name)
        if table is None:
            return None
        where = f"providers.{provider.name}"
        if table.client_secret_env is not None:
            value = self._env.get(table.client_secret_env, "").strip()
            if not value:
                raise _missing(
                    provider, f"{where}.client_secret_env names {table.client_secret_env}, which is not set", ()
                )
            return Secret(value)
        if table.client_secret_file is not None:
            path = expand(table.client_secret_file, self._env)
            try:
                return await asyncio.to_thread(_read_secret_file, path)
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno in _PASSING:
                    # The machine is short of something: the config is not to blame, and trying again helps.
                    raise BrokerError(
                        ErrorCode.REFRESH_FAILED, f"{path} cannot be read now: {error.strerror}"
                    ) from None
                why = error.strerror if isinstance(error, OSError) else str(error)
                raise _missing(provider, f"{where}.client_secret_file {path}: {why}", ()) from None
        return None

    async def _searched(self, provider: Provider) -> Secret:
        key = (provider.name, provider.client_id)
        now = self._clock.now().boot
        found = self._searches.get(key)
        if found is None or found.until <= now:
            secret, looked = await asyncio.to_thread(_search, provider, self._directories, self._env)
            if self._credentials is not None:
                looked = (self._credentials.in_words, *looked)
            found = _Search(secret, looked, now + (_FOUND_SECONDS if secret else _MISSED_SECONDS))
            self._searches[key] = found
        if found.secret is None:
            raise _missing(provider, "no client secret was found", found.looked)
        return found.secret


def _missing(provider: Provider, problem: str, looked: tuple[str, ...]) -> BrokerError:
    places_ = f"; looked in {'; '.join(looked)}" if looked else ""
    # Only vendors' own modules say that a secret is needed, and those have a page.
    page = f"docs/providers/{provider.name}.md" if provider.needs_secret else "docs/providers.md"
    return BrokerError(
        ErrorCode.MISCONFIGURED,
        f"{provider.title}: {problem}{places_}",
        hint=f"Set client_secret_file or client_secret_env in [providers.{provider.name}]; {page} says where one comes from.",
    )


def _read_secret_file(path: Path) -> Secret:
    """Read a secret's file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty, too large, no regular file, another user's, or open to other users.
    """
    data = read_private(path, _SECRET_FILE_MAX)
    text = data.decode("utf-8", "replace").strip()
    if not text or not text.isprintable():
        raise ValueError("holds no client secret")
    return Secret(text)


def _search(
    provider: Provider, directories: tuple[Path, ...], env: Mapping[str, str]
) -> tuple[Secret | None, tuple[str, ...]]:
    """Look into every source, best first. Runs in a thread: an installed tool may be hundreds of files."""
    roots = places.npm_roots(env)
    looked: list[str] = []
    for source in provider.secret_sources:
        looked.append(_in_words(source, directories, roots))
        if (found := _look(provider, source, directories, env, roots)) is not None:
            _log.info("client secret found", extra={"provider": provider.name, "source": source.kind.value})
            return found, tuple(dict.fromkeys(looked))
    return None, tuple(dict.fromkeys(looked))


def _look(
    provider: Provider, source: SecretSource, directories: tuple[Path, ...], env: Mapping[str, str], roots: list[Path]
) -> Secret | None:
    if source.kind is SourceKind.ENV:
        return provider.find_secret(source, env.get(source.pattern, ""))
    if source.kind is SourceKind.BINARY:
        programs = places.expand(source.pattern, env, roots)
        texts = (_scanned(path, source.anchors) for path in programs)
        return _first(provider, source, texts)
    if source.kind is SourceKind.AUTH_FILES:
        files = [path for folder in directories for path in sorted(folder.glob(source.pattern))]
        limit = _AUTH_FILE_MAX
    else:
        files = list(places.expand(source.pattern, env, roots))
        limit = _PROGRAM_FILE_MAX
    return _first(provider, source, (_text(path, limit) for path in files))


def _first(provider: Provider, source: SecretSource, texts: Iterable[str]) -> Secret | None:
    return next((found for text in texts if (found := provider.find_secret(source, text)) is not None), None)


def _scanned(path: Path, anchors: tuple[str, ...]) -> str:
    try:
        return scan.around(path, anchors)
    except OSError:
        return ""


def _text(path: Path, limit: int) -> str:
    try:
        if not path.is_file() or path.stat().st_size > limit:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _in_words(source: SecretSource, directories: tuple[Path, ...], roots: list[Path]) -> str:
    if source.kind is SourceKind.ENV:
        return f"the variable {source.pattern}"
    if source.kind is SourceKind.AUTH_FILES:
        return "the auth files in " + ", ".join(str(folder) for folder in directories)
    if places.NPM_ROOT in source.pattern:
        package = source.pattern.removeprefix(places.NPM_ROOT + "/").split("/")
        known = ", ".join(str(root) for root in roots) or "any global npm folder (there is none)"
        return f"the npm package {'/'.join(package[:2])} in {known}"
    if source.pattern.startswith(places.SEARCH_PATH):
        return f"the program {source.pattern.removeprefix(places.SEARCH_PATH + '/')} on the PATH"
    return source.pattern
