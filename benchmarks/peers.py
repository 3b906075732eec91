"""Other programs to measure beside ours: nginx and wrk, our own fixed-answer server, the upstream in C.

Owns: starting and stopping them. Nothing is installed here (see `benchmarks.prepare`).
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.home import BenchError, free_port
from benchmarks.load import Target
from benchmarks.prepare import found

_START_SECONDS = 10.0
_KEEPALIVE = 1_000_000_000
ROOT = Path(__file__).parents[1]

NGINX_LOCATIONS = "proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection ''; {tls}"


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
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


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
    return await _nginx(folder, f"listen unix:{unix}; location / {{ {_returned(body)} }}", unix)


def _returned(body: str) -> str:
    quoted = body.replace("\\", "\\\\").replace('"', '\\"').replace("$", "")
    return f'default_type application/json; return 200 "{quoted}";'


async def nginx_proxy(folder: Path, upstream: tuple[str, int], *, trusted: Path | None = None) -> Peer:
    """Start nginx, passing requests on to `upstream` over kept connections; by TLS where there is a certificate to trust.

    What it does not do by default and has to for the same work: streams go out as they come (answers of other paths are buffered as by default), and
    bodies of up to 256 KiB stay in memory.
    """
    port = free_port()
    tls = (
        f"proxy_ssl_trusted_certificate {trusted}; proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_server_name on;"
        if trusted
        else ""
    )
    way = NGINX_LOCATIONS.format(scheme="https" if trusted else "http", tls=tls)
    server = (
        f"listen 127.0.0.1:{port} reuseport backlog=4096; client_body_buffer_size 256k; client_max_body_size 100m;"
        f"location / {{ {way} }} location ~ stream {{ {way} proxy_buffering off; }}"
    )
    return await _nginx(folder, server, ("127.0.0.1", port), f"{upstream[0]}:{upstream[1]}")


async def nginx_tls(folder: Path, pem: Path, body: str) -> Peer:
    """Start nginx as an upstream: `body` over TLS on a port of loopback; `pem` holds certificate and key."""
    port = free_port()
    listen = f"listen 127.0.0.1:{port} ssl reuseport; ssl_certificate {pem}; ssl_certificate_key {pem};"
    return await _nginx(folder, f"{listen} location / {{ {_returned(body)} }}", ("127.0.0.1", port))


def upstream(program: str, routes: Sequence[Sequence[str]]) -> Peer:
    """Start the upstream in C on a free port of loopback; its routes are as benchmarks/c/upstream.c says."""
    words = [word for route in routes for word in ("--", *route)]
    process = subprocess.Popen([program, "--port", "0", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchError("the upstream did not start")
    return Peer(process, ("127.0.0.1", int(line)))


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


async def wrk_rate(url: str, request: tuple[Mapping[str, str], bytes], *, connections: int, seconds: int) -> float:
    """Return the requests/s wrk reaches with POSTs of headers and a body, one thread: a generator in C that is not ours. It verifies no certificate."""
    binary = found()["wrk"]
    assert binary is not None
    headers, body = request
    with tempfile.NamedTemporaryFile("w", suffix=".lua", prefix="ccsbb-") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = {json.dumps(body.decode("ascii"))}\n')
        script.write("".join(f"wrk.headers[{json.dumps(k)}] = {json.dumps(v)}\n" for k, v in headers.items()))
        script.flush()
        command = [binary, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script.name, url]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        told, _ = await process.communicate()
    rate = re.search(rb"Requests/sec:\s+([\d.]+)", told)
    if process.returncode or rate is None or b"Non-2xx" in told:
        raise BenchError(f"wrk: {told.decode(errors='replace')}")
    return float(rate.group(1))
