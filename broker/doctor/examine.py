"""The examination: every check of the catalogue, made from what was seen.

Owns: which rule answers which id, and that one check that fails takes no other with it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker import __version__
from broker.doctor.catalogue import IDS
from broker.doctor.facts import Folder, Proxy
from broker.doctor.finding import Finding, Severity
from broker.doctor.look import files as look_files
from broker.doctor.look import machine as look_machine
from broker.doctor.look import programs as look_programs
from broker.doctor.look import sockets as look_sockets
from broker.doctor.mend import Repair, mend
from broker.doctor.rules import config, files, machine, running
from broker.doctor.scene import Scene, Surroundings
from broker.model.errors import BrokerError


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, what is wrong, and what was mended."""

    checked: tuple[str, ...]
    findings: tuple[Finding, ...]
    repairs: tuple[Repair, ...] = ()


def examine(around: Surroundings, ids: Sequence[str] = IDS, *, fix: bool = False) -> Report:
    """Make the checks `ids`; with `fix`, mend what is safe to mend, and look again. Never raises for a fault it may find."""
    findings = _look(around, ids)
    if not fix:
        return Report(tuple(ids), findings)
    repairs = mend(findings, around.clock)
    return Report(tuple(ids), _look(around, ids) if repairs else findings, repairs)


def _look(around: Surroundings, ids: Iterable[str]) -> tuple[Finding, ...]:
    scene = Scene(around)
    return tuple(finding for id_ in ids for finding in _made(id_, scene))


def _made(id_: str, scene: Scene) -> list[Finding]:
    try:
        return list(CHECKS[id_](scene))
    except Exception as error:  # noqa: BLE001 - a doctor that falls over one thing is no help with the others
        why = error.detail if isinstance(error, BrokerError) else type(error).__name__
        return [Finding(id_, Severity.WARNING, f"This check could not be made: {why}", "Please report it.")]


_Judge = Callable[[Scene], Iterable[Finding]]


def _each_folder(rule: Callable[[str, Folder], Iterator[Finding]], id_: str) -> _Judge:
    return lambda s: (finding for folder in s.auth_folders for finding in rule(id_, folder))


def _missing(s: Scene) -> Iterator[Finding]:
    for folder in s.auth_folders:
        if folder.path in s.directories:
            yield from files.missing(folder)


def _temporaries(s: Scene) -> Iterator[Finding]:
    for active in s.directories:
        yield from files.temporaries(look_files.temporaries(active, s.state_dir, s.now))


def _interrupted(s: Scene) -> Iterator[Finding]:
    for active in s.directories:
        yield from files.interrupted(look_files.interrupted(active, s.now), running=s.daemon.health is not None)


def _port_taken(s: Scene) -> Iterator[Finding]:
    if s.proxy is not None:
        name = next((each.name for each in s.refreshers if each.pid == s.proxy.pid), None)
        yield from running.port_taken(s.proxy, name)


def _of_proxy(rule: Callable[[Scene, Proxy], Iterable[Finding]]) -> _Judge:
    return lambda s: rule(s, s.proxy) if s.proxy is not None else ()


def _callback_ports(s: Scene) -> Iterable[Finding]:
    pid = s.daemon.health.pid if s.daemon.health else None
    return running.callback_ports(look_sockets.callback_ports(tuple(s.registry), pid))


def _limits(s: Scene) -> Iterable[Finding]:
    pids = {"the daemon": s.daemon.health.pid if s.daemon.health else None}
    return machine.limits(look_machine.limits(s.config, pids, s.around.proc))


def _provider_settings(s: Scene) -> Iterable[Finding]:
    fault = s.provider_fault
    return config.provider_settings(fault.detail if fault else None, fault.hint if fault else "", s.config_file)


def _resolved(s: Scene) -> list[Path]:
    return [each.resolve() for each in s.directories]


def _key(id_: str) -> _Judge:
    return lambda s: (finding for finding in files.key(s.key, s.state_dir) if finding.id == id_)


CHECKS: dict[str, _Judge] = {
    "config-invalid": lambda s: config.invalid(s.config_file),
    "config-unknown-key": lambda s: config.unknown_keys(s.config_file),
    "config-writable": lambda s: config.writable(s.config_file),
    "config-readable": lambda s: config.readable(s.config_file),
    "provider-settings": _provider_settings,
    "client-secret-missing": lambda s: config.secret_missing(s.registrations),
    "client-secret-mode": lambda s: config.secret_mode(s.secret_files),
    "provider-credentials-mode": lambda s: config.credentials_mode(s.credentials),
    "provider-credentials": lambda s: config.credentials_unusable(s.credentials),
    "local-keys-mode": lambda s: config.local_keys_mode(s.local_keys),
    "auth-dir-missing": _missing,
    "auth-dir-mode": _each_folder(files.mode, "auth-dir-mode"),
    "auth-dir-owner": _each_folder(files.owner, "auth-dir-owner"),
    "auth-dir-unwritable": _each_folder(files.unwritable, "auth-dir-unwritable"),
    "auth-dir-parent": lambda s: (finding for folder in s.auth_folders for finding in files.parent(folder)),
    "auth-file-mode": lambda s: files.file_mode(s.auth_files),
    "auth-file-owner": lambda s: files.file_owner(s.auth_files),
    "auth-file-broken": lambda s: files.broken(s.auth_files),
    "auth-file-unknown-type": lambda s: files.unknown_type(s.auth_files),
    "auth-file-unusable": lambda s: files.unusable(s.auth_files),
    "auth-file-duplicate": lambda s: files.duplicates(s.auth_files),
    "auth-file-same-token": lambda s: files.same_tokens(s.auth_files),
    "auth-file-not-renewable": lambda s: files.not_renewable(s.auth_files, s.now),
    "auth-file-sealed": lambda s: files.sealed(s.auth_files, sealed_mode=s.config.store.mode == "sealed"),
    "temporary-files": _temporaries,
    "broken-copies": lambda s: files.broken_copies(
        each for active in s.directories for each in look_files.broken_copies(active, s.now)
    ),
    "ccs-accounts": lambda s: files.registry(
        found for active in s.directories if (found := look_files.ccs_accounts(active)) is not None
    ),
    "state-dir-mode": lambda s: files.mode("state-dir-mode", s.state_folder),
    "state-dir-owner": lambda s: files.owner("state-dir-owner", s.state_folder),
    "state-dir-unwritable": lambda s: files.unwritable("state-dir-unwritable", s.state_folder),
    "state-file-mode": lambda s: files.state_modes(look_files.private_modes(s.state_dir)),
    "state-damaged": lambda s: files.state_database(
        s.state_dir / "state.db", look_files.head(s.state_dir / "state.db")
    ),
    "seal-key": _key("seal-key"),
    "keyring-unusable": _key("keyring-unusable"),
    "unsaved-grants": lambda s: files.unsaved(look_files.unsaved(s.state_dir, s.now)),
    "renewal-interrupted": _interrupted,
    "runtime-dir": lambda s: running.runtime(s.runtime, s.services),
    "socket-dir-mode": lambda s: running.socket_folder_mode(s.socket_folder),
    "socket-dir-owner": lambda s: running.socket_folder_owner(s.socket_folder),
    "socket-path": lambda s: running.socket_path(s.socket_fault, s.runtime_dir),
    "socket-stale": lambda s: running.stale(s.sockets),
    "socket-blocked": lambda s: running.blocked(s.sockets),
    "daemon-down": lambda s: running.down(s.daemon, s.services),
    "daemon-silent": lambda s: running.silent(s.daemon, s.services),
    "daemon-version": lambda s: running.daemon_version(s.daemon, __version__, s.services),
    "daemon-config": lambda s: running.daemon_config(s.daemon, s.config, s.services),
    "daemon-elsewhere": lambda s: running.elsewhere(s.daemon, look_sockets.held(s.directories)),
    "daemon-problem": lambda s: running.problems(s.daemon),
    "daemon-unprotected": lambda s: running.unprotected(s.daemon),
    "port-taken": _port_taken,
    "proxy-down": _of_proxy(lambda s, proxy: running.proxy_down(proxy, s.services)),
    "proxy-silent": _of_proxy(lambda _, proxy: running.proxy_silent(proxy)),
    "proxy-version": _of_proxy(lambda s, proxy: running.proxy_version(proxy, __version__, s.services)),
    "proxy-detached": _of_proxy(lambda s, proxy: running.detached(proxy, s.daemon)),
    "default-key": lambda s: config.default_key(s.config, s.person),
    "proxy-exposed": lambda s: config.exposed(s.config),
    "no-accounts": lambda s: running.none_yet(s.daemon, len(s.auth_files)),
    "login-needed": lambda s: running.needed(s.daemon.accounts),
    "login-unsaved": lambda s: running.unsaved(s.daemon.accounts),
    "login-troubled": lambda s: running.troubled(s.daemon.accounts),
    "provider-unreachable": lambda s: running.unreachable(s.reached),
    "outbound-proxy": lambda s: running.outbound(s.outbound_proxies),
    "callback-port": _callback_ports,
    "other-refresher": lambda s: machine.refreshers(s.refreshers, _resolved(s)),
    "other-refresher-config": lambda s: machine.configured_refreshers(
        look_programs.configured(s.directories, s.around.env), _resolved(s)
    ),
    "shared-login": lambda s: machine.shared_logins(
        look_programs.foreign_copies(s.auth_files, s.directories, s.around.env)
    ),
    "linked-file": lambda s: machine.broken_links(s.auth_files),
    "clock-skew": lambda s: running.skew(s.daemon, s.reached),
    "clock-behind": lambda s: files.from_the_future(s.auth_files),
    "network-file-system": lambda s: machine.network(s.spaces),
    "disk-space": lambda s: machine.space(s.spaces),
    "open-files": _limits,
    "proxy-environment": lambda s: machine.proxy_environment(s.around.env),
    "wrong-user": lambda s: machine.person(s.person),
    "service-program": lambda s: machine.programs(s.services),
    "service-outdated": lambda s: machine.outdated(s.services),
    "service-disabled": lambda s: machine.disabled(s.services),
    "service-failed": lambda s: machine.failed(s.services),
    "service-lingering": lambda s: machine.lingering(s.services),
}
"""Every check of the catalogue, by its id (a test holds the two together)."""
