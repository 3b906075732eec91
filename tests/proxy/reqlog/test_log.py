"""What a whole worker writes of the requests that pass, however they end, and what it never writes."""

import asyncio
import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from broker.config import Config, ProxyConfig, RequestLogConfig, RoutingConfig, UpstreamConfig
from broker.model.secret import Secret
from broker.proxy.reqlog import log as reqlog
from tests.fakes.broker_socket import account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken
from tests.proxy.conftest import KEY, MakeProxy, Proxy
from tests.proxy.test_job import bad, event, good, keys, one_key, stream, two_keys
from tests.proxy.test_witness import cut

MODEL = "/v1/models/gemini-2.5-flash"


def logging_to(p: Proxy, folder: Path, upstream: str, **settings: Any) -> None:
    """Switch the log on, as a reload does."""
    p.worker.apply(
        Config(
            proxy=ProxyConfig(api_keys=(Secret(KEY),)),
            upstreams={"gemini": UpstreamConfig(base_url=upstream)},
            routing=RoutingConfig(),
            request_log=RequestLogConfig(**{"enabled": True, "directory": str(folder), **settings}),
        )
    )


async def logged(folder: Path, number: int = 1) -> list[dict[str, str]]:
    """Wait for requests in the log; the files of each, oldest first."""
    async with asyncio.timeout(20):
        while len(found := sorted(folder.glob("2*"))) < number:
            await asyncio.sleep(0.01)
    return [{file.name: file.read_bytes().decode("latin-1") for file in each.iterdir()} for each in found]


def summary(files: dict[str, str]) -> Any:
    return json.loads(files["summary.json"])


async def test_a_request_as_it_passed(proxy: MakeProxy, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    async with RawUpstream([good("Hello")]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, folder, upstream.url)
        got = await p.chat("What passed?")
        (files,) = await logged(folder)
        (name,) = [path.name for path in folder.iterdir()]
        told, sent = summary(files), upstream.requests[0]
    assert set(files) == {
        "client-request",
        "upstream-request-1",
        "upstream-response-1",
        "client-response",
        "summary.json",
    }
    assert name.endswith(f"-{told['id']}-200")
    assert got.headers["x-request-id"] == told["id"]
    head, _, body = files["client-request"].partition("\n\n")
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\nhost: 127.0.0.1")
    assert "\nauthorization: [hidden]" in head
    assert json.loads(body)["messages"][0]["content"] == "What passed?"
    head, _, body = files["upstream-request-1"].partition("\n\n")
    assert head.startswith(sent.line)
    assert "x-goog-api-key: [hidden]" in head
    assert body.encode() == sent.body
    head, _, body = files["upstream-response-1"].partition("\n\n")
    assert head.startswith("HTTP/1.1 200 OK\n")
    assert body.encode() == good("Hello").partition(b"\r\n\r\n")[2]
    head, _, body = files["client-response"].partition("\n\n")
    assert "x-request-id: " in head
    assert body.encode() == got.body
    assert (told["status"], told["outcome"], told["route"], told["opened_by"]) == (
        200,
        "ok",
        "ChatCompletions",
        "config",
    )
    assert told["model"] == "gemini-2.5-flash"
    assert (told["request_bytes"], told["response_bytes"]) == (
        len(files["client-request"].partition("\n\n")[2]),
        len(got.body),
    )
    (attempt,) = told["attempts"]
    assert (attempt["status"], attempt["upstream"], attempt["model"]) == (200, "gemini", "gemini-2.5-flash")
    assert attempt["account"].startswith("gemini-api/")
    assert attempt["account"] != "gemini-api/one"
    assert 0 <= attempt["first_byte_seconds"] <= attempt["seconds"] <= told["seconds"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*/*")} == {0o600}
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700


async def test_off_and_on_and_off_without_a_restart(proxy: MakeProxy, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        await p.chat()
        logging_to(p, folder, upstream.url)
        await p.chat("the second")
        await logged(folder)
        logging_to(p, folder, upstream.url, enabled=False)
        await p.chat("the third")
        logging_to(p, folder, upstream.url)
        await p.chat("the fourth")
        found = await logged(folder, 2)
    assert [json.loads(files["client-request"].partition("\n\n")[2])["messages"][0]["content"] for files in found] == [
        "the second",
        "the fourth",
    ]


async def test_every_attempt_is_there(proxy: MakeProxy, tmp_path: Path) -> None:
    async with RawUpstream([bad(429), good()]) as upstream, proxy(two_keys(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        assert (await p.chat()).status == 200
        (files,) = await logged(tmp_path)
    assert [each["status"] for each in summary(files)["attempts"]] == [429, 200]
    assert files["upstream-response-1"].startswith("HTTP/1.1 429 Too Many Requests\n")
    assert "upstream says 429" in files["upstream-response-1"]
    assert "upstream-request-2" in files


async def test_of_many_attempts_the_first_and_the_last(
    proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reqlog, "MAX_TRIES", 3)
    monkeypatch.setattr(reqlog, "_FIRST_TRIES", 1)
    daemon = two_keys()
    for number in range(3, 13):
        daemon.put(account(f"gemini-api/{number}", lease(f"gemini-api/{number}")))
    async with RawUpstream([bad(503)]) as upstream, proxy(daemon, upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        await p.chat()
        (files,) = await logged(tmp_path)
        sent = len(upstream.requests)
    told = summary(files)
    assert sent > 4
    assert [each["number"] for each in told["attempts"]] == [1, sent - 1, sent]
    assert told["attempts_left_out"] == sent - 3
    assert f"upstream-response-{sent}" in files
    assert "upstream-request-2" not in files


async def test_a_client_that_leaves_while_accounts_are_asked_for_their_models(proxy: MakeProxy, tmp_path: Path) -> None:
    async def hang(peer: Peer, taken: Taken) -> None:
        del taken
        await peer.gone()

    async with RawUpstream([hang]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        _, writer = await p.dial()
        writer.write(p.request("POST", "/v1/chat/completions", b'{"model": "nobody-knows", "messages": []}'))
        async with asyncio.timeout(20):
            while not upstream.requests:
                await asyncio.sleep(0.01)
        writer.transport.abort()
        (files,) = await logged(tmp_path)
    assert set(files) == {"client-request", "summary.json"}
    assert (summary(files)["status"], summary(files)["attempts"]) == (499, [])


async def test_a_stream(proxy: MakeProxy, tmp_path: Path) -> None:
    async with RawUpstream([stream("one", "two")]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        got = await p.chat(stream=True)
        (files,) = await logged(tmp_path)
    assert files["upstream-response-1"].partition("\n\n")[2].encode() == event("one") + event("two")
    assert files["client-response"].partition("\n\n")[2].encode() == got.body


async def test_a_stream_that_is_cut(proxy: MakeProxy, tmp_path: Path) -> None:
    async with RawUpstream([cut(event("one"))]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url, only="errors")
        got = await p.chat(stream=True)
        (files,) = await logged(tmp_path)
    assert summary(files)["outcome"] == "cut"
    assert files["client-response"].partition("\n\n")[2].encode() == got.body


async def test_a_client_that_leaves(proxy: MakeProxy, tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def slow(peer: Peer, taken: Taken) -> None:
        del taken
        await peer.send(stream("one").removesuffix(b"0\r\n\r\n"))
        await gone.wait()

    async with RawUpstream([slow]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        reader, writer = await p.dial()
        writer.write(p.request("POST", f"{MODEL}:streamGenerateContent?alt=sse", b"{}"))
        await reader.readuntil(b"one")
        writer.transport.abort()
        (files,) = await logged(tmp_path)
        gone.set()
    assert (summary(files)["status"], summary(files)["outcome"]) == (499, "client left")
    assert files["client-response"].startswith("HTTP/1.1 200 OK\n")


async def test_an_upstream_that_is_not_there(proxy: MakeProxy, tmp_path: Path) -> None:
    async with proxy(one_key()) as p:
        logging_to(p, tmp_path, "http://127.0.0.1:1")
        await p.chat()
        (files,) = await logged(tmp_path)
    assert [each["status"] for each in summary(files)["attempts"]] == [None] * len(summary(files)["attempts"])
    assert "upstream-response-1" not in files
    assert "upstream-request-1" in files


async def test_what_is_refused_here(proxy: MakeProxy, tmp_path: Path) -> None:
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url, only="errors")
        assert (await p.chat()).status == 200
        assert (await p.chat(model="nobody-has-this")).status == 404
        assert (await p.ask("POST", "/v1/chat/completions", b"no JSON")).status == 400
        assert (await p.ask("POST", "/v1/chat/completions", b"{}", authorization="Bearer fake-wrong")).status == 401
        found = await logged(tmp_path, 2)
    assert [summary(files)["status"] for files in found] == [404, 400]
    assert all("error" in files["client-response"] for files in found)
    assert found[1]["client-request"].endswith("\n\nno JSON")


async def test_no_secret_is_in_it_wherever_it_stood(proxy: MakeProxy, tmp_path: Path) -> None:
    """The token and the key, repeated by client and upstream in every place there is; a token across the edge of what is kept."""
    shaped = "sk" + "-fake-" + "shape" * 6
    wide = "x" * 900 + " fake-key-1"  # the limit falls into it
    plain = json.dumps({"contents": [], "note": f"{KEY} and {shaped}", "access_token": "fake-words", "wide": wide})
    inner = json.dumps({"tool": plain})
    back = json.dumps(
        {"error": {"code": 400, "message": f"fake-key-1 of {KEY} is wrong, {shaped}", "status": "INVALID"}}
    )
    reply = (
        f"HTTP/1.1 400 Bad fake-key-1\r\nContent-Type: application/json\r\nSet-Cookie: fake-cookie-1=fake-value\r\n"
        f"X-Echo: fake-key-1\r\nWWW-Authenticate: Bearer realm=fake-realm\r\nContent-Length: {len(back)}\r\n\r\n{back}"
    )
    async with RawUpstream([reply.encode()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url, max_body_bytes=2 * (plain.index("fake-key-1") + 4))
        for text in (plain, inner):
            target = f"{MODEL}:generateContent?key={KEY}&x=1"
            await p.ask("POST", target, text.encode(), authorization="", cookie="fake-cookie-2", x_own_token="fake-own")
        found = await logged(tmp_path, 2)
        assert keys(upstream) == ["fake-key-1"] * 2
    for files in found:
        for name, text in files.items():
            for secret in (KEY, "fake-key-1", "fake-ke", shaped, "fake-words", "fake-cookie", "fake-realm", "fake-own"):
                assert secret not in text, f"{secret} in {name}"
        assert "x-echo: [hidden]" in files["upstream-response-1"]
        assert "x=1" in files["client-request"]
        assert "INVALID" in files["upstream-response-1"]


async def test_images_and_long_texts_are_cut(proxy: MakeProxy, tmp_path: Path) -> None:
    image = "iVBORw0KGgo" + "QUJD" * 300_000
    parts = [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": image}}, {"text": "what is it?"}]
    body = json.dumps({"contents": [{"role": "user", "parts": parts}], "note": "long words " * 1000})
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url, max_body_bytes=4 << 20, max_string_bytes=100)
        await p.ask("POST", f"{MODEL}:generateContent", body.encode())
        logging_to(p, tmp_path, upstream.url)
        await p.ask("POST", f"{MODEL}:generateContent", body.encode())
        whole, ends = await logged(tmp_path, 2)
    written = json.loads(whole["client-request"].partition("\n\n")[2])
    assert written["contents"][0]["parts"][1]["inlineData"]["data"] == f"<{len(image)} bytes>"
    assert written["note"].startswith("long words long ")
    assert written["note"].endswith("<10901 bytes>")
    assert written["contents"][0]["parts"][2]["text"] == "what is it?"
    assert summary(whole)["request_bytes"] == len(body)
    # Where the body is longer than what is kept, its two ends are.
    kept = ends["client-request"].partition("\n\n")[2]
    assert len(kept) < 10_000
    assert kept.startswith('{"contents": [{"role": "user", "parts": [{"text": "look"}')
    assert kept.endswith('"}')
    assert "what is it?" in kept


async def test_a_directory_that_cannot_be_written_is_told_once(
    proxy: MakeProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    link = tmp_path / "log"
    link.symlink_to(target)
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, link, upstream.url)
        for _ in range(3):
            assert (await p.chat()).status == 200
        await _metric(p, 'ccs_proxy_request_log_total{outcome="failed",worker="0"} 3.0')
        link.unlink()
        await p.chat()
        assert len(await logged(link)) == 1
        await _metric(p, 'ccs_proxy_request_log_total{outcome="written",worker="0"} 1.0')
    assert list(target.iterdir()) == []
    told = [record.getMessage() for record in caplog.records if "request log" in record.getMessage()]
    assert told == ["the request log cannot be written"]


async def _metric(p: Proxy, line: str) -> None:
    async with asyncio.timeout(20):
        while line not in (await p.ask("GET", "/metrics")).body.decode():
            await asyncio.sleep(0.01)


async def test_what_it_cannot_keep_up_with_is_dropped_counted_and_told_once(
    proxy: MakeProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reqlog, "MAX_WAITING", 0)
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        for _ in range(3):
            assert (await p.chat()).status == 200
        await _metric(p, 'ccs_proxy_request_log_total{outcome="dropped",worker="0"} 3.0')
        monkeypatch.setattr(reqlog, "MAX_WAITING", 5)
        with caplog.at_level(logging.WARNING):
            await p.chat()
            await logged(tmp_path)
            async with asyncio.timeout(20):
                while "keeps up again" not in caplog.text:
                    await asyncio.sleep(0.01)
    assert caplog.text.count("cannot keep up") == 1


async def test_a_fault_of_the_log_itself_is_told_and_hurts_nobody(
    proxy: MakeProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reqlog.Folder, "write", broken)
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        assert (await p.chat()).status == 200
        await _metric(p, 'ccs_proxy_request_log_total{outcome="failed",worker="0"} 1.0')
    assert "the request log failed" in caplog.text


async def test_a_stop_writes_what_waits(proxy: MakeProxy, tmp_path: Path) -> None:
    async with RawUpstream([good()]) as upstream, proxy(one_key(), upstream.url) as p:
        logging_to(p, tmp_path, upstream.url)
        await asyncio.gather(*(p.chat(f"question {number}") for number in range(20)))
    assert len(list(tmp_path.glob("2*"))) == 20
