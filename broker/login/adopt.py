"""Logins that other programs left on disk.

Owns: finding and reading their files, and finding out whose login it is. It must never write anything, never open what could block or has another owner, and
never present a refresh token that is good only once: who takes a login over gets a record, the daemon puts it away.
"""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from broker.login.database import read_tables
from broker.login.runner import run_flow
from broker.login.sessions import ClientFinder
from broker.model.account import Record, Tokens
from broker.model.clock import Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import HttpRequest, adapted
from broker.oauth.transport import Transport
from broker.paths import expand
from broker.providers.base import Client, Document, FormatError, Identity, Provider
from broker.providers.elsewhere import elsewhere
from broker.providers.naming import new_record
from broker.providers.native.base import Login, Native, Refused, Seen, Spot
from broker.providers.native.table import FORMATS

_FILE_MAX = 1 << 20
_DATABASE_MAX = 4 << 30  # of which a few pages are read
_BESIDE_MAX = 32 << 20  # Claude Code's own file holds a history of every project
_BESIDE_FILES = 50
_FILES_MAX = 200
_LIFE_NEEDED_SECONDS = 30.0  # of an access token that is asked with who it belongs to

Env = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Discovery:
    """One login of another program's, or why a file of its gives none. `path` is absolute."""

    native: Native
    path: Path
    found: Login | Refused


@dataclass(frozen=True, slots=True)
class Adoptable:
    """A login as it can be put away. `document` is set where the whole auth file is taken over; `notes` are sentences for the person."""

    provider: Provider
    record: Record
    client: Client
    document: Document | None = None
    notes: tuple[str, ...] = ()


def read_login(native: Native, path: Path) -> Seen | Refused | None:
    """Read a login file and what lies beside it; None where there is none. Blocks; never raises."""
    try:
        if native.database:
            return _read_database(native, path)
        data, mode = _read(path, _FILE_MAX)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return Refused(_why(error))
    document = _parsed(data)
    if not isinstance(document, Mapping):
        return Refused(
            "is empty: its program was logged out there, or is just writing it" if not data.strip() else "is not JSON"
        )
    beside = {name: _beside(path.parent, patterns) for name, patterns in native.beside.items()}
    return Seen(data, mode, native.read(document, beside), beside)


def discover(tool: str, path: Path | None, env: Env) -> tuple[Discovery, ...]:
    """Return the logins of a program (`all`: of every one), from `path` or where they usually lie. Blocks.

    Raises:
        BrokerError: `bad_request` for a program that is not known, or a path without a program or to nothing.
    """
    natives = tuple(FORMATS.values()) if tool == "all" else (_native(tool),)
    if path is None:
        return tuple(found for native in natives for found in _usual(native, env))
    if tool == "all":
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            "a file needs the name of its program",
            hint="Say which: ccs-broker import TOOL --file PATH",
        )
    if not path.is_absolute():
        raise BrokerError(ErrorCode.BAD_REQUEST, f"{str(path)[:200]!r} is not an absolute path")
    found = tuple(_in_file(natives[0], path))
    if not found:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"there is no file {path}")
    return found


class Providers(Protocol):
    """Where vendors are looked up (`broker.providers.registry.Registry`)."""

    def get(self, name: str) -> Provider:
        """Return the provider; raises `unknown_provider`."""
        ...

    def of_document(self, document: Document) -> Provider | None:
        """Return the provider that claims an auth file."""
        ...


class Adopter:
    """Turns what was found into records."""

    def __init__(self, providers: Providers, clients: ClientFinder, transport: Transport, clock: Clock) -> None:
        """Ask nobody anything yet."""
        self._providers = providers
        self._clients = clients
        self._transport = transport
        self._clock = clock

    async def adopt(self, discovery: Discovery, *, online: bool) -> Adoptable | Refused:
        """Return a login ready to be put away. `online`: ask the provider whose it is, where the file does not say.

        Asking needs an access token that lives; where refresh tokens stay the same, one is renewed for it.
        """
        login = discovery.found
        if isinstance(login, Refused):
            return login
        try:
            if login.document is not None:
                return self._taken(login.document, discovery)
            provider = self._providers.get(discovery.native.provider)
            return await self._identified(provider, login, online=online)
        except (FormatError, BrokerError, ValueError) as error:
            return Refused(f"cannot be used: {error}")

    def _taken(self, document: Document, discovery: Discovery) -> Adoptable | Refused:
        provider = self._providers.of_document(document)
        if provider is None:
            return Refused("is of a type no provider here has")
        record = provider.read(document, discovery.path.name)
        client = provider.client_of(document) or Client(provider.client_id)
        return Adoptable(provider, record, client, document, elsewhere(provider, record.facts))

    async def _identified(self, provider: Provider, login: Login, *, online: bool) -> Adoptable:
        client, notes = await self._client(provider, login.client)
        tokens, identity = login.tokens, login.identity
        if online and not _complete(provider, identity):
            try:
                tokens = await self._living(provider, login, client)
                known = replace(tokens, facts={**tokens.facts, **identity.facts})
                transport = self._transport.on_behalf(provider.name)
                asked = await run_flow(provider.identify(known, self._clock.now()), transport, self._clock)
                identity = _joined(identity, asked)
            except (FlowFailedError, BrokerError) as error:
                notes = (*notes, f"{provider.title} could not be asked whose login this is: {error}")
        if not identity.email and not identity.subject:
            notes = (*notes, "Whose login this is does not stand in the file; the account has a made-up name.")
        notes = (*notes, *identity.notes, *elsewhere(provider, login.identity.facts))
        return Adoptable(provider, new_record(provider.name, tokens, identity, None), client, notes=notes)

    async def _client(self, provider: Provider, carried: Client | None) -> tuple[Client, tuple[str, ...]]:
        try:
            return await self._clients.find(provider, carried), ()
        except BrokerError as error:
            return carried or Client(provider.client_id), (f"It cannot be renewed yet: {error.detail}. {error.hint}",)

    async def _living(self, provider: Provider, login: Login, client: Client) -> Tokens:
        """Return a grant whose access token lives. A refresh token that is good once is left to whoever renews under the lock."""
        tokens, now = login.tokens, self._clock.now()
        if tokens.access_token and (tokens.expires_at is None or tokens.expires_at > now.wall + _LIFE_NEEDED_SECONDS):
            return tokens
        if provider.policy.rotates or not tokens.refresh_token:
            raise BrokerError(ErrorCode.REFRESH_FAILED, "its access token has ended")
        provider = await self._clients.resolve(provider)
        record = new_record(provider.name, tokens, login.identity, None)
        flow = adapted(provider.refresh(record, client, now), _unspent, lambda answer: answer)
        renewed = await run_flow(flow, self._transport.on_behalf(provider.name), self._clock)
        return replace(renewed, refresh_token=renewed.refresh_token or tokens.refresh_token)


def _unspent(request: HttpRequest) -> HttpRequest:
    """Return a renewal of a token that stays good: nothing is spent, so that a login may ask for it."""
    return replace(request, spends=False)


def _complete(provider: Provider, identity: Identity) -> bool:
    """Tell whether a file says enough: whose login it is and, for Google's assistants, with which project."""
    if "host" in identity.facts:
        return True  # of a company's own GitHub: the usual one has nothing to do with that token
    if provider.google and "project_id" not in identity.facts:
        return False
    return bool(identity.email or identity.subject)


def _joined(known: Identity, asked: Identity) -> Identity:
    """Return what is known of a login. What its file says comes first: a device id, a region and a project belong to that very grant."""
    facts = {**asked.facts, **known.facts}
    return Identity(asked.email or known.email, asked.subject or known.subject, facts, asked.notes)


def _native(tool: str) -> Native:
    native = FORMATS.get(tool)
    if native is None:
        listed = ", ".join((*FORMATS, "all"))
        raise BrokerError(ErrorCode.BAD_REQUEST, f"no program {tool[:60]!r} is known; there are: {listed}")
    return native


def _usual(native: Native, env: Env) -> Iterator[Discovery]:
    """Yield what lies where the program keeps it."""
    seen: set[Path] = set()
    for spot in native.spots:
        for path in _files(spot, env):
            real = path.resolve()
            if real not in seen:
                seen.add(real)
                yield from _in_file(native, path)


def _files(spot: Spot, env: Env) -> tuple[Path, ...]:
    moved = next((Path(env[name]) / below for name, below in spot.variables if env.get(name, "").startswith("/")), None)
    folder = moved or expand(spot.folder, env)
    try:
        return tuple(sorted(folder.glob(spot.pattern))[:_FILES_MAX])
    except OSError:
        return ()


def _in_file(native: Native, path: Path) -> Iterator[Discovery]:
    seen = read_login(native, path)
    if isinstance(seen, Refused):
        yield Discovery(native, path, seen)
    elif seen is not None:
        yield from (Discovery(native, path, found) for found in seen.found)


def _beside(folder: Path, patterns: tuple[str, ...]) -> object:
    """Return the first of several files that can be read; for a glob all it finds, by name."""
    for pattern in patterns:
        if "*" in pattern:
            paths = sorted(folder.glob(pattern))[:_BESIDE_FILES]
            return {path.name: content for path in paths if (content := _content(path)) is not None}
        if (content := _content(folder / pattern)) is not None:
            return content
    return None


def _content(path: Path) -> object:
    try:
        data, _ = _read(path, _BESIDE_MAX)
    except (OSError, ValueError):
        return None
    parsed = _parsed(data)
    return data.decode(errors="replace") if parsed is None else parsed


def _read_database(native: Native, path: Path) -> Seen:
    """Return what is in a SQLite file; its bytes are not kept, as it is never written. Raises OSError, ValueError."""
    _, mode = _read(path, _DATABASE_MAX, head=True)
    return Seen(b"", mode, native.read(read_tables(path, native.database), {}))


def _parsed(data: bytes) -> object:
    try:
        parsed: object = msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return parsed


def _read(path: Path, limit: int, *, head: bool = False) -> tuple[bytes, int]:
    """Return a file's bytes, with `head` none of them, and its mode.

    Raises OSError, and ValueError with a word on what it is instead of a regular file of ours.
    """
    # Without O_NONBLOCK a named pipe in its place would hold the thread for good.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as source:
        info = os.fstat(source.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("is not a regular file")
        if info.st_uid != os.geteuid():
            raise ValueError("belongs to another user")
        data = b"" if head else source.read(limit + 1)
    if max(info.st_size, len(data)) > limit:
        raise ValueError(f"is larger than {limit} bytes")
    return data, stat.S_IMODE(info.st_mode)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {errno.errorcode.get(error.errno or 0, 'EIO')}"
    return str(error)
