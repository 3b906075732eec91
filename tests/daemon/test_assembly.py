import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.config import Config, StoreConfig
from broker.daemon.assembly import build, open_sockets, run_daemon
from broker.ipc.client import BrokerClient
from broker.ipc.schema import Report
from broker.ipc.sync_client import request
from broker.ipc.unix import bind_socket
from broker.model.errors import BrokerError, ErrorCode
from broker.settings.reading import parse
from tests.fakes.broker import ANN, Running


@pytest.fixture
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ccsb-") as folder:
        yield Path(folder)


def env_of(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "CCS_BROKER_RUNTIME_DIR": str(home / "run"), "XDG_STATE_HOME": str(home / "state")}


def config_of(home: Path) -> Config:
    return Config(store=StoreConfig(directories=(str(home / "auth"),)))


async def test_it_runs_until_it_is_stopped_and_leaves_nothing_open(home: Path) -> None:
    stop, ready = asyncio.Event(), asyncio.Event()
    running = asyncio.ensure_future(run_daemon(config_of(home), stop=stop, ready=ready.set, env=env_of(home)))
    async with asyncio.timeout(10):
        await ready.wait()
        for name in ("token.sock", "broker.sock"):
            path = home / "run" / name
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with BrokerClient(path) as client:
                assert (await client.health()).status == "ok"
        assert (home / "auth").is_dir()
        stop.set()
        await running
    assert not list((home / "run").glob("*.sock"))
    assert '"daemon_stopped"' in (home / "state" / "ccs-broker" / "audit.jsonl").read_text()


async def test_a_limit_outlives_a_restart(home: Path) -> None:
    auth = home / "auth"
    auth.mkdir(mode=0o700)
    file = auth / "gemini-api-work.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps({"type": "api-key", "provider": "gemini-api", "label": "work", "api_key": "fake-key-1"}))
    for life in ("first", "second"):
        stop, ready = asyncio.Event(), asyncio.Event()
        running = asyncio.ensure_future(run_daemon(config_of(home), stop=stop, ready=ready.set, env=env_of(home)))
        async with asyncio.timeout(10), BrokerClient(home / "run" / "token.sock") as client:
            await ready.wait()
            if life == "first":
                (account,) = await client.accounts()
                await client.report(
                    Report(
                        account=account.account,
                        generation=account.generation,
                        outcome="limited",
                        model="m",
                        retry_after=600,
                    )
                )
            (account,) = await client.accounts()
            assert [each.model for each in account.cooldowns] == ["m"]
            stop.set()
            await running


async def test_a_second_daemon_is_told_who_the_first_is(running: Running) -> None:
    with pytest.raises(BrokerError, match=f"process {os.getpid()} already listens"):
        open_sockets(running.folder / "run", {}, 0)
    assert (await running.client.health()).status == "ok"


def test_a_second_socket_in_the_way_gives_the_first_back(home: Path) -> None:
    folder = home / "run"
    folder.mkdir(mode=0o700)
    with bind_socket(folder / "broker.sock"):
        with pytest.raises(BrokerError):
            open_sockets(folder, {}, 0)
        assert not (folder / "token.sock").exists()


def test_a_folder_too_deep_is_told(home: Path) -> None:
    with pytest.raises(BrokerError, match="this system allows"):
        open_sockets(home / ("x" * 120), {}, 0)


def test_sealed_files_without_their_key_are_no_reason_to_start_in_plain(home: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        build(Config(store=StoreConfig(mode="sealed", key_source="credential")), state_dir=home, env={})
    assert caught.value.code is ErrorCode.MISCONFIGURED


def test_a_config_that_makes_no_sense_is_refused(home: Path) -> None:
    with pytest.raises(BrokerError) as caught:
        build(parse(b"[providers.nobody]\ntitle = 'x'"), state_dir=home)
    assert caught.value.code is ErrorCode.BAD_REQUEST


SERVE = """
import asyncio, os, signal
from broker.config import Config
from broker.daemon.assembly import run_daemon

async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    os.environ["LISTEN_PID"] = str(os.getpid())
    await run_daemon(Config(), stop=stop, ready=lambda: print("ready", "LISTEN_FDS" in os.environ, flush=True))

asyncio.run(main())
"""


@pytest.mark.parametrize("names", ["token:control", "control:token", "token:other"])
def test_sockets_of_the_service_manager_are_served_by_name_and_left_alone(home: Path, names: str) -> None:
    """The first descriptor is 3; a client that connects before the daemon starts is served when it does."""
    folder = home / "given"
    folder.mkdir(mode=0o700)
    listeners = {name: bind_socket(folder / f"{name}.sock") for name in ("token", "control", "other") if name in names}
    early = socket.socket(socket.AF_UNIX)
    early.connect(str(folder / "token.sock"))
    order = [listeners[name].fileno() for name in names.split(":")]
    high = [os.dup2(fd, 60 + index) for index, fd in enumerate(order)]
    moves = " ".join(f"{index}<&{fd}" for index, fd in enumerate(high, 3))
    env = {**os.environ, **env_of(home), "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}
    process = subprocess.Popen(
        ["bash", "-c", f'exec "{sys.executable}" -c "$0" {moves}', SERVE],
        pass_fds=high,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready False\n"
        early.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        early.settimeout(5)
        assert early.recv(15) == b"HTTP/1.1 200 OK"
        control = folder / "control.sock" if "control" in names else home / "run" / "broker.sock"
        assert request(control, "GET", "/metrics/")[0] == 404
        assert request(control, "GET", "/v1/openapi.json")[0] == 200
        assert request(folder / "token.sock", "GET", "/v1/openapi.json")[0] == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert (folder / "token.sock").exists()  # the manager's: it starts us again when somebody connects
        assert not (home / "run" / "broker.sock").exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        early.close()
        for fd in high:
            os.close(fd)
        for each in listeners.values():
            each.close()


async def test_a_login_survives_a_restart(running: Running) -> None:
    before = await running.token_client.lease(ANN)
    await running.stop()
    await running.start()
    after = await running.token_client.lease(ANN)
    assert after.access_token == before.access_token
    assert after.generation == before.generation
