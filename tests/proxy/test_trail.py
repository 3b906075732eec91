"""When a request may go the way of the last one with its head: one client's connection, and whatever changes between two requests."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.config import RequestLogConfig, RoutingConfig, UpstreamConfig, UsageConfig
from broker.model.naming import Combo, Names
from broker.model.policy import Payload, Policy, Setting
from broker.model.secret import Secret
from broker.proxy.keyfile import change
from broker.proxy.keys import LocalKey, digest_of
from broker.proxy.trail import Trail
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.clock import START_WALL
from tests.fakes.two_ways import KEY, Got, Rig, both, rig
from tests.fakes.upstream import Peer, Taken, answer
from tests.fakes.vendor_words import whole_of

CHAT = "/v1/chat/completions"
GEMINI = "/v1beta/models/gemini-2.5-pro:generateContent"
LOCAL = "fake-local-key"
NAMES = ("openai", "gemini", "anthropic")
SAID = re.compile(rb"say (\w+)")


async def echo(peer: Peer, taken: Taken) -> None:
    """Says what the request says."""
    found = SAID.search(taken.body)
    path = taken.line.split()[1].partition("?")[0]
    body = whole_of(path, found[1].decode() if found else "nothing")
    await peer.send(answer(body, "200 OK", "Content-Type: application/json"))


def accounts() -> FakeDaemon:
    daemon = FakeDaemon()
    daemon.put(*(account(name, lease(name)) for name in ("openai-api/a", "gemini-api/a", "anthropic-api/a")))
    daemon.renew = lambda name: lease(name, "fake-access-2", 2)
    return daemon


def body_of(word: str = "hi", **fields: object) -> bytes:
    said = {"model": "gpt-5", "messages": [{"role": "user", "content": f"say {word}"}], **fields}
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


async def chat(p: Rig, word: str = "hi", key: str = KEY, **fields: object) -> Got:
    return await p.ask(CHAT, body_of(word, **fields), key)


async def primed(p: Rig, key: str = KEY, **fields: object) -> None:
    """Ask until a request goes the short way, where there is one."""
    await chat(p, "one", key, **fields)
    await chat(p, "second", key, **fields)
    if p.short:
        assert p.ways[-1] in ("short", "resumed")  # a sweep of the deadlines may have come between
    p.ways.clear()


async def same(scenario: Callable[[Rig], Any], **settings: Any) -> Rig:
    return await both(scenario, accounts, NAMES, echo, **settings)


async def heard(p: Rig, *changed: Any, gone: str = "") -> None:
    """Let the daemon tell of accounts, and wait until the worker has heard."""
    before = p.worker.table.accounts()
    p.daemon.put(*changed)
    if gone:
        p.daemon.remove(gone)
    await p.until(lambda: p.worker.table.accounts() is not before)


async def test_nothing_changes_and_bodies_do() -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        for number in range(12):
            got = await chat(p, f"w{'x' * number * 37}", n=number)
            assert f"w{'x' * number * 37}".encode() in got.body
        if p.short:
            assert p.ways.count("short") > 6
            assert "long" not in p.ways

    await same(scenario)


# --- the body ---


OTHERS = {
    "another model": body_of(model="gpt-4o"),
    "another vendor's model": body_of(model="claude-sonnet-4-5"),
    "a model nobody has": body_of(model="nonesuch"),
    "a model by its provider": body_of(model="openai-api/gpt-5"),
    "a model by its full name": body_of(model="models/gpt-5"),
    "how hard to think": body_of(model="gpt-5(high)"),
    "no model": body_of(model=None),
    "an empty model": body_of(model=" "),
    "a model that is none": body_of(model=5),
    "streams": body_of(stream=True),
    "says that it does not stream": body_of(stream=False),
    "streams null": body_of(stream=None),
    "no JSON": b"say hi",
    "half of JSON": body_of()[:-3],
    "a list": b"[]",
    "nothing": b"",
    "no UTF-8": body_of().replace(b"say hi", b"say \xff"),
    "nested deeply": body_of(x=0).replace(b'"x": 0', b'"x": ' + b"[" * 20_000 + b"]" * 20_000),
    "the model twice": body_of()[:-1] + b', "model": "gpt-4o"}',
    "the model twice, the same last": b'{"model": "gpt-4o", ' + body_of()[1:],
    "BOM": b"\xef\xbb\xbf" + body_of(),
    "white space": b" \n" + body_of() + b"\n",
    "large": body_of("x" * 200_000),
}


@pytest.mark.parametrize("name", OTHERS)
async def test_another_body_with_the_same_head(name: str) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        await p.ask(CHAT, OTHERS[name])
        await chat(p, "after")

    await same(scenario)


async def test_another_head_is_another_request() -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        for headers in ({"x-own": "1"}, {"x-own": "2"}, {"accept": "a/b"}, {}):
            await p.ask(CHAT, body_of(), **headers)
        await p.ask(GEMINI, b'{"contents": []}')
        await p.ask(GEMINI, b'{"contents":  []}')
        await chat(p, "after")
        await p.ask(CHAT, body_of(), key="not-a-key")

    p = await same(scenario)
    assert [each.header("x-own") for each in p.upstream.requests[2:5]] == ["1", "2", None]


async def test_bodies_too_large_after_a_reload() -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        p.apply(proxy={"max_body_bytes": 100})
        assert (await chat(p, "x" * 100)).status == 413
        assert (await chat(p)).status == 200

    await same(scenario)


@pytest.mark.parametrize("number", [2, 3, 16, 17, 18, 30])
async def test_requests_sent_ahead_of_their_answers(number: int) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        await p.send(b"".join(p.request(CHAT, body_of(f"w{each}")) for each in range(number)))
        for each in range(number):
            got = await p.got()
            if got.end != "whole" or got.status != 200:
                break
            assert f'"w{each}"'.encode() in got.body
        if number <= 16:
            await chat(p, "after")

    await same(scenario)


@pytest.mark.parametrize("at", [1, 20, 150, -20, -1])
async def test_requests_in_two_reads(at: int) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        (line,) = p.worker._listener.connections
        for _ in range(3):
            data = p.request(CHAT, body_of("parts"))
            await p.send(data[:at])
            await p.until(lambda: line._in_head or line._active is not None or line._message_size > 0)
            await p.send(data[at:])
            await p.got()
            await chat(p, "whole")
        await p.send(p.request(CHAT, body_of("first")) + p.request(CHAT, body_of("next"))[:30])
        await p.got()
        await p.send(p.request(CHAT, body_of("next"))[30:])
        await p.got()

    await same(scenario)


async def test_lengths_told_in_other_ways() -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        data, length = p.request(CHAT, body_of()), len(body_of())
        told = b"content-length: %d" % length
        for other in (
            b"content-length: 00%d" % length,
            b"Content-Length:%d" % length,
            b"content-length:  %d " % length,
        ):
            await p.send(data.replace(told, other))
            assert (await p.got()).status == 200
        await p.send(data.replace(told, b"content-length: +%d" % length))
        assert (await p.got()).status == 400

    await same(scenario)


# --- who asks ---


def key_file(folder: Path, **fields: Any) -> Path:
    made = LocalKey(name="ci", sha256=digest_of(LOCAL), slot=0, created=1, **fields)
    change(folder / "keys.json", lambda _: (made,))
    return folder / "keys.json"


async def test_a_key_that_is_counted_leaves_none(tmp_path: Path) -> None:
    async def scenario(p: Rig) -> None:
        told = [(await chat(p, key=LOCAL)).status for _ in range(5)]
        assert told == [200] * 3 + [429] * 2
        p.clock.advance(60)
        assert (await chat(p, key=LOCAL)).status == 200
        assert p.ways == ["long"] * 4

    await same(scenario, keys=key_file(tmp_path, rpm=3))


async def test_a_key_whose_time_is_over(tmp_path: Path) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p, LOCAL)
        p.clock.advance(99)
        assert (await chat(p, key=LOCAL)).status == 200
        p.clock.advance(1)
        assert (await chat(p, key=LOCAL)).status == 401

    await same(scenario, keys=key_file(tmp_path, expires=int(START_WALL) + 100))


@pytest.mark.parametrize("fields", [None, {"rpm": 1}, {"models": ("gpt-4*",)}, {"models": ("gpt-*",)}, {"expires": 2}])
async def test_a_key_that_is_changed(tmp_path: Path, fields: dict[str, Any] | None) -> None:
    file = key_file(tmp_path)
    ring: list[str] = []

    async def scenario(p: Rig) -> None:
        await primed(p, LOCAL)
        ring.append("primed")
        await p.until(lambda: len(ring) == 2)  # they share the file
        change(
            file, lambda keys: () if fields is None else tuple(msgspec.structs.replace(each, **fields) for each in keys)
        )
        p.worker._porter.look()
        for _ in range(3):
            await chat(p, key=LOCAL)
        await chat(p)

    await same(scenario, keys=file)


async def test_a_key_that_opens_some_models(tmp_path: Path) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p, LOCAL)
        assert (await chat(p, key=LOCAL, model="gpt-4o")).status == 403
        assert (await chat(p, key=LOCAL)).status == 200

    await same(scenario, keys=key_file(tmp_path, models=("gpt-5",)))


# --- settings ---


TABLES: dict[str, dict[str, Any]] = {
    "an alias": {"routing": RoutingConfig(discover_models=False, aliases={"gpt-5": "gpt-4o"})},
    "an alias of another vendor": {
        "routing": RoutingConfig(discover_models=False, aliases={"gpt-5": "gemini-2.5-pro"})
    },
    "a chain": {"combos": {"gpt-5": Combo(("gpt-4o", "gemini-2.5-pro"))}},
    "a policy": {"policies": {"gpt-5": Policy(thinking="high")}},
    "a rule": {"payload": Payload(override=(Setting(path="temperature", models="gpt-*", value=0.5),))},
    "headers": {"upstreams": {"openai": UpstreamConfig(base_url="http://127.0.0.1:1", headers={"x-own": "1"})}},
    "no counting": {"usage": UsageConfig(enabled=False)},
    "other keys": {"proxy": {"api_keys": (Secret("another"), Secret(KEY))}},
    "no keys": {"proxy": {"api_keys": ()}},
}


@pytest.mark.parametrize("name", TABLES)
async def test_settings_that_come_and_go(name: str) -> None:
    tables = dict(TABLES[name])

    async def scenario(p: Rig) -> None:
        await primed(p)
        if name == "headers":
            tables["upstreams"] = {"openai": UpstreamConfig(base_url=p.upstream.url, headers={"x-own": "1"})}
        p.apply(**tables)
        for _ in range(3):
            await chat(p)
        p.apply()
        for _ in range(3):
            await chat(p)

    await same(scenario)


@pytest.mark.parametrize("name", ["an alias", "an alias of another vendor", "a chain", "a policy", "a rule"])
async def test_what_is_of_the_user_s_own_is_looked_at_each_time(name: str) -> None:
    async def scenario(p: Rig) -> None:
        for number in range(3):
            assert (await chat(p, f"w{number}")).status == 200
        assert p.ways == ["long"] * 3

    await same(scenario, tables=TABLES[name])


async def test_a_request_log_that_is_switched_on(tmp_path: Path) -> None:
    async def scenario(p: Rig) -> None:
        await primed(p)
        folder = tmp_path / ("short" if p.short else "long")
        p.apply(request_log=RequestLogConfig(enabled=True, directory=str(folder)))
        for number in range(3):
            await chat(p, f"w{number}")
        assert p.ways == ["long"] * 3
        await p.until(lambda: len([*folder.glob("2*")]) == 3)
        p.apply()
        await chat(p)
        await chat(p)
        await p.until(lambda: len([*folder.glob("2*")]) == 3)

    await same(scenario)


async def test_a_trail_that_holds_no_more_is_not_kept() -> None:
    """It has tokens in it, and where the next request leaves none it would stay as long as the client keeps coming."""
    async with rig(accounts(), NAMES, echo) as p:
        await primed(p)
        (line,) = p.worker._listener.connections
        assert line._known is not None
        made = line._known._head.made
        assert Trail in made
        p.gateway.renew(p.worker._shop(p.config(**TABLES["a policy"])), Names(), safety_off=False)
        assert (await chat(p)).status == 200
        assert Trail not in made
