from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from broker.config import Config, StoreConfig
from broker.doctor.facts import (
    Daemon,
    Folder,
    Kind,
    OutboundProxy,
    Port,
    Proxy,
    ProxyState,
    Reach,
    Runtime,
    Services,
    Socket,
    SocketState,
    Unit,
)
from broker.doctor.finding import Finding, RemoveSocket, SetMode
from broker.doctor.rules import running as rules
from broker.ipc.schema import AccountView, Health

HEALTH = Health(status="ok", version="1.0", pid=7, uptime=1.0, accounts={}, directories=("/auth",))
UP, DOWN = Daemon(HEALTH), Daemon(None, reason="no daemon answers")
SILENT = Daemon(None, reason="too slow", silent=True)
PROXY = Proxy("127.0.0.1:8317", ProxyState.OURS, version="1.0")
NONE = Services()
UNIT = Unit("ccs-broker.service", Path("/u"), True, "active")
SYSTEMD = Services("systemd", (UNIT, replace(UNIT, name="ccs-broker-proxy.service")))
LAUNCHD = Services("launchd", (replace(UNIT, name="ccs-broker.daemon"), replace(UNIT, name="ccs-broker.proxy")))
CONFIG = Config(store=StoreConfig(directories=("/auth",)))
FOLDER = Folder(Path("/run/x"), "the folder of the sockets", Kind.FOLDER)


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(each.id, each.severity.value) for each in findings]


def health(**fields: object) -> Daemon:
    values: dict[str, object] = {"status": "ok", "version": "1.0", "pid": 7, "uptime": 1.0, "accounts": {}}
    return Daemon(Health(**(values | fields)))  # type: ignore[arg-type]


def view(state: str, **fields: object) -> AccountView:
    return AccountView(account="own/a", provider="own", label="a", state=state, generation=1, **fields)  # type: ignore[arg-type]


RUNTIME = Runtime(True, None, False, Path("/run/user/7"), False)


@pytest.mark.parametrize(
    ("seen", "services", "severity"),
    [
        (replace(RUNTIME, needed=False), NONE, None),
        (replace(RUNTIME, value="/r", exists=True), NONE, None),
        (replace(RUNTIME, value="/r"), NONE, "error"),
        (RUNTIME, NONE, "info"),
        (RUNTIME, SYSTEMD, "warning"),
        (replace(RUNTIME, usual_exists=True), NONE, "warning"),
    ],
)
def test_the_runtime_directory(seen: Runtime, services: Services, severity: str | None) -> None:
    assert [each.severity.value for each in rules.runtime(seen, services)] == ([severity] if severity else [])


def test_folders_and_paths_of_sockets() -> None:
    assert list(rules.socket_folder_mode(FOLDER)) == list(rules.socket_folder_owner(FOLDER)) == []
    (finding,) = rules.socket_folder_mode(replace(FOLDER, mode=0o755))
    assert finding.fix == SetMode(FOLDER.path, 0o700)
    assert told(rules.socket_folder_owner(replace(FOLDER, mine=False))) == [("socket-dir-owner", "error")]
    assert list(rules.socket_path(None, FOLDER.path)) == []
    assert next(rules.socket_path("the path is long", FOLDER.path)).what == "The path is long"


def test_sockets() -> None:
    every = [Socket(Path("/s"), state) for state in SocketState]
    (finding,) = rules.stale(every)
    assert finding.fix == RemoveSocket(Path("/s"))
    assert told(rules.blocked(every)) == [("socket-blocked", "error")] * 2


def test_a_daemon_that_runs_as_it_should() -> None:
    assert list(rules.down(UP, NONE)) == list(rules.silent(UP, NONE)) == []
    assert list(rules.daemon_version(UP, "1.0", NONE)) == list(rules.daemon_config(UP, CONFIG, NONE)) == []
    assert list(rules.problems(UP)) == list(rules.unprotected(UP)) == list(rules.skew(UP, [])) == []
    assert list(rules.elsewhere(UP, [(Path("/auth"), "pid 7, daemon")])) == []


def test_no_daemon() -> None:
    assert told(rules.down(DOWN, NONE)) == [("daemon-down", "error")]
    assert list(rules.down(SILENT, NONE)) == list(rules.silent(DOWN, NONE)) == []
    assert told(rules.silent(SILENT, NONE)) == [("daemon-silent", "error")]
    assert list(rules.problems(DOWN)) == list(rules.unprotected(DOWN)) == list(rules.skew(DOWN, [])) == []
    assert list(rules.daemon_version(DOWN, "1.0", NONE)) == list(rules.daemon_config(DOWN, CONFIG, NONE)) == []


def test_each_manager_has_its_own_command() -> None:
    assert next(rules.down(DOWN, NONE)).mend == "Run: ccs-broker up (or: ccs-broker service install)"
    assert next(rules.down(DOWN, SYSTEMD)).mend == "Run: systemctl --user start ccs-broker"
    assert "gui/$(id -u)/ccs-broker.daemon" in next(rules.down(DOWN, LAUNCHD)).mend
    other = health(version="0.9")
    assert "after stopping the one" in next(rules.daemon_version(other, "1.0", NONE)).mend
    assert "systemctl --user restart ccs-broker" in next(rules.daemon_version(other, "1.0", SYSTEMD)).mend
    old = replace(PROXY, version="")
    assert "restart ccs-broker-proxy" in next(rules.proxy_version(old, "1.0", SYSTEMD)).mend
    assert "version unknown" in next(rules.proxy_version(old, "1.0", NONE)).what
    nobody = replace(PROXY, state=ProxyState.NOBODY)
    assert "systemctl --user start ccs-broker-proxy" in next(rules.proxy_down(nobody, SYSTEMD)).mend
    assert "ccs-broker.proxy" in next(rules.proxy_down(nobody, LAUNCHD)).mend
    assert "ccs-broker up" in next(rules.proxy_down(nobody, NONE)).mend


def test_a_daemon_with_other_settings() -> None:
    differs = health(directories=("/b",), store_mode="sealed")
    assert len(list(rules.daemon_config(differs, CONFIG, NONE))) == 2
    assert list(rules.daemon_config(health(), CONFIG, NONE)) == []  # an older daemon does not say where it works


def test_another_daemon() -> None:
    held = [(Path("/auth"), "pid 77, daemon")]
    assert told(rules.elsewhere(UP, held)) == told(rules.elsewhere(DOWN, held)) == [("daemon-elsewhere", "warning")]


def test_what_the_daemon_tells() -> None:
    found = health(problems=("a",), protections={"peer-uid": False, "foreign-writes-kept": False, "sealed-files": False, "x": True},
                   clock_skew={"a": 61.0, "b": -400.0})  # fmt: skip
    assert told(rules.problems(found)) == [("daemon-problem", "warning")]
    assert told(rules.unprotected(found)) == [("daemon-unprotected", "info"), ("daemon-unprotected", "error")]
    assert told(rules.skew(found, [])) == [("clock-skew", "warning"), ("clock-skew", "error")]


def test_what_is_true_now_counts_more_than_what_was_learned() -> None:
    learned = health(clock_skew={"a": 600.0, "b": 90.0})
    asked = [
        Reach("a", "id.example", ahead=1.0),
        Reach("b", "id.example", "no route"),
        Reach("c", "id.example", ahead=-70.0),
    ]
    assert [each.where for each in rules.skew(learned, asked)] == ["b", "c"]
    (finding,) = rules.unreachable(asked)
    assert (finding.id, finding.where) == ("provider-unreachable", "id.example")


def test_a_proxy_that_runs_as_it_should() -> None:
    assert list(rules.port_taken(PROXY, None)) == list(rules.proxy_down(PROXY, NONE)) == []
    assert list(rules.proxy_silent(PROXY)) == list(rules.proxy_version(PROXY, "1.0", NONE)) == []
    assert list(rules.detached(PROXY, UP)) == list(rules.detached(replace(PROXY, connected=False), DOWN)) == []


def test_a_port_that_is_taken() -> None:
    taken = Proxy("127.0.0.1:8317", ProxyState.OTHER, "nginx (pid 9)", 9)
    assert "kill 9" in next(rules.port_taken(taken, None)).mend
    assert "this is CLIProxyAPI" in next(rules.port_taken(taken, "CLIProxyAPI")).what
    unknown = next(rules.port_taken(replace(taken, holder="", pid=None), None))
    assert "does not tell" in unknown.what
    assert unknown.mend.startswith("Stop it")


def test_a_proxy_that_hangs_or_is_alone() -> None:
    silent = Proxy("127.0.0.1:8317", ProxyState.SILENT, "python (pid 9)", 9)
    assert "kill 9" in next(rules.proxy_silent(silent)).mend
    assert next(rules.proxy_silent(replace(silent, holder="", pid=None))).what.startswith("A program listens")
    assert told(rules.detached(replace(PROXY, connected=False), UP)) == [("proxy-detached", "error")]


def test_logins() -> None:
    every = [
        view(state) for state in ("active", "refreshing", "paused", "backoff", "ambiguous", "needs_login", "unsaved")
    ]
    assert told(rules.needed(every)) == [("login-needed", "error")]
    assert told(rules.unsaved(every)) == [("login-unsaved", "error")]
    assert told(rules.troubled(every)) == [("login-troubled", "warning")] * 2
    assert next(rules.troubled([view("backoff", reason="it is down.", hint="Wait.")])).what.endswith(
        "renewed: it is down"
    )
    assert told(rules.none_yet(DOWN, 0)) == [("no-accounts", "info")]
    assert list(rules.none_yet(DOWN, 1)) == list(rules.none_yet(Daemon(HEALTH, (view("active"),)), 0)) == []


def test_callback_ports() -> None:
    taken, refused = rules.callback_ports(
        [Port(80, ("a", "b"), "nginx (pid 9)", "in use"), Port(81, ("a",), "", "no leave")]
    )
    assert "logins of a, b come back, is taken by nginx (pid 9)" in taken.what
    assert "cannot be had: no leave" in refused.what


def test_an_outbound_proxy_of_no_use() -> None:
    (finding,) = rules.outbound([OutboundProxy("HTTPS_PROXY", "names no host")])
    assert (finding.id, finding.severity, finding.where) == ("outbound-proxy", "error", "HTTPS_PROXY")
    assert "names no host" in finding.what
