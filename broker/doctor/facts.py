"""What was seen.

Owns: the values that `look` returns and `rules` judge. Pure. Whatever is secret in them hides itself, or is a digest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from broker.config import Config
from broker.ipc.schema import AccountView, Health
from broker.model.account import AccountId, Record
from broker.model.secret import Digest
from broker.providers.base import Client
from broker.store.codec import Fault


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The config file. `config` are the defaults where it cannot be used; `unknown` are keys no setting has, each with the nearest that exists."""

    path: Path
    exists: bool
    config: Config
    fault: str | None = None
    unknown: Mapping[str, str | None] = field(default_factory=dict)
    mode: int = 0
    mine: bool = True
    names_keys: bool = False


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file a setting names, which exists. `setting` is the setting's dotted name."""

    setting: str
    path: Path
    mode: int
    mine: bool


@dataclass(frozen=True, slots=True)
class CredentialsFile:
    """`provider-credentials.json`. `warnings` are sentences about what is left out of it."""

    file: SecretFile
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Registration:
    """A provider whose client registration cannot be had. `told` says where it was looked for; `wanted` why it matters, empty where it may not."""

    provider: str
    title: str
    told: str
    hint: str
    wanted: str = ""


class Kind(StrEnum):
    """What is at a path."""

    MISSING = "missing"
    FOLDER = "folder"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder we need. `role` says for what ("the auth directory"); `writable` holds for the nearest folder above where there is none.

    `open_above` is the nearest folder above it that others may write to, so that they could put another in its place.
    """

    path: Path
    role: str
    kind: Kind
    mode: int = 0o700
    owner: int = 0
    mine: bool = True
    writable: bool = True
    open_above: Path | None = None


@dataclass(frozen=True, slots=True)
class AuthFile:
    """A file in an auth directory: an account, or why it gives none.

    `age` is seconds since it was written, negative for one from the future. `client` is the registration it carries, `rotates` its provider's way.
    `linked` is another program's file it shares its login with on purpose, `link_works` whether that is there and ours.
    """

    path: Path
    paused: bool
    mode: int
    mine: bool
    owner: int
    age: float
    fault: Fault | None = None
    record: Record | None = None
    client: Client | None = None
    refresh: Digest | None = None
    rotates: bool = True
    linked: Path | None = None
    link_works: bool = True


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that is there because something was interrupted. `age` is in seconds."""

    path: Path
    age: float
    account: AccountId | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """CCS's `accounts.json`, and what is wrong with it."""

    path: Path
    fault: str | None


class SocketState(StrEnum):
    """What is at a socket's path."""

    MISSING = "missing"
    LIVE = "live"
    STALE = "stale"
    OTHER = "other"
    CLOSED = "closed"  # somebody listens and does not let us in


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket's path and what is there."""

    path: Path
    state: SocketState


@dataclass(frozen=True, slots=True)
class Daemon:
    """What the daemon says. `health` is None where it does not answer; `reason` then says why, `silent` that it listens all the same."""

    health: Health | None
    accounts: tuple[AccountView, ...] = ()
    reason: str = ""
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """A provider's token endpoint, asked without anything: why it does not answer, or how many seconds its clock is ahead (None: it does not say)."""

    provider: str
    host: str
    fault: str | None = None
    ahead: float | None = None


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """An outbound proxy that a setting names, which cannot be used or reached. `where` is the setting, the variable or the auth file."""

    where: str
    fault: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """`XDG_RUNTIME_DIR`: what it is set to, and whether it matters. `exists` holds for a folder of ours."""

    needed: bool
    value: str | None
    exists: bool
    usual: Path
    usual_exists: bool


class ProxyState(StrEnum):
    """Who answers at the proxy's address."""

    OURS = "ours"
    NOBODY = "nobody"
    SILENT = "silent"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Proxy:
    """What is at the proxy's address. `holder` names who listens, where the system tells; `connected` whether it follows the daemon."""

    address: str
    state: ProxyState
    holder: str = ""
    pid: int | None = None
    version: str = ""
    connected: bool = True


@dataclass(frozen=True, slots=True)
class Port:
    """A callback port that cannot be had: which providers need it, who has it, and why it failed."""

    port: int
    providers: tuple[str, ...]
    holder: str
    why: str


@dataclass(frozen=True, slots=True)
class Refresher:
    """A program that renews logins. `directory` is its auth directory, None where its config does not tell; `config` that file."""

    pid: int | None
    name: str
    config: Path | None
    directory: Path | None


@dataclass(frozen=True, slots=True)
class ForeignCopy:
    """A file of another program that holds the refresh token of an auth file. `program` is its name where it is known.

    `linked`: on purpose, and both are kept up to date.
    """

    path: Path
    file: AuthFile
    linked: bool = False
    program: str = ""


@dataclass(frozen=True, slots=True)
class Space:
    """The file system a folder lies on. `kind` is its type as mount(8) says it, empty where unknown; sizes are what a user may still use.

    `inodes` is None where the file system does not count them.
    """

    path: Path
    role: str
    kind: str
    free_bytes: int
    inodes: int | None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many files a process may open, and how many it may need by the config."""

    who: str
    soft: int
    needed: int


@dataclass(frozen=True, slots=True)
class Unit:
    """A service file that is installed. `program` is what it starts (None for a socket), `runs` whether that can be executed.

    `enabled` is None where it cannot be told.
    """

    name: str
    file: Path
    current: bool
    state: str
    program: str | None = None
    runs: bool = True
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Services:
    """The installed service files. `ours` is the program now running; `lingers` is None where there is no such thing."""

    manager: str = ""
    units: tuple[Unit, ...] = ()
    ours: str = ""
    lingers: bool | None = None
    desktop: bool = False
    user: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """The key of sealed files. `fault` says why it is not to be had, `hint` what to do; `elsewhere` that only the service could tell."""

    fault: str | None = None
    hint: str = ""
    keyring: bool = False
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Who runs us: `sudo` is the user behind sudo; `home_owner` the owner of the home, None where it is us. `others` are people with a login here."""

    uid: int
    sudo: str | None = None
    home: str = ""
    home_owner: int | None = None
    others: tuple[str, ...] = ()
