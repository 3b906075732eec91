"""One worker process, driven by hand."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from broker.config import Config, LoggingConfig, ProxyConfig
from broker.proxy.listen import bind
from broker.proxy.workers import READY, Order, write_order


@pytest.mark.parametrize("end", ["signal", "pipe"])
def test_a_worker_serves_until_it_is_told_or_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setenv("CCS_BROKER_RUNTIME_DIR", str(tmp_path))
    settings = Config(proxy=ProxyConfig(port=0), logging=LoggingConfig(level="error"))
    with bind("127.0.0.1", 0, shared=True) as kept:
        port = kept.getsockname()[1]
        command = [sys.executable, "-m", "broker.proxy.worker"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(write_order(Order(settings, port, 4)))
            process.stdin.flush()
            assert process.stdout.readline() == READY
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as got:
                assert json.load(got)["daemon"]["connected"] is False
            if end == "signal":
                process.send_signal(signal.SIGTERM)
            else:
                process.stdin.close()
            assert process.wait(10) == 0
