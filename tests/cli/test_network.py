import io
import json
import sys

import pytest

from broker.ipc.network_schema import NetworkRoute, NetworkTestAnswer, NetworkView
from broker.model.errors import BrokerError, ErrorCode
from tests.fakes.socket_desk import SocketDesk

ANSWER = NetworkTestAnswer(
    target="a.example:443", level="given", source="the URL that was given", ok=True, seconds=0.02, proxy="http://p:1"
)


@pytest.fixture
def ways(desk: SocketDesk) -> SocketDesk:
    route = NetworkRoute(
        level="provider", source="providers.codex.proxy_url", provider="codex", proxy="http://p.example:1"
    )
    desk.replies |= {"GET /v1/network": NetworkView((route,)), "POST /v1/network/test": ANSWER}
    return desk


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def body(desk: SocketDesk) -> dict[str, object]:
    [asked] = [each for each in desk.asked if each.target == "/v1/network/test"]
    assert isinstance(asked.body, dict)
    return {name: value for name, value in asked.body.items() if value is not None}


def test_show(run, ways: SocketDesk) -> None:  # type: ignore[no-untyped-def]
    ended = run("network", "show")
    assert ended.code == 0
    assert ended.out.splitlines()[1].split() == ["codex", "http://p.example:1", "providers.codex.proxy_url"]
    (route,) = json.loads(run("network", "show", "--json").out)["routes"]
    assert (route["provider"], route["level"]) == ("codex", "provider")


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["codex"], {"provider": "codex"}),
        (["codex/a@b.example"], {"account": "codex/a@b.example"}),
        (["codex", "--to", "https://x.example"], {"provider": "codex", "target": "https://x.example"}),
        (["--to", "https://x.example"], {"target": "https://x.example"}),
    ],
)
def test_what_is_asked(run, ways: SocketDesk, arguments: list[str], sent: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    ended = run("network", "test", *arguments)
    assert ended.code == 0
    assert "Connected to a.example:443 through http://p:1" in ended.out
    assert body(ways) == sent


def test_a_proxy_that_is_piped_in(run, ways: SocketDesk, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    pipe(monkeypatch, b"http://me:canary-1@p:1\n")
    ended = run("network", "test", "--proxy", "--to", "https://x.example", "--json")
    assert (ended.code, json.loads(ended.out)["ok"]) == (0, True)
    assert body(ways) == {"proxy_url": "http://me:canary-1@p:1", "target": "https://x.example"}
    assert "canary" not in ended.out + ended.err


def test_no_connection_is_a_failure(run, ways: SocketDesk) -> None:  # type: ignore[no-untyped-def]
    ways.replies["POST /v1/network/test"] = NetworkTestAnswer(
        target="a.example:443", level="none", source="no proxy is set", ok=False, seconds=1.0, error="cannot connect"
    )
    ended = run("network", "test", "codex")
    assert ended.code == 1
    assert "Not connected to a.example:443 directly (no proxy is set): cannot connect" in ended.out


@pytest.mark.parametrize("arguments", [[], ["codex", "--proxy"], ["--proxy"]])
def test_what_cannot_be_asked(run, ways: SocketDesk, arguments: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert run("network", "test", *arguments).code == 2
    assert ways.asked == []


def test_an_empty_pipe(run, ways: SocketDesk, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    pipe(monkeypatch, b"\n")
    ended = run("network", "test", "--proxy", "--to", "https://x.example")
    assert ended.code == 2
    assert "no URL was given" in ended.err
    assert ways.asked == []


def test_what_the_daemon_refuses(run, ways: SocketDesk) -> None:  # type: ignore[no-untyped-def]
    ways.replies["POST /v1/network/test"] = BrokerError(ErrorCode.UNKNOWN_PROVIDER, "no provider nope")
    ended = run("network", "test", "nope")
    assert ended.code != 0
    assert "no provider nope" in ended.err
