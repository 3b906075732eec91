"""What the proxy answers itself, and whom it lets in: over real sockets, through a whole worker."""

import asyncio
import gc
import json

import pytest

from broker.model.secret import Secret
from broker.proxy.call import ClientCall
from broker.proxy.job import Job
from broker.proxy.upstreams.table import PROVIDERS
from broker.proxy.wire.exchange import Limits
from broker.proxy.works import TalkWork
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer
from tests.proxy.conftest import KEY, MakeProxy, parse


def daemon_with(*names: str, **fields: object) -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(*(account(name, lease(name, **fields)) for name in names))
    return daemon


CHAT = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}]}
PLACES = [
    {"authorization": f"Bearer {KEY}"},
    {"authorization": "", "x_api_key": KEY},
    {"authorization": "", "x_goog_api_key": KEY},
]


@pytest.mark.parametrize("headers", PLACES)
async def test_a_key_may_come_in_any_of_its_places(proxy: MakeProxy, headers: dict[str, str]) -> None:
    async with proxy(daemon_with("gemini-api/a")) as p:
        assert (await p.ask("GET", "/v1/models", **headers)).status == 200
        assert (await p.ask("GET", f"/v1/models?key={KEY}", authorization="")).status == 200


async def test_wrong_keys_are_told_in_the_client_s_shape_before_the_body_is_read(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a")) as p:
        openai = await p.ask("POST", "/v1/chat/completions", CHAT, authorization="Bearer wrong-key")
        assert (openai.status, openai.json()["error"]["type"]) == (401, "authentication_error")
        gemini = await p.ask(
            "POST", "/v1beta/models/m:generateContent", {}, authorization="", x_goog_api_key="wrong-key"
        )
        assert (gemini.status, gemini.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
        claude = await p.ask(
            "GET", "/v1/models", authorization="", x_api_key="wrong-key", anthropic_version="2023-06-01"
        )
        assert (claude.status, claude.json()["error"]["type"]) == (401, "authentication_error")
        assert openai.headers["x-request-id"]
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", b"", authorization="", content_length="1000"))
        assert (await reader.readline()).split()[1] == b"401"


async def test_the_internal_key_opens_to_this_user_and_can_be_turned_off(proxy: MakeProxy) -> None:
    internal = {"authorization": "Bearer ccs-internal-managed"}
    async with proxy(daemon_with("gemini-api/a")) as p:
        assert (await p.ask("GET", "/v1/models", **internal)).status == 200
        forged = await p.ask("GET", "/v1/models", authorization="", x_forwarded_for="127.0.0.1")
        assert forged.status == 401
    async with proxy(daemon_with("gemini-api/a"), internal_key=False) as p:
        assert (await p.ask("GET", "/v1/models", **internal)).status == 401
    async with proxy(daemon_with("gemini-api/a"), internal_key=False, api_keys=()) as p:
        got = await p.ask("GET", "/v1/models", **internal)
        assert (got.status, got.json()["error"]["code"]) == (401, "closed")


async def test_another_user_s_program_cannot_use_the_internal_key(
    proxy: MakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def other(peer: tuple[str, int], local: tuple[str, int]) -> bool:
        asked.append((peer, local))
        return False

    monkeypatch.setattr("broker.proxy.call.same_user", other)
    async with proxy(daemon_with("gemini-api/a")) as p:
        reader, writer = await p.dial()
        for _ in range(3):
            writer.write(p.request("GET", "/v1/models", authorization="Bearer ccs-internal-managed"))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(parse(head).headers["content-length"]))
            assert b" 401 " in head
        assert len(asked) == 1, "asked once a connection"
        assert asked[0][1][1] == p.port
        assert (await p.ask("GET", "/v1/models")).status == 200


async def test_what_one_user_s_program_sent_lets_no_other_s_in(
    proxy: MakeProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head is known on all connections of a peer, but whose program is at the other end is asked of each."""
    strangers: set[tuple[str, int]] = set()
    monkeypatch.setattr("broker.proxy.call.same_user", lambda peer, _local: peer not in strangers)
    async with proxy(daemon_with("gemini-api/a")) as p:
        asked = p.request("GET", "/v1/models", authorization="Bearer ccs-internal-managed")
        (mine, writer), (theirs, stranger) = await p.dial(), await p.dial()
        strangers.add(stranger.get_extra_info("sockname"))
        for _ in range(3):
            for reader, to, status in ((mine, writer, b" 200 "), (theirs, stranger, b" 401 ")):
                to.write(asked)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(parse(head).headers["content-length"]))
                assert status in head


@pytest.mark.parametrize("target", ["/health", "/docs", "/v1/models"])
async def test_other_hosts_and_sites_are_turned_away_everywhere(proxy: MakeProxy, target: str) -> None:
    async with proxy(daemon_with("gemini-api/a"), allowed_hosts=("proxy.example",)) as p:
        assert (await p.ask("GET", target, host="evil.example")).status == 403
        assert (await p.ask("GET", target, origin="https://evil.example")).status == 403
        assert (await p.ask("GET", target, origin="http://127.0.0.1:3000")).status == 403
        assert (await p.ask("GET", target, host="proxy.example:8317")).status == 200
        assert (await p.ask("GET", target, host="localhost")).status == 200


async def test_what_is_public(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a", "gemini/b")) as p:
        root = await p.ask("HEAD", "/", authorization="")
        assert (root.status, root.body) == (200, b"")
        health = (await p.ask("GET", "/health", authorization="")).json()
        assert health["status"] == "ok"
        assert health["daemon"] == {"connected": True, "detail": ""}
        assert health["accounts"] == {"active": 2}
        assert health["leases"] == 2
        assert health["uptime"] >= 0
        assert "gemini" not in json.dumps(health)
        docs = await p.ask("GET", "/docs", authorization="")
        assert docs.headers["content-type"] == "text/html; charset=utf-8"
        assert f"http://127.0.0.1:{p.port}/v1".encode() in docs.body
        for closed in ("/metrics", "/v1/models", "/nothing"):
            assert (await p.ask("GET", closed, authorization="")).status == 401


async def test_numbers(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a")) as p:
        await p.ask("GET", "/health")
        await p.ask("GET", "/nothing")
        text = (await p.ask("GET", "/metrics")).body.decode()
        assert 'ccs_proxy_requests_total{route="Health",status="200",worker="0"} 1.0' in text
        assert 'ccs_proxy_requests_total{route="Unknown",status="404",worker="0"} 1.0' in text
        assert 'ccs_proxy_daemon_connected{worker="0"} 1.0' in text
        assert 'ccs_proxy_leases{worker="0"} 1.0' in text
        assert 'ccs_proxy_client_connections{worker="0"} 1.0' in text


async def test_models_in_each_client_s_shape(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini/b")) as p:
        openai = (await p.ask("GET", "/v1/models")).json()
        names = [model["id"] for model in openai["data"]]
        assert "gemini-3-pro-image-preview" in names
        assert "gemma-3-27b-it" not in names, "no account serves it"
        gemini = (await p.ask("GET", "/v1beta/models")).json()
        assert [model["name"] for model in gemini["models"]] == [f"models/{name}" for name in names]
        assert (await p.ask("GET", "/v1/models", authorization="", x_goog_api_key=KEY)).json() == gemini
        claude = (await p.ask("GET", "/v1/models", anthropic_version="2023-06-01")).json()
        assert claude["first_id"] == names[0]
        assert (await p.ask("GET", "/v1/models/gemini-2.5-pro")).json()["id"] == "gemini-2.5-pro"
        assert (await p.ask("GET", "/v1beta/models/gemini-2.5-pro")).json()["name"] == "models/gemini-2.5-pro"
        assert (await p.ask("GET", "/v1/models/gemini/gemini-2.5-pro")).json()["id"] == "gemini/gemini-2.5-pro"
        assert (await p.ask("GET", "/v1/models/gemini/mystery-4o")).status == 404
        missing = await p.ask("GET", "/v1/models/mystery-4o")
        assert (missing.status, missing.json()["error"]["param"]) == (404, "model")
        p.daemon.put(account("gemini-api/k", lease("gemini-api/k")))
        await asyncio.sleep(0.02)
        assert "gemma-3-27b-it" in (await p.ask("GET", "/v1/models")).body.decode()


async def test_unknown_paths_methods_and_models(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini/b")) as p:
        lost = await p.ask("POST", "/v1/nothing")
        assert (lost.status, lost.json()["error"]["code"]) == (404, "not_found")
        assert (await p.ask("POST", "/v1/messages", {})).json()["type"] == "error"
        wrong = await p.ask("GET", "/v1/chat/completions")
        assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
        assert wrong.json()["error"]["code"] == "method_not_allowed"
        assert (await p.ask("POST", "/v1/models")).headers["allow"] == "GET, HEAD"
        model = await p.chat(model="mystery-4o")
        assert (model.status, model.json()["error"]["code"], model.json()["error"]["param"]) == (
            404,
            "model_not_found",
            "model",
        )
        gemini = await p.ask("POST", "/v1/models/mystery-4o:generateContent", {})
        assert (gemini.status, gemini.json()["error"]["status"]) == (404, "NOT_FOUND")
        other = await p.chat(model="nobody/opus")
        assert ", ".join(sorted(PROVIDERS)) in other.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"nonsense", "JSON"),
        (b"[]", "object"),
        (b'{"model": "gemini-2.5-flash"}', "messages"),
        (b'{"model": 7, "messages": []}', "model"),
        (b'{"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
        (
            b'{"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "x"}], "temperature": "hot"}',
            "temperature",
        ),
    ],
)
async def test_bad_bodies_name_the_field(proxy: MakeProxy, body: bytes, word: str) -> None:
    async with proxy(daemon_with("gemini-api/a")) as p:
        got = await p.ask("POST", "/v1/chat/completions", body)
        assert got.status == 400
        assert got.json()["error"]["type"] == "invalid_request_error"
        assert word in got.json()["error"]["message"]


async def test_compressed_bodies_are_not_read(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a")) as p:
        got = await p.ask("POST", "/v1/chat/completions", CHAT, content_encoding="gzip")
        assert got.status == 400
        assert "uncompressed" in got.json()["error"]["message"]


async def test_a_code_assist_body_that_is_not_json(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini/a", facts={"project_id": "p-1"}), "http://127.0.0.1:1") as p:
        got = await p.ask("POST", "/v1beta/models/gemini-2.5-pro:generateContent", b"nonsense")
        assert (got.status, got.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


async def test_limits_of_the_settings(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a"), max_body_bytes=100, max_connections=2) as p:
        got = await p.ask("POST", "/v1/chat/completions", b"x" * 101)
        assert (got.status, "100 bytes" in got.json()["error"]["message"]) == (413, True)
        gemini = await p.ask("POST", "/v1/models/m:generateContent", b"x" * 101)
        assert gemini.json()["error"]["code"] == 413
        first, second = await p.dial(), await p.dial()
        while p.worker.connections < 2:
            await asyncio.sleep(0.01)
        reader, _ = await p.dial()
        refused = parse(await reader.read())
        assert refused.status == 503
        assert "too many connections" in refused.json()["error"]["message"]
        first[1].close()
        second[1].close()


async def test_ill_framed_and_slow_requests_are_told(proxy: MakeProxy) -> None:
    async with proxy(
        daemon_with("gemini-api/a"), limits=Limits(head_seconds=0.1, stall_seconds=0.1), keepalive_seconds=0.1
    ) as p:
        reader, writer = await p.dial()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert parse(await reader.read()).json()["error"]["message"] == "more than one host header"
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", b"", content_length="10") + b"{")
        got = parse(await reader.read())
        assert (got.status, got.json()["error"]["message"]) == (408, "the request did not arrive in time")


async def test_expect_continue_is_answered_only_to_those_who_may_come_in(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a"), "http://127.0.0.1:1") as p:
        reader, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", b"", content_length="2", expect="100-continue"))
        assert (await reader.readline()).split()[1] == b"100"
        reader, writer = await p.dial()
        writer.write(
            p.request("POST", "/v1/chat/completions", b"", content_length="2", expect="100-continue", authorization="")
        )
        assert (await reader.readline()).split()[1] == b"401"


AGENTS = [("openai-python", 503), ("claude-cli/2.1.197 (external, sdk-cli)", 403)]


@pytest.mark.parametrize(("agent", "status"), AGENTS)
async def test_a_login_a_person_must_renew(proxy: MakeProxy, agent: str, status: int) -> None:
    daemon = FakeDaemon()
    daemon.put(account("gemini/a", None, state="needs_login", reason="the grant was revoked"))
    async with proxy(daemon) as p:
        got = await p.ask("POST", "/v1/chat/completions", CHAT, user_agent=agent)
        assert got.status == status
        message = got.json()["error"]["message"]
        assert "gemini/a needs a login (the grant was revoked); run: ccs-broker login gemini" in message


async def test_reasons_are_given_for_each_account(proxy: MakeProxy) -> None:
    daemon = FakeDaemon()
    daemon.put(
        account("gemini/a", None, state="needs_login"),
        account("gemini/b", lease("gemini/b"), paused=True),
        account("gemini/c", lease("gemini/c"), disabled=True),
        account("gemini/d", None, state="backoff"),
    )
    async with proxy(daemon) as p:
        got = await p.ask("POST", "/v1/models/gemini-2.5-pro:generateContent", {})
        assert got.status == 503
        message = got.json()["error"]["message"]
        for reason in (
            "gemini/a needs a login",
            "gemini/b is paused",
            "gemini/c is disabled",
            "gemini/d: the token endpoint is down",
        ):
            assert reason in message


async def test_nobody_logged_in_and_no_daemon(proxy: MakeProxy) -> None:
    async with proxy(FakeDaemon()) as p:
        got = await p.chat()
        assert (got.status, got.json()["error"]["code"]) == (503, "auth_not_found")
        assert (await p.ask("GET", "/v1/models")).json()["data"] == []
        assert (await p.ask("GET", "/health")).json()["status"] == "degraded"
    away = FakeDaemon()
    away.stop()
    async with proxy(away) as p:
        got = await p.chat()
        assert (got.status, got.json()["error"]["code"]) == (503, "daemon_unreachable")
        assert "no daemon on the socket" in got.json()["error"]["message"]
        health = (await p.ask("GET", "/health")).json()
        assert health["daemon"] == {"connected": False, "detail": "no daemon on the socket"}


async def test_the_proxy_works_on_while_the_daemon_is_away(proxy: MakeProxy) -> None:
    body = json.dumps({"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}).encode()
    daemon = daemon_with("gemini-api/a")
    async with RawUpstream([answer(body)]) as upstream, proxy(daemon, upstream.url) as p:
        daemon.stop()
        while p.worker.table.connected:
            await asyncio.sleep(0.01)
        for _ in range(5):
            assert (await p.chat()).status == 200
        health = (await p.ask("GET", "/health")).json()
        assert (health["status"], health["leases"]) == ("degraded", 1)
        daemon.start()
        while not p.worker.table.connected:
            await asyncio.sleep(0.01)
        assert daemon.watched_from[0] is None
        assert daemon.watched_from[-1] == "1"
        assert (await p.chat()).status == 200


async def test_a_client_that_leaves_before_its_body_is_counted(proxy: MakeProxy) -> None:
    async with proxy(daemon_with("gemini-api/a")) as p:
        _, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", b"", content_length="10"))
        await asyncio.sleep(0.05)
        writer.transport.abort()
        while p.worker.connections:
            await asyncio.sleep(0.01)
        text = (await p.ask("GET", "/metrics")).body.decode()
        assert 'route="ChatCompletions",status="499"' in text


async def test_keys_stay_out_of_sight(proxy: MakeProxy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with proxy(daemon_with("gemini-api/a"), api_keys=(Secret(KEY), Secret("another-key"))) as p:
        for target in ("/health", "/docs", "/v1/models", "/nothing", f"/v1/nothing?key={KEY}"):
            got = await p.ask("GET", target)
            assert KEY.encode() not in got.body
    assert KEY not in caplog.text


def under_way() -> list[object]:
    return [each for each in gc.get_objects() if isinstance(each, TalkWork | Job | ClientCall)]


@pytest.mark.parametrize(("model", "status"), [("gemini-2.5-flash", 200), ("nobody-has-this", 404)])
async def test_a_request_that_is_over_is_gone_without_a_collection(proxy: MakeProxy, model: str, status: int) -> None:
    body = b'{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}'
    async with RawUpstream([answer(body)]) as upstream, proxy(daemon_with("gemini-api/a"), upstream.url) as p:
        gc.collect()
        gc.disable()  # a body may have 60 MB, and a collection be minutes away
        try:
            asked = await p.ask("POST", "/v1/chat/completions", {**CHAT, "model": model})
            for _ in range(500):
                left = under_way()
                if not left:
                    break
                await asyncio.sleep(0.01)
        finally:
            gc.enable()
    assert (asked.status, left) == (status, [])
