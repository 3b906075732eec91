"""What a worker counts, and what of it reaches the disk."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from broker.config import Config, ProxyConfig, UpstreamConfig, UsageConfig
from broker.model.secret import Secret
from broker.proxy import usage as usage_module
from broker.proxy.keyfile import KeyFile, change
from broker.proxy.keys import LocalKey, digest_of
from broker.proxy.listen import bind
from broker.proxy.server import Worker
from broker.proxy.usage import Usage
from broker.proxy.usage_store import UsageReader
from broker.proxy.usage_table import MAX_SESSIONS, Counts
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.witness import Attempt
from broker.system import SystemChance, SystemClock
from broker.translate.codecs import Dialect
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import RawUpstream, answer, chunked
from tests.proxy.conftest import KEY, Proxy
from tests.proxy.test_job import JSON, SSE, bad, gemini, one_key, two_keys
from tests.proxy.test_witness import cut

INTERNAL = "ccs-internal-managed"
MODEL = "gemini-2.5-flash"
TOLD = {"promptTokenCount": 30, "candidatesTokenCount": 7, "thoughtsTokenCount": 5, "cachedContentTokenCount": 20}
GOOD = answer(
    json.dumps({**gemini("Hello"), "usageMetadata": TOLD}).encode(), "200 OK", JSON, "x-ratelimit-limit-requests: 60"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "usage.db"


@asynccontextmanager
async def counting(
    path: Path | None, daemon: FakeDaemon, upstream: str = "", keys: Path | None = None, *, enabled: bool = True
) -> AsyncIterator[Proxy]:
    """A worker that counts; all is written when it ends."""
    config = Config(
        proxy=ProxyConfig(port=0, api_keys=(Secret(KEY),)),
        upstreams={name: UpstreamConfig(base_url=upstream) for name in ("gemini", "anthropic", "openai", "codex")}
        if upstream
        else {},
        usage=UsageConfig(enabled=enabled),
    )
    file = KeyFile(keys) if keys is not None else None
    worker = Worker(config, daemon, SystemClock(), SystemChance(), keys=file, usage=path)
    _, port = await worker.start(bind("127.0.0.1", 0))
    running = Proxy(worker, daemon, port)
    try:
        yield running
    finally:
        await running.close()
        await asyncio.sleep(0.05)  # for the thread to close its file


def kept(path: Path) -> dict[tuple[str, str, str], Counts]:
    reader = UsageReader(path)
    try:
        return {row[1:4]: row[4] for row in reader.usage((0, 1 << 40), {}, hourly=False)}
    finally:
        reader.close()


def told(counts: Counts) -> dict[str, int]:
    """The whole numbers that are not 0."""
    return {
        name: value for name in counts.__struct_fields__ if isinstance(value := getattr(counts, name), int) and value
    }


async def test_requests_are_counted_by_key_account_and_model_and_nothing_is_lost_at_the_end(
    path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    made = LocalKey(name="ci", sha256=digest_of("ccsb-fake"), slot=0, created=1, rpm=60)
    change(file, lambda _: (made,))
    async with RawUpstream([GOOD]) as upstream, counting(path, one_key(), upstream.url, file) as p:
        await p.chat()
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        for key in ("ccsb-fake", "ccsb-fake", INTERNAL):
            got = await p.ask("POST", "/v1/chat/completions", body, authorization=f"Bearer {key}")
            assert got.status == 200
    who = ("gemini-api/one", MODEL)
    found = kept(path)
    assert {key: told(counts) for key, counts in found.items()} == {
        (name, *who): {
            "requests": number, "prompt": 30 * number, "completion": 12 * number, "cached": 20 * number, "reasoning": 5 * number, "answered": number,
        }
        for name, number in (("config", 1), ("ci", 2), ("internal", 1))
    }  # fmt: skip
    one = found["ci", *who]
    assert 0 < one.first_seconds <= one.seconds < 20
    reader = UsageReader(path)
    assert sorted((each.key, each.requests) for each in reader.sessions(0.0)) == [
        ("ci", 2),
        ("config", 1),
        ("internal", 1),
    ]
    assert {len(each.session) for each in reader.sessions(0.0)} == {12}
    assert [(each.account, each.headers) for each in reader.limits()] == [
        ("gemini-api/one", {"x-ratelimit-limit-requests": "60"})
    ]
    bucket = reader.buckets()["ci"]
    assert bucket.rpm == 60
    assert 0 < bucket.full_at - SystemClock().now().wall < 3
    assert list(reader.buckets()) == ["ci"]


async def test_failures_failovers_cuts_and_leavers(path: Path) -> None:
    script = [
        bad(429),
        GOOD,
        cut(b"data: " + json.dumps({**gemini("one"), "usageMetadata": {"promptTokenCount": 9}}).encode() + b"\r\n\r\n"),
        bad(400),
    ]
    async with RawUpstream(script) as upstream, counting(path, two_keys(), upstream.url) as p:
        assert (await p.chat()).status == 200
        await p.chat(stream=True)
        assert (await p.chat()).status == 400
        p.daemon.remove("gemini-api/one")
        p.daemon.remove("gemini-api/two")
        await asyncio.sleep(0)
        assert (await p.chat()).status == 503
        # What was not let in is no request of anybody.
        assert (await p.ask("POST", "/v1/chat/completions", {}, authorization="")).status == 401
    found = {key[1]: told(counts) for key, counts in kept(path).items()}
    assert found.pop("gemini-api/one") == {"retried": 1}
    assert found.pop("none") == {"requests": 1, "failed": 1}
    assert found.pop("gemini-api/two") == {
        "requests": 3, "failed": 2, "prompt": 39, "completion": 12, "cached": 20, "reasoning": 5, "answered": 2,
    }  # fmt: skip
    assert not found


async def test_an_untouched_stream_tells_too_and_what_is_not_told_is_unknown(path: Path) -> None:
    start = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":1}}}\n\n'
    end = b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":12}}\n\n'
    stop = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    daemon = FakeDaemon()
    daemon.put(account("anthropic-api/key", lease("anthropic-api/key")))
    script = [
        chunked(start, end, stop, headers=(SSE,)),
        chunked(start, stop, headers=(SSE,)),
        answer(b'{"input_tokens": 5}', "200 OK", JSON),
    ]
    async with RawUpstream(script) as upstream, counting(path, daemon, upstream.url) as p:
        body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "stream": True, "messages": []}
        for _ in range(2):
            await p.ask("POST", "/v1/messages", body)
        # A count of tokens uses none.
        assert (await p.ask("POST", "/v1/messages/count_tokens", body)).json() == {"input_tokens": 5}
    (counts,) = kept(path).values()
    assert told(counts) == {"requests": 3, "prompt": 14, "completion": 12, "untold": 1, "answered": 3}


async def test_it_can_be_switched_off_and_on_while_it_serves(path: Path) -> None:
    async with RawUpstream([GOOD]) as upstream, counting(path, one_key(), upstream.url, enabled=False) as p:
        await p.chat()
        config = Config(
            proxy=ProxyConfig(port=0, api_keys=(Secret(KEY),)),
            upstreams={"gemini": UpstreamConfig(base_url=upstream.url)},
        )
        p.worker.apply(config)
        await p.chat()
        await p.chat()
    assert [counts.requests for counts in kept(path).values()] == [2]


async def test_metrics_tell_series_to_whoever_has_no_local_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = LocalKey(name="ci", sha256=digest_of("ccsb-fake"), slot=0, created=1)
    change(file, lambda _: (made,))
    async with RawUpstream([GOOD]) as upstream, counting(None, one_key(), upstream.url, file) as p:
        await p.chat()
        whole = (await p.ask("GET", "/metrics")).body.decode()
        assert (
            f'ccs_proxy_usage_requests_total{{account="gemini-api/one",key="config",model="{MODEL}",worker="0"}} 1.0'
            in whole
        )
        some = (await p.ask("GET", "/metrics", authorization="Bearer ccsb-fake")).body.decode()
        assert "gemini-api/one" not in some
        assert 'ccs_proxy_tokens_total{kind="prompt",worker="0"} 30.0' in some


# --- without a worker ---


class Made:
    """A `Usage` with a clock that stands, and requests by hand."""

    def __init__(self, path: Path | None) -> None:
        self.now = 100.0
        self.usage = Usage(path, SystemClock(), lambda: self.now, lambda _: 0.0, enabled=True)

    def request(self, session: str | None = "s", name: str = "a/b", body: bytes = b"{}", key: str = "config") -> None:
        def said() -> str | None:
            return session

        witness = self.usage.witness(key, None, "asked", self.now, said, free=False)
        assert witness is not None
        head = ResponseHead(200, [(b"x-ratelimit-limit-requests", b"60")])
        witness.sent(Attempt(name, "a", "gemini", Dialect.GEMINI, "m", "http://x", b"", b""))  # type: ignore[arg-type]
        witness.answered(head)
        self.now += 1
        witness.received(body)
        self.now += 1
        witness.started(200, [])
        witness.given(body)
        witness.ended(200)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_it_is_written_a_while_after_the_first_request_and_not_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_module, "FLUSH_SECONDS", 0.05)
    made = Made(path)
    assert await made.usage.flush()
    assert not path.exists(), "nothing is written where nothing was counted"
    made.request()
    made.request()
    await until(lambda: path.exists() and bool(kept(path)))
    assert kept(path) == {
        ("config", "a/b", "m"): Counts(requests=2, untold=2, seconds=4.0, answered=2, first_seconds=2.0)
    }
    made.request()
    await until(lambda: [each.requests for each in kept(path).values()] == [3])
    await made.usage.close()


async def test_what_cannot_be_written_is_kept_told_once_and_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(usage_module, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(usage_module, "_RETRY_SECONDS", 0.02)
    path.parent.mkdir(mode=0o700)
    path.mkdir()
    made = Made(path)
    for session in ("one", "two"):
        made.request(session)
        assert not await made.usage.flush()
    made.request("one")
    await until(lambda: len(caplog.records) > 0)
    await asyncio.sleep(0.1)  # several tries
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    path.rmdir()
    await until(lambda: path.is_file() and bool(kept(path)))
    await until(lambda: len(caplog.records) == 2)
    assert kept(path)["config", "a/b", "m"].requests == 3
    reader = UsageReader(path)
    assert sorted(each.requests for each in reader.sessions(0.0)) == [1, 2]
    assert len(reader.limits()) == 1
    await made.usage.close()


async def test_a_file_that_was_set_aside_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_bytes(b"x" * 9999)
    made = Made(path)
    made.request()
    await made.usage.close()
    assert "usage.db.corrupt-1" in caplog.text
    assert len(kept(path)) == 1


async def test_memory_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "_MAX_KEPT", 3)
    path.mkdir(parents=True)
    made = Made(path)
    for number in range(MAX_SESSIONS + 300):
        made.request(f"session {number}", f"a/{number % 7}")
        if number % 50 == 0:
            assert not await made.usage.flush()
    assert len(made.usage.heads) == 3
    await made.usage.flush()
    assert len(made.usage._sessions) <= MAX_SESSIONS
    assert len(made.usage._limits) == 3
    path.rmdir()
    assert await made.usage.flush()
    assert sum(counts.requests for counts in kept(path).values()) == MAX_SESSIONS + 300
    await made.usage.close()


async def test_only_some_bodies_are_read_for_their_conversation(path: Path) -> None:
    made = Made(path)
    for number in range(usage_module._SESSIONS_EACH + 50):
        made.request(f"s{number}")
    made.request(None)
    await made.usage.close()
    assert len(UsageReader(path).sessions(0.0)) == usage_module._SESSIONS_EACH


async def test_strange_names_are_written_too(path: Path) -> None:
    made = Made(path)
    made.request(name="a/\ud800\0")
    assert await made.usage.flush()
    await made.usage.close()
    assert list(kept(path)) == [("config", "a/?\0", "m")]


async def test_after_the_end_nothing_is_planned(path: Path) -> None:
    path.mkdir(parents=True)
    made = Made(path)
    made.request()
    await made.usage.close()
    made.request()
    assert made.usage._timer is None


async def test_a_flush_that_falls_due_in_the_end_does_not_outlive_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(usage_module, "FLUSH_SECONDS", 0.0)
    path.mkdir(parents=True)
    made = Made(path)
    made.request()
    await made.usage.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["usage cannot be written, and is kept in memory"]


async def test_a_conversation_without_a_name_is_none(path: Path) -> None:
    made = Made(path)
    made.request(None)
    made.request("lone \ud800 surrogate")
    await made.usage.close()
    assert len(UsageReader(path).sessions(0.0)) == 1
