"""Other programs to measure beside ours: nginx and wrk where they are installed, and our own fixed-answer server.

Owns: finding, starting and stopping them. Nothing is installed here.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.home import BenchError
from benchmarks.load import Target

_START_SECONDS = 10.0
_KEEPALIVE = 1_000_000_000
ROOT = Path(__file__).parents[1]


@dataclass(slots=True)
class Peer:
    """A process that serves."""

    process: subprocess.Popen[bytes]
    target: Target

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def stop(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def found() -> dict[str, str | None]:
    """Return where the peers are; None for those that are not installed."""
    # Debian's nginx lies where an ordinary user's PATH does not look.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    return {name: shutil.which(name, path=path) for name in ("nginx", "wrk", "curl")}


def fixed(folder: Path, answers: Sequence[tuple[str, str]], *, unix: Path | None = None) -> Peer:
    """Start the fixed-answer server, on a Unix socket or on a free port of loopback."""
    file = folder / f"answers-{len(list(folder.glob('answers-*')))}.json"
    file.write_text(json.dumps(answers))
    where = ["--unix", str(unix)] if unix is not None else []
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fixed", str(file), *where],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchError("the fixed-answer server did not start")
    return Peer(process, unix if unix is not None else ("127.0.0.1", int(line)))


async def nginx_fixed(folder: Path, unix: Path, body: str) -> Peer:
    """Start nginx, answering `body` on a Unix socket."""
    quoted = body.replace("\\", "\\\\").replace('"', '\\"').replace("$", "")
    server = f'listen unix:{unix}; location / {{ default_type application/json; return 200 "{quoted}"; }}'
    return await _nginx(folder, server, unix)


async def nginx_proxy(folder: Path, upstream: tuple[str, int], port: int) -> Peer:
    """Start nginx, passing requests on to `upstream` over kept connections."""
    server = (
        f"listen 127.0.0.1:{port} reuseport; location / {{ proxy_pass http://up; proxy_http_version 1.1; "
        'proxy_set_header Connection ""; }'
    )
    return await _nginx(folder, server, ("127.0.0.1", port), f"{upstream[0]}:{upstream[1]}")


async def _nginx(folder: Path, server: str, target: Target, upstream: str = "127.0.0.1:9") -> Peer:
    binary = found()["nginx"]
    assert binary is not None
    place = folder / f"nginx-{len(list(folder.glob('nginx-*')))}"
    place.mkdir()
    temporary = " ".join(
        f"{kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; daemon off; pid {place}/pid; error_log {place}/log error;\n"
        f"events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; {temporary} keepalive_requests {_KEEPALIVE}; keepalive_timeout 600;\n"
        f"upstream up {{ server {upstream}; keepalive 256; keepalive_requests {_KEEPALIVE}; }}\n"
        f"server {{ {server} }} }}\n"
    )
    process = subprocess.Popen(
        [binary, "-p", str(place), "-e", str(place / "log"), "-c", str(place / "nginx.conf")], stdin=subprocess.DEVNULL
    )
    peer = Peer(process, target)
    try:
        await _listening(peer)
    except BenchError:
        peer.stop()
        raise
    return peer


async def _listening(peer: Peer) -> None:
    deadline = time.perf_counter() + _START_SECONDS
    while time.perf_counter() < deadline:
        if peer.process.poll() is not None:
            break
        try:
            if isinstance(peer.target, Path):
                _, writer = await asyncio.open_unix_connection(str(peer.target))
            else:
                _, writer = await asyncio.open_connection(*peer.target)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise BenchError(f"nginx did not listen on {peer.target}")


async def wrk_rate(target: tuple[str, int], path: str, *, connections: int, seconds: int) -> float:
    """Return the requests/s wrk reaches with GETs, one thread: a generator in C beside ours."""
    binary = found()["wrk"]
    assert binary is not None
    process = await asyncio.create_subprocess_exec(
        binary,
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        f"http://{target[0]}:{target[1]}{path}",
        stdout=subprocess.PIPE,
    )
    told, _ = await process.communicate()
    rate = re.search(rb"Requests/sec:\s+([\d.]+)", told)
    if process.returncode or rate is None or b"Non-2xx" in told:
        raise BenchError(f"wrk: {told.decode(errors='replace')}")
    return float(rate.group(1))
