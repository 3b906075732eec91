"""The machine: disks, limits, the environment, other programs, the services."""

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path

from broker.doctor.facts import AuthFile, ForeignCopy, Limit, Person, Refresher, Services, Space, Unit
from broker.doctor.finding import Finding, Severity, capital, quoted

# Types of file systems that lie on another machine, as mount(8) names them. 9p, drvfs and virtiofs are a host's folders in a virtual machine.
_NETWORK = re.compile(
    r"(nfs\d?|cifs|smb\d?|smbfs|9p|afs|ceph|lustre|beegfs|gpfs|ncpfs|drvfs|virtiofs|vboxsf|vmhgfs|webdav|afpfs|"
    r"fuse\.(sshfs|rclone|s3fs|gcsfuse|goofys|glusterfs|cephfs?|davfs2?|juicefs|vmhgfs-fuse|curlftpfs|smbnetfs|gvfsd-fuse))"
)
_FULL_BYTES, _LOW_BYTES = 1 << 20, 50 << 20
_FULL_INODES, _LOW_INODES = 16, 1000
_LOOPBACK = "127.0.0.1"


# --- other programs ---


def refreshers(running: Iterable[Refresher], directories: Iterable[Path]) -> Iterator[Finding]:
    """Programs at work that renew our logins, or may."""
    ours = set(directories)
    for each in running:
        mend = f"Run: kill {each.pid}; or give it an auth directory of its own, and restart it."
        where = str(each.config) if each.config else f"process {each.pid}"
        if each.directory in ours:
            what = f"{each.name} (pid {each.pid}) renews the same logins, in {each.directory}: a provider revokes a login that is renewed twice"
            yield Finding("other-refresher", Severity.ERROR, what, mend, where)
        elif each.directory is None:
            what = f"{each.name} (pid {each.pid}) runs, and its config cannot be found: it may renew the same logins"
            yield Finding("other-refresher", Severity.WARNING, what, mend, where)


def configured_refreshers(configs: Iterable[Refresher], directories: Iterable[Path]) -> Iterator[Finding]:
    """Configs by which such a program would renew our logins."""
    ours = set(directories)
    for each in configs:
        if each.directory in ours:
            what = f"With this config {each.name} renews the same logins once it is started"
            mend = "Do not start it beside the daemon, or set another auth-dir in it."
            yield Finding("other-refresher-config", Severity.INFO, what, mend, str(each.config or ""))


def shared_logins(copies: Iterable[ForeignCopy]) -> Iterator[Finding]:
    """Files of other programs with a refresh token of ours."""
    for each in copies:
        record = each.file.record
        if record is None:
            continue
        who = each.program or "the program whose file this is"
        if each.linked:
            what = f"{record.account} is linked to {who}: renewals are written to both"
            yield Finding("shared-login", Severity.INFO, what, "Nothing is to be done.", str(each.path))
            continue
        ends = "renewing it in one program logs the other out" if each.file.rotates else "logging out of one ends both"
        severity = Severity.WARNING if each.file.rotates else Severity.INFO
        what = f"{record.account} and {who} share one login: {ends}"
        mend = f"Log in again in one of the two, for example: ccs-broker login {record.account.provider}"
        yield Finding("shared-login", severity, what, mend, str(each.path))


def broken_links(files: Iterable[AuthFile]) -> Iterator[Finding]:
    """Accounts whose other half is gone."""
    for file in files:
        if file.linked is not None and not file.link_works and file.record is not None:
            what = f"{file.record.account} is linked to a file that is gone, or that cannot be written"
            mend = "Log in with that program and import it again; the account itself goes on without."
            yield Finding("linked-file", Severity.WARNING, what, mend, str(file.linked))


# --- machine ---


def network(spaces: Iterable[Space]) -> Iterator[Finding]:
    """Folders on another machine."""
    for each in spaces:
        if _NETWORK.fullmatch(each.kind):
            what = f"{capital(each.role)} is on a network file system ({each.kind}): locks may exclude nobody, and changes go unnoticed"
            mend = "Keep it on a local disk: store.directories, XDG_STATE_HOME and CCS_BROKER_RUNTIME_DIR move it."
            yield Finding("network-file-system", Severity.WARNING, what, mend, str(each.path))


def space(spaces: Iterable[Space]) -> Iterator[Finding]:
    """Full disks, and nearly full ones."""
    for each in spaces:
        few = each.inodes is not None and each.inodes < _LOW_INODES
        none = each.inodes is not None and each.inodes < _FULL_INODES
        if each.free_bytes >= _LOW_BYTES and not few:
            continue
        left = f"{each.free_bytes / (1 << 20):.1f} MiB" if each.free_bytes < _LOW_BYTES else f"{each.inodes} inodes"
        full = each.free_bytes < _FULL_BYTES or none
        what = f"The file system of {each.role} has {left} left" + ("; nothing can be renewed" if full else "")
        mend = f"Free some: df -h {quoted(each.path)}; df -i {quoted(each.path)}"
        yield Finding("disk-space", Severity.ERROR if full else Severity.WARNING, what, mend, str(each.path))


def limits(found: Iterable[Limit]) -> Iterator[Finding]:
    """Processes that may open too few files."""
    for each in found:
        if each.soft < each.needed:
            what = (
                f"{capital(each.who)} may open {each.soft} files, and up to {each.needed} may be needed by the config"
            )
            mend = (
                f"Run: ulimit -n {each.needed} before starting it (LimitNOFILE= in a unit), or lower max_connections."
            )
            severity = Severity.WARNING if each.soft < each.needed // 2 else Severity.INFO
            yield Finding("open-files", severity, what, mend, each.who)


def proxy_environment(env: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that would send requests for loopback to another proxy. Their values may hold a password: only names are told."""
    catching = [name for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY") if env.get(name)]
    spared = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if catching and not any(_covers(part.strip()) for part in spared.split(",")):
        what = f"{', '.join(catching)} would catch requests of your programs to http://{_LOOPBACK}"
        mend = 'Run: export no_proxy="127.0.0.1,localhost,$no_proxy" NO_PROXY="127.0.0.1,localhost,$NO_PROXY"'
        yield Finding("proxy-environment", Severity.WARNING, what, mend, catching[0])


def person(who: Person) -> Iterator[Finding]:
    """The wrong user."""
    if who.sudo:
        what = f"This runs as root on behalf of {who.sudo}: it looks at root's files, not at theirs"
        yield Finding("wrong-user", Severity.WARNING, what, "Run it without sudo: ccs-broker doctor", f"user {who.uid}")
    elif who.home_owner is not None:
        what = f"The home belongs to user {who.home_owner}, and this runs as user {who.uid}"
        yield Finding("wrong-user", Severity.WARNING, what, "Run it as yourself, or set HOME.", who.home)


# --- services ---


def programs(services: Services) -> Iterator[Finding]:
    """Services that start something else."""
    for unit in services.units:
        if unit.program is None:
            continue
        if not unit.runs:
            what = f"{unit.name} starts {unit.program}, which is not there or cannot be executed"
            yield Finding("service-program", Severity.ERROR, what, "Run: ccs-broker service install", str(unit.file))
        elif unit.program != services.ours:
            what = f"{unit.name} starts {unit.program}, and this is {services.ours}"
            yield Finding("service-program", Severity.WARNING, what, "Run: ccs-broker service install", str(unit.file))


def outdated(services: Services) -> Iterator[Finding]:
    """Service files of another version, or for other folders."""
    for unit in services.units:
        if not unit.current and not _other_program(unit, services):
            what = f"{unit.name} differs from what this version writes for this shell's folders"
            yield Finding("service-outdated", Severity.WARNING, what, "Run: ccs-broker service install", str(unit.file))


def disabled(services: Services) -> Iterator[Finding]:
    """Services that nothing starts. A daemon is started by its sockets as well."""
    daemons = [unit for unit in services.units if "proxy" not in unit.name]
    started = any(unit.enabled is not False for unit in daemons)
    idle = [unit for unit in services.units if unit.enabled is False and ("proxy" in unit.name or not started)]
    for unit in idle:
        mend = f"Run: systemctl --user enable --now {unit.name}"
        yield Finding("service-disabled", Severity.WARNING, f"{unit.name} is installed and not enabled", mend, str(unit.file))  # fmt: skip


def failed(services: Services) -> Iterator[Finding]:
    """Services in state failed."""
    for unit in services.units:
        if unit.state.startswith("failed"):
            mend = f"Run: journalctl --user -e -u {unit.name}; then: systemctl --user restart {unit.name}"
            yield Finding("service-failed", Severity.ERROR, f"{unit.name} is {unit.state}", mend, str(unit.file))


def lingering(services: Services) -> Iterator[Finding]:
    """Services that end with the session: on a desktop that is as wanted."""
    if services.units and services.lingers is False:
        severity = Severity.INFO if services.desktop else Severity.WARNING
        yield Finding(
            "service-lingering", severity, "The services stop when you log out, and start when you log in again",
            f"Run: loginctl enable-linger {quoted(services.user)}", services.user,
        )  # fmt: skip


def _other_program(unit: Unit, services: Services) -> bool:
    return unit.program is not None and (not unit.runs or unit.program != services.ours)


def _covers(part: str) -> bool:
    if part == "*":
        return True
    try:
        return ip_address(_LOOPBACK) in ip_network(part, strict=False)
    except ValueError:
        return False
