"""Faults of sockets, the daemon, the proxy and logins, planted for real: listeners, hanging servers, locks."""

import contextlib
import fcntl
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from broker import __version__
from broker.doctor.finding import Severity
from broker.ipc.schema import AccountList, AccountView, Health
from tests.doctor.planting import OWN, found, given_away, login, one, plants, put
from tests.fakes.socket_desk import SocketDesk


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the sockets, empty."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(folder))
    return folder


def health(**fields: object) -> Health:
    values: dict[str, object] = {
        "status": "ok",
        "version": __version__,
        "pid": os.getpid(),
        "uptime": 1.0,
        "accounts": {},
    }
    return Health(**(values | fields))  # type: ignore[arg-type]


def says(desk: SocketDesk, *accounts: AccountView, **fields: object) -> None:
    """Have the desk answer as a daemon does."""
    desk.replies = {"GET /v1/health": health(**fields), "GET /v1/accounts": AccountList(accounts)}


def view(state: str, **fields: object) -> AccountView:
    return AccountView(account="own/a", provider="own", label="a", state=state, generation=1, **fields)  # type: ignore[arg-type]


# --- sockets ---


@plants("runtime-dir")
def test_no_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CCS_BROKER_RUNTIME_DIR")
    around = {"platform": "linux"}
    finding = one("runtime-dir", {"XDG_RUNTIME_DIR": f"{tmp_path}/gone"}, **around)
    assert (finding.severity, finding.where) == (Severity.ERROR, f"{tmp_path}/gone")
    assert one("runtime-dir", **around).severity in (Severity.INFO, Severity.WARNING)
    assert found("runtime-dir", {"XDG_RUNTIME_DIR": str(tmp_path)}, **around) == ()
    assert found("runtime-dir", platform="darwin") == ()


@plants("socket-dir-mode")
def test_an_open_folder_of_sockets(sockets: Path) -> None:
    assert found("socket-dir-mode") == ()
    sockets.chmod(0o755)
    assert one("socket-dir-mode").mend == f"Run: chmod 700 {sockets}"


@plants("socket-dir-owner")
def test_a_foreign_folder_of_sockets(sockets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given_away(sockets, monkeypatch)
    assert "CCS_BROKER_RUNTIME_DIR" in one("socket-dir-owner").mend


@plants("socket-path")
def test_a_path_that_is_too_long() -> None:
    finding = one("socket-path", {"CCS_BROKER_RUNTIME_DIR": "/x" * 60})
    assert "this system allows" in finding.what
    assert "this system allows" in one("daemon-down", {"CCS_BROKER_RUNTIME_DIR": "/x" * 60}).what


@plants("socket-stale", "daemon-down")
def test_a_socket_nobody_listens_on(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(sockets / "broker.sock"))
    assert one("socket-stale").mend == f"Run: rm {sockets}/broker.sock"
    assert one("daemon-down").severity is Severity.ERROR
    assert found("socket-blocked") == ()


@plants("socket-blocked")
def test_something_else_in_a_sockets_place(sockets: Path) -> None:
    put(sockets / "token.sock", "")
    assert "no socket" in one("socket-blocked").what
    assert found("socket-stale") == ()


# --- daemon ---


@plants("daemon-silent")
def test_a_daemon_that_does_not_answer(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(sockets / "broker.sock"))
        hanging.listen()
        assert one("daemon-silent", answer_seconds=0.2).severity is Severity.ERROR
        assert found("daemon-down", answer_seconds=0.2) == ()


def test_a_daemon_that_answers_nonsense(desk: SocketDesk) -> None:
    desk.replies = {"GET /v1/health": {"version": 7}}
    assert found("daemon-silent")


@plants("daemon-version")
def test_a_daemon_of_another_version(desk: SocketDesk) -> None:
    says(desk, version="0.0.9")
    finding = one("daemon-version")
    assert "0.0.9" in finding.what
    assert __version__ in finding.what
    says(desk)
    assert found("daemon-version") == ()


@plants("daemon-config")
def test_a_daemon_with_other_settings(desk: SocketDesk, home: Path, config) -> None:
    mine = f"{home}/.ccs/cliproxy/auth"
    says(desk, directories=("/elsewhere",), store_mode="sealed")
    first, second = found("daemon-config")
    assert f"serves /elsewhere, and the config says {mine}" in first.what
    assert "sealed" in second.what
    says(desk, directories=(mine,))
    assert found("daemon-config") == ()


@plants("daemon-elsewhere")
def test_a_daemon_that_cannot_be_reached_from_here(auth: Path, desk: SocketDesk) -> None:
    path = put(auth / ".ccs-broker" / "daemon.lock", "pid 4242, daemon\n")
    assert found("daemon-elsewhere") == ()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "pid 4242" in one("daemon-elsewhere").what
        says(desk, pid=4242)
        assert found("daemon-elsewhere") == ()
        says(desk, pid=42)
        assert one("daemon-elsewhere").where == str(auth)


@plants("daemon-problem")
def test_problems_the_daemon_tells(desk: SocketDesk) -> None:
    says(desk, status="degraded", problems=("own-a.json is half written",))
    assert "half written" in one("daemon-problem").what


@plants("daemon-unprotected")
def test_protections_that_do_not_work(desk: SocketDesk) -> None:
    says(
        desk,
        protections={"peer-uid": False, "foreign-writes-kept": False, "sealed-files": False, "private-sockets": True},
    )
    told = {each.what.split()[3]: each.severity for each in found("daemon-unprotected")}
    assert told == {"foreign-writes-kept,": Severity.INFO, "peer-uid,": Severity.ERROR}


@plants("clock-skew")
def test_a_clock_that_differs(desk: SocketDesk) -> None:
    says(desk, clock_skew={"own": 90.0, "far": -3600.0})
    far, own = found("clock-skew")
    assert (far.severity, own.severity) == (Severity.ERROR, Severity.WARNING)
    assert "3600 s ahead of the one of far" in far.what
    assert "90 s behind the one of own" in own.what


@plants("renewal-interrupted")
def test_a_renewal_under_way_is_no_fault(auth: Path, desk: SocketDesk) -> None:
    path = put(auth / ".ccs-broker" / "journal" / "own-a.json.rotation", "canary")
    says(desk)
    assert found("renewal-interrupted") == ()
    os.utime(path, (1, 1))
    assert found("renewal-interrupted") != ()


def test_a_daemon_that_serves_sealed_files_has_the_key(desk: SocketDesk, config) -> None:
    config('[store]\nmode = "sealed"\nkey_source = "passphrase"\n')
    says(desk, store_mode="sealed")
    assert found("seal-key") == ()


# --- logins ---


@plants("no-accounts")
def test_nobody_logged_in(desk: SocketDesk, auth: Path, config) -> None:
    says(desk)
    assert one("no-accounts").severity is Severity.INFO
    put(auth / "own-a.json", login())
    assert found("no-accounts") == ()


@plants("login-needed")
def test_a_dead_login(desk: SocketDesk) -> None:
    says(desk, view("needs_login", reason="the provider no longer accepts it"), view("active"))
    finding = one("login-needed")
    assert finding.mend == "Run: ccs-broker login own"
    assert "no longer accepts it" in finding.what


@plants("login-unsaved")
def test_a_login_in_memory(desk: SocketDesk) -> None:
    says(desk, view("unsaved"))
    assert "do not stop the daemon" in one("login-unsaved").mend


@plants("login-troubled")
def test_a_login_that_could_not_be_renewed(desk: SocketDesk) -> None:
    says(desk, view("backoff"), view("ambiguous", hint="Wait."))
    first, second = found("login-troubled")
    assert "ccs-broker refresh own/a" in first.mend
    assert second.mend == "Wait."


def bind_below_the_ephemeral(listener: socket.socket) -> int:
    """Bind to a port the system gives to nobody, so that it is free again once it is let go."""
    for port in range(20_000 + os.getpid() % 4_000, 30_000):
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("every port from 20000 on is taken")


@plants("callback-port")
def test_a_callback_port_that_is_taken(config, desk: SocketDesk) -> None:
    with socket.socket() as listener:
        port = bind_below_the_ephemeral(listener)
        listener.listen()
        config(own=f"{OWN}redirect_port = {port}\n")
        (finding,) = [each for each in found("callback-port") if each.where == f"port {port}"]
        assert f"(pid {os.getpid()})" in finding.what
        assert "ccs-broker login own --no-browser" in finding.mend
        says(desk, pid=os.getpid())  # then it is the daemon's own, for a login under way
        assert not [each for each in found("callback-port") if each.where == f"port {port}"]
    assert not [each for each in found("callback-port") if each.where == f"port {port}"]


@plants("provider-unreachable")
def test_a_provider_that_does_not_answer(config) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{closed.getsockname()[1]}"
        config(own=OWN.replace("https://id.example/token", f"http://{where}/token"))
        assert found("provider-unreachable") == ()  # nobody is asked unless the user says so
        finding = one("provider-unreachable", online=True)
        assert (finding.severity, finding.where) == (Severity.ERROR, where)
        assert "refused" in finding.what
        closed.listen()
        assert "no answer in time" in one("provider-unreachable", online=True, answer_seconds=0.2).what


def test_a_provider_behind_a_proxy_is_looked_for_through_it(config) -> None:
    with socket.socket() as listening, socket.socket() as closed:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        closed.bind(("127.0.0.1", 0))
        proxy = f"127.0.0.1:{closed.getsockname()[1]}"
        own = OWN.replace("https://id.example/token", f"http://127.0.0.1:{listening.getsockname()[1]}/token")
        config(own=f'{own}proxy_url = "http://me:canary-pass@{proxy}"\n')
        assert f"cannot connect to the proxy {proxy}" in one("provider-unreachable", online=True).what
        listening.settimeout(0.05)
        with pytest.raises(TimeoutError):
            listening.accept()


@plants("outbound-proxy")
def test_outbound_proxies_of_no_use(config, auth: Path) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{port.getsockname()[1]}"
        config(f'[network]\nproxy_url = "socks5://me:canary-pass@{where}"\n')
        file = put(auth / "own-a.json", login(proxy_url="socks4://me:canary-pass@x.example"))
        assert one("outbound-proxy").where == str(file)  # nobody is asked unless the user says so
        broken, down = found("outbound-proxy", {"ALL_PROXY": "direct"}, online=True)
        assert "is neither http://" in broken.what
        assert (down.where, down.severity) == ("network.proxy_url", Severity.ERROR)
        assert f"names socks5://{where}, which cannot be connected to: Connection refused" in down.what
        port.listen()
        assert [each.where for each in found("outbound-proxy", online=True)] == [str(file)]
        file.unlink()
        assert one("outbound-proxy", {"HTTPS_PROXY": "http://"}).where == "HTTPS_PROXY"
        assert found("outbound-proxy") == ()


@pytest.mark.parametrize(("status", "date", "told"), [
    (405, "Thu, 01 Jan 2060 00:00:00 GMT", "behind"), (302, "Thu, 01 Jan 2015 00:00:00 GMT", "ahead"), (200, "yesterday", ""), (400, "", ""),
])  # fmt: skip
def test_a_providers_clock(config, status: int, date: str, told: str) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.path} {dict(self.headers)}")
            self.send_response_only(status)
            self.send_header("Date", date)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        config(own=OWN.replace("https://id.example/token", f"http://127.0.0.1:{server.server_address[1]}/token"))
        findings = found("clock-skew", online=True)
        assert found("provider-unreachable", online=True) == ()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert [told in each.what for each in findings] == ([True] if told else [])
    assert asked
    assert not any("fake-client" in each for each in asked)


# --- proxy ---


@contextmanager
def answering(body: object) -> Iterator[int]:
    """A server on loopback that answers every GET with this JSON; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def as_proxy(version: str = __version__, *, connected: bool = True) -> dict[str, object]:
    return {"status": "ok", "version": version, "daemon": {"connected": connected, "detail": ""}, "leases": 1}


Write = Callable[..., Path]


@plants("port-taken")
@pytest.mark.parametrize("body", [{"status": "ok"}, b"hello", [], b"[" * 60_000])
def test_another_program_on_the_proxys_port(config: Write, body: object) -> None:
    with answering(body) as port:
        config(f"[proxy]\nport = {port}\n")
        finding = one("port-taken")
        assert f"(pid {os.getpid()})" in finding.what
        assert f"kill {os.getpid()}" in finding.mend
        assert found("proxy-down") == ()


@plants("proxy-down")
def test_no_proxy(config: Write) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        config(f"[proxy]\nport = {free.getsockname()[1]}\n")
        assert one("proxy-down").severity is Severity.WARNING
        assert found("port-taken") == ()
    config("[proxy]\nport = 0\n")
    assert found("proxy-down") == ()
    assert found("port-taken") == ()


@plants("proxy-silent")
def test_a_proxy_that_hangs(config: Write) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        config(f"[proxy]\nport = {hanging.getsockname()[1]}\n")
        assert f"(pid {os.getpid()})" in one("proxy-silent", answer_seconds=0.2).what


@plants("proxy-version")
def test_a_proxy_of_another_version(config: Write) -> None:
    with answering(as_proxy("0.0.9")) as port:
        config(f"[proxy]\nport = {port}\n")
        assert "0.0.9" in one("proxy-version").what
        assert found("port-taken") == ()


@plants("proxy-detached")
def test_a_proxy_that_does_not_find_the_daemon(config: Write, desk: SocketDesk) -> None:
    with answering(as_proxy(connected=False)) as port:
        config(f"[proxy]\nport = {port}\n")
        says(desk)
        assert one("proxy-detached").severity is Severity.ERROR
    with answering(as_proxy()) as port:
        config(f"[proxy]\nport = {port}\n")
        assert found("proxy-detached") == ()
        assert found("proxy-version") == ()
