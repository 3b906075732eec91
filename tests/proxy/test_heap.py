"""Each in a process of its own: what is set holds for the whole of one."""

import asyncio
import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from broker.config import Config, ProxyConfig
from broker.proxy import heap
from broker.proxy.assembly import run_proxy
from tests.fakes.broker_socket import FakeDaemon

ROOT = Path(__file__).parents[2]

# A read into a long block that is cut down to what came: glibc never sees one freed as it was taken.
READS = """
import os, resource, sys
from broker.proxy import heap
if "settle" in sys.argv:
    assert heap.settle()
out, into = os.pipe()
def read():
    os.write(into, b"x" * 100)
    assert len(os.read(out, 262_144)) == 100
for _ in range(100):
    read()
begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(1000):
    read()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun)
"""

# Many bodies at once, and then none.
BODIES = """
import gc
from broker.proxy import heap
assert heap.settle()
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))
begun = resident()
bodies = [bytes([1]) * 100_000 for _ in range(1000)] + [bytes([1]) * 20_000_000]
most = resident()
bodies.clear()
gc.collect()
print(most - begun, resident() - begun)
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def run(script: str, *args: str) -> list[int]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    told = subprocess.run([sys.executable, "-c", script, *args], env=env, check=True, capture_output=True, text=True)
    return [int(word) for word in told.stdout.split()]


@glibc
def test_reading_needs_no_fresh_memory() -> None:
    assert run(READS)[0] >= 1000  # what it is about
    assert run(READS, "settle")[0] < 50


@glibc
def test_what_much_traffic_took_is_given_back() -> None:
    most, left = run(BODIES)
    assert most > 110_000_000
    assert left < heap.KEPT_BYTES + (4 << 20)


@pytest.mark.parametrize("fault", [AttributeError, OSError])
def test_a_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch, fault: type[Exception]) -> None:
    class Library:
        def __init__(self, name: None) -> None:
            del name
            if fault is OSError:
                raise OSError("no library")

    monkeypatch.setattr(ctypes, "CDLL", Library)
    assert not heap.settle()


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not heap.settle()


async def test_a_worker_begins_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    settled: list[bool] = []
    monkeypatch.setattr(heap, "settle", lambda: settled.append(True))
    stop = asyncio.Event()
    await run_proxy(
        Config(proxy=ProxyConfig(port=0)), ready=lambda _host, _port: stop.set(), stop=stop, source=FakeDaemon()
    )
    assert settled == [True]
