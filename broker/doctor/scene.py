"""What was seen, looked at when first asked for and then kept: a check that is not run costs nothing.

Owns: which look needs which. One scene is one examination; after repairs a new one is made.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from broker import paths
from broker.config import Config
from broker.doctor import facts
from broker.doctor.look import config as look_config
from broker.doctor.look import files as look_files
from broker.doctor.look import machine as look_machine
from broker.doctor.look import online as look_online
from broker.doctor.look import programs as look_programs
from broker.doctor.look import sockets as look_sockets
from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.model.network import Network
from broker.network.settings import network_of
from broker.providers.registry import Registry, build
from broker.store.keys import KEYRING_SECONDS


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where things are looked at: the environment and the system's own files. The defaults are this machine, and no other host is asked."""

    env: Mapping[str, str]
    clock: Clock
    proc: Path = look_machine.PROC
    passwd: Path = look_machine.PASSWD
    linger: Path = look_machine.LINGER
    platform: str = sys.platform
    online: bool = False
    answer_seconds: float = look_sockets.ANSWER_SECONDS
    keyring_seconds: float = KEYRING_SECONDS


class Scene:
    """Everything the rules may ask for."""

    def __init__(self, around: Surroundings) -> None:
        """Look at nothing yet."""
        self.around = around
        self.now = around.clock.now().wall

    # --- config ---

    @cached_property
    def config_file(self) -> facts.ConfigFile:
        """The config file."""
        return look_config.config_file(self.around.env)

    @property
    def config(self) -> Config:
        """The settings; the defaults where the file cannot be used."""
        return self.config_file.config

    @cached_property
    def _providers(self) -> tuple[Registry, BrokerError | None]:
        try:
            return build(self.config.providers), None
        except BrokerError as error:
            return build({}), error

    @property
    def registry(self) -> Registry:
        """The providers; the built-in ones alone where the config's make no sense."""
        return self._providers[0]

    @property
    def provider_fault(self) -> BrokerError | None:
        """Why the config's providers make no sense."""
        return self._providers[1]

    @cached_property
    def secret_files(self) -> list[facts.SecretFile]:
        """The client secrets' files."""
        return look_config.secret_files(self.config, self.around.env)

    @cached_property
    def credentials(self) -> facts.CredentialsFile | None:
        """The file of registrations and addresses, where there is one."""
        return look_config.credentials_file(self.config, self.registry, self.around.env)

    @cached_property
    def local_keys(self) -> facts.SecretFile | None:
        """The file of the proxy's local keys, where there is one."""
        return look_config.local_keys_file(self.around.env)

    @cached_property
    def registrations(self) -> list[facts.Registration]:
        """The client registrations that cannot be had."""
        return look_config.registrations(self.config, self.registry, self.auth_files, self.around.env)

    # --- files ---

    @property
    def directories(self) -> tuple[Path, ...]:
        """The auth directories."""
        return self.config.auth_directories()

    @cached_property
    def auth_folders(self) -> list[facts.Folder]:
        """The auth directories and what belongs to them."""
        return [each for active in self.directories for each in look_files.auth_folders(active)]

    @cached_property
    def auth_files(self) -> list[facts.AuthFile]:
        """The files in them."""
        return [
            file
            for number, active in enumerate(self.directories)
            for file in look_files.auth_files(active, number, self.registry, self.now)
        ]

    @property
    def state_dir(self) -> Path:
        """The state directory."""
        return paths.state_dir(self.around.env)

    @cached_property
    def state_folder(self) -> facts.Folder:
        """The state directory as it is."""
        return look_files.folder(self.state_dir, "the state directory")

    @cached_property
    def key(self) -> facts.Key:
        """The key of sealed files. A daemon that serves them has it."""
        health = self.daemon.health
        if health is not None and health.store_mode == "sealed":
            return facts.Key()
        return look_machine.key(self.config, self.state_dir, self.around.env, self.around.keyring_seconds)

    # --- what runs ---

    @property
    def runtime_dir(self) -> Path:
        """The folder of the sockets."""
        return paths.runtime_dir(self.around.env)

    @cached_property
    def runtime(self) -> facts.Runtime:
        """`XDG_RUNTIME_DIR`."""
        env = self.around.env
        needed = self.around.platform == "linux" and not env.get("CCS_BROKER_RUNTIME_DIR")
        usual = Path(f"/run/user/{self.person.uid}")
        return look_sockets.runtime(env.get("XDG_RUNTIME_DIR") or None, needed=needed, usual=usual)

    @cached_property
    def socket_folder(self) -> facts.Folder:
        """The folder of the sockets as it is."""
        return look_files.folder(self.runtime_dir, "the folder of the sockets")

    @cached_property
    def _socket_paths(self) -> tuple[tuple[Path, ...], str | None]:
        return look_sockets.socket_paths(self.runtime_dir)

    @property
    def socket_fault(self) -> str | None:
        """Why there can be no sockets."""
        return self._socket_paths[1]

    @cached_property
    def sockets(self) -> list[facts.Socket]:
        """The sockets as they are."""
        return [look_sockets.socket_at(path) for path in self._socket_paths[0]]

    @cached_property
    def daemon(self) -> facts.Daemon:
        """The daemon."""
        if self.socket_fault is not None:
            return facts.Daemon(None, (), self.socket_fault)
        return look_sockets.daemon(self._socket_paths[0][0], self.around.answer_seconds)

    @cached_property
    def proxy(self) -> facts.Proxy | None:
        """The proxy."""
        return look_sockets.proxy(self.config.proxy, self.around.answer_seconds)

    @cached_property
    def reached(self) -> list[facts.Reach]:
        """The token endpoints of the providers in use, where they may be asked."""
        if not self.around.online:
            return []
        used = {file.record.account.provider for file in self.auth_files if file.record is not None and file.refresh}
        wanted = [each for each in self.registry if each.name in used or each.name in self.config.providers]
        return look_online.reach(wanted, self._network, self.around.clock, self.around.answer_seconds)

    @property
    def _network(self) -> Network:
        return network_of(self.config, self.around.env)

    @cached_property
    def outbound_proxies(self) -> list[facts.OutboundProxy]:
        """The outbound proxies that cannot be used, or where they may be asked, reached."""
        around = self.around
        return look_online.proxies(self._network, self.auth_files, online=around.online, seconds=around.answer_seconds)

    @cached_property
    def refreshers(self) -> list[facts.Refresher]:
        """Other programs at work that renew logins."""
        return list(look_programs.refreshers(self.around.env, self.around.proc))

    @cached_property
    def services(self) -> facts.Services:
        """The installed services."""
        around = self.around
        return look_machine.services(self.directories, around.env, around.linger, around.platform)

    # --- machine ---

    @cached_property
    def person(self) -> facts.Person:
        """Who runs this."""
        return look_machine.person(self.around.env, self.around.passwd)

    @cached_property
    def spaces(self) -> list[facts.Space]:
        """The file systems in use."""
        directories = [(path, "the auth directory") for path in self.directories]
        others = [(self.state_dir, "the state directory"), (self.runtime_dir, "the folder of the sockets")]
        return list(look_machine.spaces([*directories, *others], self.around.proc))
