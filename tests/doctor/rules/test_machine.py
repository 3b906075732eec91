from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.doctor.facts import AuthFile, ForeignCopy, Limit, Person, Refresher, Services, Space, Unit
from broker.doctor.finding import Finding, Severity
from broker.doctor.rules import machine as rules
from broker.model.account import AccountId, Record, Tokens

AUTH = Path("/auth")
LOGIN = AuthFile(AUTH / "a.json", False, 0o600, True, 0, 1.0, record=Record(AccountId("own", "a"), Tokens(None)))
SPACE = Space(AUTH, "the auth directory", "ext4", 1 << 30, 1 << 20)
UNIT = Unit("ccs-broker.service", Path("/u/ccs-broker.service"), True, "active (running)", "/x/ccs-broker", True, True)
PROXY = replace(UNIT, name="ccs-broker-proxy.service")


def severities(findings: Iterable[Finding]) -> list[str]:
    return [each.severity.value for each in findings]


@pytest.mark.parametrize(("directory", "told"), [(AUTH, ["error"]), (None, ["warning"]), (Path("/other"), [])])
def test_other_refreshers(directory: Path | None, told: list[str]) -> None:
    running = Refresher(7, "CLIProxyAPI", Path("/c.yaml") if directory else None, directory)
    assert severities(rules.refreshers([running], [AUTH])) == told


def test_configs_of_other_refreshers() -> None:
    ours = Refresher(None, "CLIProxyAPI", Path("/c.yaml"), AUTH)
    assert severities(rules.configured_refreshers([ours, replace(ours, directory=Path("/b"))], [AUTH])) == ["info"]


def test_shared_logins() -> None:
    copies = [
        ForeignCopy(Path("/x"), LOGIN),
        ForeignCopy(Path("/x"), replace(LOGIN, rotates=False)),
        ForeignCopy(Path("/x"), replace(LOGIN, record=None)),
    ]
    assert severities(rules.shared_logins(copies)) == ["warning", "info"]
    (finding,) = rules.shared_logins([ForeignCopy(Path("/x"), LOGIN, linked=True)])
    assert (finding.severity, finding.mend) == (Severity.INFO, "Nothing is to be done.")


def test_links() -> None:
    broken = replace(LOGIN, linked=Path("/x"), link_works=False)
    assert severities(rules.broken_links([LOGIN, replace(broken, link_works=True), replace(broken, record=None)])) == []
    assert severities(rules.broken_links([broken])) == ["warning"]


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "virtiofs", "lustre"])
def test_network_file_systems(kind: str) -> None:
    assert severities(rules.network([replace(SPACE, kind=kind)])) == ["warning"]


@pytest.mark.parametrize("kind", ["", "ext4", "tmpfs", "overlay", "fuse.encfs", "nfsd", "btrfs"])
def test_local_file_systems(kind: str) -> None:
    assert list(rules.network([replace(SPACE, kind=kind)])) == []


@pytest.mark.parametrize(
    ("free", "inodes", "told"),
    [
        (1 << 30, 1 << 20, []),
        (1 << 30, None, []),
        (10 << 20, None, ["warning"]),
        (1000, None, ["error"]),
        (1 << 30, 500, ["warning"]),
        (1 << 30, 3, ["error"]),
    ],
)
def test_space(free: int, inodes: int | None, told: list[str]) -> None:
    assert severities(rules.space([replace(SPACE, free_bytes=free, inodes=inodes)])) == told


@pytest.mark.parametrize(("soft", "told"), [(1000, []), (999, ["info"]), (499, ["warning"])])
def test_limits(soft: int, told: list[str]) -> None:
    assert severities(rules.limits([Limit("the daemon", soft, 1000)])) == told


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({}, 0),
        ({"https_proxy": "http://x"}, 0),
        ({"http_proxy": "http://x"}, 1),
        ({"ALL_PROXY": "http://x", "no_proxy": "a.example, nonsense/8"}, 1),
        ({"HTTP_PROXY": "http://x", "NO_PROXY": "127.0.0.1"}, 0),
        ({"http_proxy": "http://x", "no_proxy": "*"}, 0),
        ({"http_proxy": "http://x", "no_proxy": "10.0.0.0/8, 127.0.0.0/8"}, 0),
        ({"http_proxy": "http://x", "no_proxy": "::1"}, 1),
    ],
)
def test_proxies_of_the_environment(env: dict[str, str], told: int) -> None:
    assert len(list(rules.proxy_environment(env))) == told


def test_people() -> None:
    assert list(rules.person(Person(1000))) == []
    assert "on behalf of ann" in next(rules.person(Person(0, sudo="ann", home_owner=1000))).what
    assert "user 1000" in next(rules.person(Person(0, home="/home/ann", home_owner=1000))).what


def services(*units: Unit, **fields: object) -> Services:
    return Services("systemd", units, "/x/ccs-broker", **fields)  # type: ignore[arg-type]


def test_sound_services() -> None:
    made = services(UNIT, PROXY, replace(UNIT, name="ccs-broker.socket", program=None), lingers=True)
    for rule in (rules.programs, rules.outdated, rules.disabled, rules.failed, rules.lingering):
        assert list(rule(made)) == []
        assert list(rule(Services())) == []


def test_programs_of_services() -> None:
    gone, other = replace(UNIT, runs=False, current=False), replace(UNIT, program="/y/ccs-broker", current=False)
    made = services(gone, other, replace(PROXY, current=False), replace(UNIT, program=None, current=False))
    assert severities(rules.programs(made)) == ["error", "warning"]
    assert len(list(rules.outdated(made))) == 2


@pytest.mark.parametrize(
    ("daemon", "socket", "proxy", "told"),
    [
        (True, True, True, []),
        (False, True, True, []),
        (False, False, True, ["ccs-broker.service", "ccs-broker.socket"]),
        (True, False, False, ["ccs-broker-proxy.service"]),
        (None, None, None, []),
    ],
)
def test_services_that_nothing_starts(
    daemon: bool | None, socket: bool | None, proxy: bool | None, told: list[str]
) -> None:
    made = services(
        replace(UNIT, enabled=daemon),
        replace(UNIT, name="ccs-broker.socket", enabled=socket),
        replace(PROXY, enabled=proxy),
    )
    assert [each.what.split()[0] for each in rules.disabled(made)] == told


def test_failed_and_lingering() -> None:
    assert severities(rules.failed(services(replace(UNIT, state="failed (failed)")))) == ["error"]
    assert severities(rules.lingering(services(UNIT, lingers=False))) == ["warning"]
    assert severities(rules.lingering(services(UNIT, lingers=False, desktop=True))) == ["info"]
    assert severities(rules.lingering(services(UNIT))) == []
