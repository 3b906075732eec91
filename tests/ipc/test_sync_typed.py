from pathlib import Path

import pytest

from broker.ipc.schema import LoginStart, LoginView, encode, problem_of
from broker.ipc.sync_typed import call
from broker.model.errors import BrokerError, ErrorCode
from tests.ipc.test_sync_client import serving

LOGIN = LoginView(id="L1", provider="acme", state="waiting", flow="code")


def reply(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_messages_go_out_and_come_back_typed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(path, reply("201 Created", encode(LOGIN))) as seen:
        assert call(path, LoginView, "POST", "/v1/logins", LoginStart(provider="acme")) == LOGIN
    assert b'"provider": "acme"' in seen[0]


def test_a_problem_is_raised(tmp_path: Path) -> None:
    path = tmp_path / "s"
    problem = encode(problem_of(BrokerError(ErrorCode.LOGIN_REQUIRED, "log in", account="acme/x")))
    with serving(path, reply("403 Forbidden", problem)), pytest.raises(BrokerError) as caught:
        call(path, LoginView, "GET", "/v1/logins/L1")
    assert (caught.value.code, caught.value.account) == (ErrorCode.LOGIN_REQUIRED, "acme/x")


def test_a_refusal_without_a_reason_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with serving(path, reply("502 Bad Gateway", b"{}")), pytest.raises(BrokerError, match="502"):
        call(path, LoginView, "GET", "/v1/logins/L1")
