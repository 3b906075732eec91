import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from broker.ipc.schema import AccountList, Health, Lease, LogoutAnswer
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from tests.cli.conftest import views
from tests.fakes.socket_desk import SocketDesk

ALICE, BOB, KEY = views()
EVERY = AccountList(views())
HEALTH = Health(status="ok", version="0.1.0", pid=7, uptime=61.0, accounts={"active": 2})
LEASE = Lease(account=ALICE.account, provider="gemini", generation=4, access_token=Secret("fake-access-1"))
ALICE_PATH = "/v1/accounts/gemini/alice%40example.com"


@pytest.fixture
def served(desk: SocketDesk) -> SocketDesk:
    desk.replies["GET /v1/accounts"] = EVERY
    desk.replies["GET /v1/health"] = HEALTH
    return desk


def test_list(run, served: SocketDesk) -> None:
    ended = run("list")
    assert ended.code == 0
    assert ended.out.splitlines()[1].startswith("gemini/alice@example.com *  active")
    assert served.asked[0].socket == "broker.sock"


def test_list_as_json(run, served: SocketDesk) -> None:
    made = json.loads(run("list", "--json").out)
    assert made["version"] == 1
    assert [each["account"] for each in made["accounts"]] == [ALICE.account, BOB.account, KEY.account]


@pytest.mark.parametrize("form", [[], ["--format", "header"], ["--format", "env"], ["--format", "json"], ["--json"]])
def test_click_prints_a_token_as_the_short_way_does(run, served: SocketDesk, capfd, form: list[str]) -> None:
    from broker.cli import token

    served.replies["GET /v1/lease/gemini"] = LEASE
    line = ["gemini", "--min-validity", "360", *form]
    ended = run("token", *line)
    assert token.run(line) == ended.code == 0
    assert capfd.readouterr().out == ended.out
    assert served.targets == ["GET /v1/lease/gemini?min_validity=360&max_wait=10"] * 2


def test_click_tells_a_failed_token_as_json_too(run, served: SocketDesk) -> None:
    served.replies["GET /v1/lease/gemini"] = BrokerError(ErrorCode.NO_ACCOUNT, "nobody")
    ended = run("token", "gemini", "--format", "json")
    assert ended.code == 3
    assert json.loads(ended.out)["code"] == "no_account"


@pytest.mark.parametrize(
    ("command", "done"),
    [("pause", "paused"), ("resume", "resumed"), ("refresh", "renewed"), ("clear-cooldown", "free of cool-downs")],
)
def test_changes(run, served: SocketDesk, command: str, done: str) -> None:
    served.replies[f"POST {ALICE_PATH}/{command}"] = ALICE
    ended = run(command, ALICE.account)
    assert ended.code == 0
    assert ended.out.startswith(f"gemini/alice@example.com {done}: active")
    assert json.loads(run(command, ALICE.account, "--json").out)["account"]["account"] == ALICE.account


def test_choosing_a_default(run, served: SocketDesk) -> None:
    bob = "/v1/accounts/gemini/bob%40example.com"
    served.replies[f"POST {bob}/default"] = BOB
    assert "gemini/bob@example.com chosen as default" in run("default", BOB.account).out
    assert served.targets == [f"POST {bob}/default"]


@pytest.mark.parametrize("label", ["work", "gemini/work"])
def test_renaming(run, served: SocketDesk, label: str) -> None:
    served.replies[f"POST {ALICE_PATH}/rename"] = ALICE
    assert " renamed: " in run("rename", ALICE.account, label).out
    assert served.asked[-1].body == {"label": "work"}


def test_renaming_one_of_several_wants_to_know_which(run, served: SocketDesk) -> None:
    assert run("rename", "gemini", "work").code == 2
    assert served.targets == ["GET /v1/accounts"]


def test_logout_here_only(run, served: SocketDesk) -> None:
    answer = LogoutAnswer(account=ALICE.account, revoked=False, detail="left as it is at the provider, as you asked")
    served.replies[f"DELETE {ALICE_PATH}"] = answer
    ended = run("logout", ALICE.account, "--keep-remote")
    assert "not revoked at the provider: left as it is" in ended.out
    assert served.targets == [f"DELETE {ALICE_PATH}?keep_remote=true"]


def test_refresh_says_how_long_it_waits(run, served: SocketDesk) -> None:
    served.replies[f"POST {ALICE_PATH}/refresh"] = ALICE
    run("refresh", ALICE.account, "--max-wait", "3")
    assert served.targets == [f"POST {ALICE_PATH}/refresh?max_wait=3"]


def test_a_provider_alone_means_its_default(run, served: SocketDesk) -> None:
    served.replies[f"POST {ALICE_PATH}/pause"] = ALICE
    assert run("pause", "gemini").code == 0


def test_a_provider_without_default_means_its_first(run, served: SocketDesk) -> None:
    served.replies["POST /v1/accounts/own/key/pause"] = KEY
    assert run("pause", "own").code == 0


def test_an_unknown_provider_lists_what_there_is(run, served: SocketDesk) -> None:
    ended = run("pause", "gemnii")
    assert ended.code == 5
    assert "no account of 'gemnii'; there are: gemini/alice@example.com, gemini/bob@example.com, own/key" in ended.err


def test_without_any_account_that_is_said(run, desk: SocketDesk) -> None:
    desk.replies["GET /v1/accounts"] = AccountList(())
    assert "there are: none yet" in run("resume", "gemini").err


def test_logout(run, served: SocketDesk) -> None:
    served.replies[f"DELETE {ALICE_PATH}"] = LogoutAnswer(account=ALICE.account, revoked=True)
    ended = run("logout", ALICE.account)
    assert ended.code == 0
    assert "revoked at the provider" in ended.out


def test_logout_of_one_of_several_wants_to_know_which(run, served: SocketDesk) -> None:
    ended = run("logout", "gemini")
    assert ended.code == 2
    assert "'gemini' has 2 accounts: gemini/alice@example.com, gemini/bob@example.com" in ended.err
    assert served.targets == ["GET /v1/accounts"]


def test_logout_of_the_only_one(run, served: SocketDesk) -> None:
    served.replies["DELETE /v1/accounts/own/key"] = LogoutAnswer(account="own/key", revoked=False, detail="it cannot")
    assert "not revoked at the provider: it cannot" in run("logout", "own").out


@contextmanager
def http(body: bytes) -> Iterator[int]:
    """A real HTTP server on loopback with one page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def proxy_port(home: Path, port: int) -> None:
    folder = home / ".config" / "ccs-broker"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(f"[proxy]\nport = {port}\n")


def test_status(run, home: Path, served: SocketDesk) -> None:
    with http(b'{"status": "ok"}') as port:
        proxy_port(home, port)
        ended = run("status")
        made = json.loads(run("status", "--json").out)
    assert ended.code == 0
    assert "ok, version 0.1.0, process 7, up 1 min" in ended.out
    assert f"ok at http://127.0.0.1:{port}" in ended.out
    assert made["health"]["pid"] == 7
    assert made["proxy"] == {"url": f"http://127.0.0.1:{port}", "reachable": True, "detail": "ok"}


@pytest.mark.parametrize("body", [b"hello", b"[]", b"{}"])
def test_status_knows_a_stranger_on_the_proxys_port(run, home: Path, served: SocketDesk, body: bytes) -> None:
    with http(body) as port:
        proxy_port(home, port)
        assert "something else answers" in run("status").out


def test_status_without_anything_running(run, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy_port(home, port)
    ended = run("status", "--json")
    made = json.loads(ended.out)
    assert ended.code == 4
    assert made["health"] is None
    assert "no daemon answers" in made["reason"]
    assert made["proxy"]["reachable"] is False


def test_status_does_not_hide_other_failures(run, home: Path, desk: SocketDesk) -> None:
    desk.replies["GET /v1/health"] = BrokerError(ErrorCode.FORBIDDEN_PEER, "not you")
    ended = run("status")
    assert ended.code == 1
    assert "not you" in ended.err
