import json
import signal
import threading

import pytest

from broker.ipc.schema import AccountList, AccountQuota
from broker.model.errors import BrokerError, ErrorCode
from tests.cli.conftest import NOW, QUOTA, views
from tests.fakes.socket_desk import Asked, SocketDesk

ALICE, BOB, KEY = views()
PATHS = [f"/v1/accounts/{each}/quota" for each in ("gemini/alice%40example.com", "gemini/bob%40example.com", "own/key")]


@pytest.fixture
def served(desk: SocketDesk) -> SocketDesk:
    """Three accounts: one tells, one refuses, one cannot be asked."""
    desk.replies["GET /v1/accounts"] = AccountList(views())
    desk.replies[f"GET {PATHS[0]}"] = QUOTA
    desk.replies[f"GET {PATHS[1]}"] = BrokerError(ErrorCode.LOGIN_REQUIRED, "log in again", account=BOB.account)
    desk.replies[f"GET {PATHS[2]}"] = BrokerError(ErrorCode.UNSUPPORTED, "no way to ask")
    return desk


def test_all_accounts_in_their_order(run, served: SocketDesk) -> None:
    ended = run("quota")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines() if not line.startswith(" ")] == [
        ALICE.account, BOB.account, KEY.account,
    ]  # fmt: skip
    assert "25 %" in ended.out
    assert "log in again" in ended.out
    assert "no way to ask" in ended.out
    assert "Asking for 3 accounts" in ended.err


def test_as_json(run, served: SocketDesk) -> None:
    ended = run("quota", "--json")
    made = json.loads(ended.out)
    assert made["version"] == 1
    alice, bob, key = made["accounts"]
    assert alice["quota"]["windows"][0] == {
        "name": "gemini-2.5-pro",
        "used": 0.25,
        "resets_at": NOW + 11_000,
        "note": None,
    }
    assert alice["problem"] is None
    assert (bob["account"], bob["quota"], bob["problem"]["code"]) == (BOB.account, None, "login_required")
    assert (key["account"], key["problem"]["code"]) == (KEY.account, "unsupported")


def test_one_account(run, served: SocketDesk) -> None:
    ended = run("quota", ALICE.account)
    assert ended.code == 0
    assert served.targets == [f"GET {PATHS[0]}?max_wait=20"]


def test_one_that_is_not_told_is_a_failure(run, served: SocketDesk) -> None:
    ended = run("quota", BOB.account)
    assert ended.code == 3
    assert "log in again" in ended.err
    assert json.loads(run("quota", KEY.account, "--json").out)["code"] == "unsupported"


def test_none_told_at_all_is_a_failure(run, served: SocketDesk) -> None:
    served.replies[f"GET {PATHS[0]}"] = BrokerError(ErrorCode.QUOTA_UNAVAILABLE, "it refused")
    assert run("quota").code == 1


def test_no_account(run, desk: SocketDesk) -> None:
    desk.replies["GET /v1/accounts"] = AccountList(())
    ended = run("quota")
    assert (ended.code, ended.out) == (0, "No accounts yet. Run: ccs-broker login gemini\n")


def test_accounts_are_asked_at_the_same_time(run, served: SocketDesk) -> None:
    together = threading.Barrier(3, timeout=20)

    def wait(reply: object):
        def answer(_: Asked) -> object:
            together.wait()
            return reply

        return answer

    for path in PATHS:
        served.replies[f"GET {path}"] = wait(AccountQuota(account="a/b", read_at=NOW))
    assert run("quota").code == 0


def test_ctrl_c_waits_for_nobody(run, served: SocketDesk) -> None:
    release = threading.Event()

    def hang(_: Asked) -> object:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # type: ignore[arg-type]
        release.wait(20)
        return QUOTA

    served.replies[f"GET {PATHS[0]}"] = hang
    assert run("quota", ALICE.account).code == 130
    release.set()
