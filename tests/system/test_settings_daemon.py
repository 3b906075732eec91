"""Settings of the daemon, each seen to change what real processes do."""

import asyncio
import json
import mmap
import os
import time
from pathlib import Path

import aiohttp
import pytest

from broker.cli.demo.stage import DemoFailedError, Stage
from broker.cli.demo.steps import login
from broker.ipc.sync_client import request
from broker.model.errors import BrokerError
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_files import cliproxyapi_file, drop
from tests.system.test_one_post import refresh_posts


async def fault(stage: Stage, target: str, kind: str, **details: object) -> None:
    """Queue a fault in the sandbox (docs/sandbox.md)."""
    async with aiohttp.ClientSession() as session:
        body = {"target": target, "fault": {"kind": kind, **details}}
        async with session.post(f"{stage.sandbox_url}/sandbox/faults", json=body) as answer:
            assert answer.status == 200, await answer.text()


async def eventually(seen: object, *, within: float = 20.0) -> None:
    """Wait until `seen()` is true."""
    assert callable(seen)
    end = time.monotonic() + within
    while not (said := await seen()):
        assert time.monotonic() < end, said
        await asyncio.sleep(0.02)


@covers("store.directories")
async def test_each_configured_directory_is_served(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    config = f'[store]\ndirectories = ["{first}", "{second}"]'
    async with staged(config=config, logged_in=False, proxy=False) as stage, stage.client() as client:
        drop(second, "gemini-a.json", cliproxyapi_file(stage, refresh_token="fake", left=3000))

        async def there() -> bool:
            return len(await client.accounts()) == 1

        await eventually(there)
        await login(stage, lambda _: None)
        assert list(first.glob("*.json"))
        assert not stage.auth_dir.exists()


@covers("store.mode", "store.key_source")
async def test_sealed_files_hold_no_token_in_clear_and_need_their_key() -> None:
    config = '[store]\nmode = "sealed"\nkey_source = "file"'
    async with staged(config=config, proxy=False) as stage, stage.client() as client:
        lease = await client.lease("gemini")
        text = next(stage.auth_dir.glob("*.json")).read_text()
        assert lease.access_token.reveal() not in text
        assert json.loads(text)["type"] == "gemini"
        assert (await client.health()).store_mode == "sealed"
        await stage.stop("daemon")
        await stage.start_daemon()
        assert (await client.lease("gemini")).access_token == lease.access_token
        await stage.stop("daemon")
        stage.config_file.write_text(
            stage.config_file.read_text().replace('key_source = "file"', 'key_source = "passphrase"')
        )
        with pytest.raises(DemoFailedError, match="code"):
            await stage.start_daemon()
        assert "passphrase" in stage.tail()


@covers("store.rescan_seconds")
@pytest.mark.parametrize(("seconds", "seen"), [(0.5, True), (600, False)])
async def test_the_rescan_finds_what_no_file_event_tells(seconds: float, seen: bool) -> None:
    config = f"[store]\nrescan_seconds = {seconds}"
    async with staged(config=config, logged_in=False, proxy=False) as stage, stage.client() as client:
        path = drop(stage.auth_dir, "gemini-a.json", cliproxyapi_file(stage, refresh_token="fake", left=3000))

        async def served(token: str) -> bool:
            return bool(await client.accounts()) and (await client.lease("gemini")).access_token.reveal() == token

        await eventually(lambda: served("fake-access-dropped"))
        # A change through a memory map is told by no inotify event; the file's times still tell a scan.
        with path.open("r+b") as file:
            mapped = mmap.mmap(file.fileno(), 0)
        await asyncio.sleep(1.0)
        at = mapped.find(b"fake-access-dropped")
        mapped[at : at + 19] = b"fake-access-changed"
        mapped.flush()
        if seen:
            await eventually(lambda: served("fake-access-changed"))
        else:
            await asyncio.sleep(2.0)
            assert not await served("fake-access-changed")
        mapped.close()


@covers("refresh.ahead")
@pytest.mark.parametrize("ahead", [True, False])
async def test_ahead_renews_with_nobody_asking(ahead: bool) -> None:
    async with staged(lifetime=2.0, ahead=ahead, proxy=False) as stage:
        await asyncio.sleep(2.5)
        assert (await refresh_posts(stage) > 0) is ahead


@covers("refresh.request_timeout_seconds")
async def test_a_token_endpoint_that_never_answers_is_given_up_after_the_timeout() -> None:
    config = "[refresh]\nrequest_timeout_seconds = 1"
    async with staged(config=config, proxy=False) as stage, stage.client() as client:
        await fault(stage, "token", "hang")
        began = time.monotonic()
        with pytest.raises(BrokerError):
            await client.refresh("gemini/alice@example.com", max_wait=20)
        assert time.monotonic() - began < 5


@covers("refresh.stop_timeout_seconds")
async def test_a_stop_waits_no_longer_than_its_limit() -> None:
    config = "[refresh]\nstop_timeout_seconds = 1"
    async with staged(config=config, proxy=False) as stage, stage.client() as client:
        await fault(stage, "token", "hang")
        before = await refresh_posts(stage)
        asking = asyncio.ensure_future(client.refresh("gemini/alice@example.com", max_wait=20))

        async def hanging() -> bool:
            return await refresh_posts(stage) > before

        await eventually(hanging)
        began = time.monotonic()
        await stage.stop("daemon")
        assert 0.5 < time.monotonic() - began < 6
        await asyncio.gather(asking, return_exceptions=True)


@covers("socket.max_connections")
async def test_more_connections_than_allowed_are_refused() -> None:
    async with staged(config="[socket]\nmax_connections = 3", logged_in=False, proxy=False) as stage:
        held = [await asyncio.open_unix_connection(str(stage.token_socket)) for _ in range(3)]
        reader, writer = await asyncio.open_unix_connection(str(stage.token_socket))
        writer.write(b"GET /v1/health HTTP/1.1\r\nHost: ccs-broker\r\n\r\n")
        try:
            said = await asyncio.wait_for(reader.read(), 5)
        except (ConnectionResetError, BrokenPipeError):
            said = b""
        assert b" 200 " not in said.split(b"\r\n")[0]
        for _, other in [*held, (reader, writer)]:
            other.close()

        async def served() -> bool:
            try:
                return (await asyncio.to_thread(request, stage.token_socket, "GET", "/v1/health"))[0] == 200
            except BrokerError:
                return False

        await eventually(served)


@covers("socket.max_body_bytes")
async def test_a_body_over_the_limit_is_refused() -> None:
    async with staged(config="[socket]\nmax_body_bytes = 1000", logged_in=False, proxy=False) as stage:
        status, problem = await asyncio.to_thread(
            request, stage.token_socket, "POST", "/v1/report", {"account": "a/" + "b" * 2000}
        )
        assert (status, problem["code"]) == (413, "too_large")


@covers("socket.request_timeout_seconds")
async def test_half_a_request_is_not_waited_for_longer_than_the_limit() -> None:
    async with staged(config="[socket]\nrequest_timeout_seconds = 1", logged_in=False, proxy=False) as stage:
        reader, writer = await asyncio.open_unix_connection(str(stage.token_socket))
        writer.write(b"GET /v1/health HTTP/1.1\r\nHost: ccs-")
        began = time.monotonic()
        await asyncio.wait_for(reader.read(), 8)
        assert 0.5 < time.monotonic() - began < 5
        writer.close()


@covers("socket.max_wait_seconds")
async def test_no_caller_waits_longer_than_the_limit_whatever_it_asks() -> None:
    config = "[socket]\nmax_wait_seconds = 1\n\n[refresh]\nstop_timeout_seconds = 1"
    async with staged(config=config, proxy=False) as stage:
        await fault(stage, "token", "hang")
        began = time.monotonic()
        target = "/v1/accounts/gemini/alice%40example.com/refresh?max_wait=60"
        control = stage.token_socket.with_name("broker.sock")
        status, _ = await asyncio.to_thread(request, control, "POST", target, timeout=30)
        assert status >= 400
        assert time.monotonic() - began < 5


@covers("logging.level")
@pytest.mark.parametrize(("level", "logged"), [("info", True), ("error", False)])
async def test_the_level_decides_what_is_logged(level: str, logged: bool) -> None:
    async with staged(config=f'[logging]\nlevel = "{level}"', logged_in=False, proxy=False) as stage:
        assert ("daemon ready" in (stage.home / "serve.log").read_text()) is logged


@covers("logging.format")
async def test_json_logs_are_json() -> None:
    async with staged(config='[logging]\nformat = "json"', logged_in=False, proxy=False) as stage:
        lines = (stage.home / "serve.log").read_text().splitlines()
        assert lines
        assert all("event" in json.loads(line) or "message" in json.loads(line) for line in lines)


def written(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@covers("notify.command")
async def test_the_hook_and_the_notice_come_once_for_a_dead_login_and_not_again_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook, said, shown = tmp_path / "hook", tmp_path / "said", tmp_path / "shown"
    hook.write_text(f'#!/bin/sh\ncat >> "{said}"\n')
    for name in ("notify-send", "osascript"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$#" >> "{shown}"\n')
        (tmp_path / name).chmod(0o700)
    hook.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    async with staged(config=f'[notify]\ncommand = ["{hook}", "x"]', logged_in=False, proxy=False) as stage:
        drop(stage.auth_dir, "gemini-a.json", cliproxyapi_file(stage, refresh_token="fake", left=-5))

        async def told() -> bool:
            return bool(written(said)) and shown.exists()

        await eventually(told, within=30)
        for _ in range(2):
            await stage.stop("daemon")
            await stage.start_daemon()
            await asyncio.sleep(0.5)
        # Stopped in good order: what was to be told has been told.
        await stage.stop("daemon")
        (incident,) = written(said)
        assert incident["account"] == "gemini/dropped@example.com"
        assert incident["state"] == "needs_login"
        assert incident["hint"] == "Run: ccs-broker login gemini"
        assert len(shown.read_text().splitlines()) == 1
        assert stage.auth_dir.joinpath("gemini-a.json").exists()


@covers("notify.desktop")
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_desktop_notice_comes_where_it_is_wanted(tmp_path: Path, wanted: bool) -> None:
    seen, end = tmp_path / "seen", tmp_path / "end"
    for name, text in (
        ("notify-send", f'printf "%s\\n" "$@" > "{seen}"'),
        ("osascript", f'printf "%s\\n" "$@" > "{seen}"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o700)
    (tmp_path / "hook").write_text(f'#!/bin/sh\ntouch "{end}"\n')
    (tmp_path / "hook").chmod(0o700)
    config = f'[notify]\ndesktop = {str(wanted).lower()}\ncommand = ["{tmp_path}/hook"]'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        async with staged(config=config, logged_in=False, proxy=False) as stage:
            drop(stage.auth_dir, "gemini-a.json", cliproxyapi_file(stage, refresh_token="fake", left=-5))

            async def told() -> bool:
                return end.exists() and seen.exists() is wanted

            try:
                await eventually(told, within=40)
            except AssertionError:
                pytest.fail(f"hook ran: {end.exists()}, notice came: {seen.exists()}\n{stage.tail()}")
            await asyncio.sleep(0.5)
            assert seen.exists() is wanted
