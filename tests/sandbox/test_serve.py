"""The sandbox as a process: ready line, files, signals."""

import asyncio
import json
import signal
import stat
import sys
import tomllib
import urllib.request

import pytest

from broker.model.secret import Secret
from broker.sandbox import serve
from broker.sandbox.server import Sandbox


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "broker.sandbox.serve",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_says_when_it_is_ready_and_stops_on_a_signal(tmp_path, number):
    secret, key, config = tmp_path / "secret", tmp_path / "key", tmp_path / "config.toml"
    secret.write_text("old")
    secret.chmod(0o644)
    settings = tmp_path / "settings.json"
    settings.write_text('{"users": ["carol@example.com"], "onboarded": true}')
    process = await start(
        *("--client-secret-file", str(secret), "--api-key-file", str(key)),
        *("--config-file", str(config), "--settings-file", str(settings)),
    )
    try:
        async with asyncio.timeout(20):
            line = json.loads(await process.stdout.readline())
        assert stat.S_IMODE(secret.stat().st_mode) == stat.S_IMODE(key.stat().st_mode) == 0o600
        assert line["client_secret_file"] == str(secret)
        assert secret.read_text().strip() not in json.dumps(line)
        assert secret.read_text().startswith("sandbox-secret-")
        pointed = tomllib.loads(config.read_text())
        assert pointed["providers"]["sandbox"]["issuer"] == line["url"]
        with urllib.request.urlopen(f"{line['url']}/sandbox/settings", timeout=10) as answer:
            assert json.load(answer)["users"] == ["carol@example.com"]
        process.send_signal(number)
        async with asyncio.timeout(10):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, out, err) == (0, b"", b"")


async def test_serve_in_process_stops_on_a_signal(tmp_path):
    lines: list[str] = []

    def announce(line: str) -> None:
        lines.append(line)
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)

    await serve.serve(serve.ServeOptions(client_secret_file=tmp_path / "s"), announce)
    assert json.loads(lines[0])["api_key_file"] is None


def test_faulty_settings_and_ports_are_told(tmp_path, capsys):
    settings = tmp_path / "settings.json"
    settings.write_text('{"rotate": "maybe"}')
    common = ["--client-secret-file", str(tmp_path / "s")]
    assert serve.main([*common, "--settings-file", str(settings)]) == 1
    assert "rotate" in capsys.readouterr().err
    assert serve.main([*common, "--settings-file", str(tmp_path / "none")]) == 1
    assert serve.main([*common, "--port", "99999"]) == 1
    assert serve.main(["--client-secret-file", str(tmp_path / "missing" / "s")]) == 1
    with pytest.raises(SystemExit) as stopped:
        serve.main([])
    assert stopped.value.code == 2


async def test_a_taken_port_is_told(tmp_path):
    async with await Sandbox.start() as sandbox:
        port = sandbox.url.rpartition(":")[2]
        process = await start("--client-secret-file", str(tmp_path / "s"), "--port", port)
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert b"cannot listen" in err


def test_a_secret_file_is_replaced_or_left_alone(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        serve.write_secret(target, Secret("fake-secret"))
    assert list(tmp_path.iterdir()) == [target]
