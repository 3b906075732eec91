"""The machine and the processes on it, from /proc: what a run was made on, and how much processor time a process took."""

import asyncio
import contextlib
import os
import platform
import resource
import subprocess
import time
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from broker import __version__

_CORES = frozenset(os.sched_getaffinity(0))
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS, _ONE_SECONDS = 0.05, 0.25
OWN = os.getpid()


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process and its children that live, in ticks of 10 ms mostly (proc_pid_stat(5))."""
    total = 0.0
    for each in _family(pid):
        # The name may hold spaces and brackets; utime and stime are fields 14 and 15, the name being 2.
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) * _TICK_SECONDS
    return total


def memory_mib(pid: int) -> float:
    """Return the resident memory of a process and its children that live."""
    return sum(_status(each, "VmRSS") for each in _family(pid)) / 1024


def peak_mib(pid: int) -> float:
    """Return the highest resident memory of a process and its children since `forget_peak`, added up."""
    return sum(_status(each, "VmHWM") for each in _family(pid)) / 1024


def forget_peak(pid: int) -> None:
    """Let the highest resident memory begin anew at the present one (proc_pid_clear_refs(5))."""
    for each in _family(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


async def awakenings(pid: int, seconds: float) -> int:
    """Return how often a process and its children that slept, all of them, were woken meanwhile.

    One that is awake hands work to a thread of its own and back, and both wait for the interpreter's lock: what happens within a quarter of a second is one.
    """
    moments: list[float] = []
    before, end = wake_ups(pid), time.perf_counter() + seconds
    while (now := time.perf_counter()) < end:
        await asyncio.sleep(min(_LOOK_SECONDS, end - now))
        if (after := wake_ups(pid)) != before:
            before, now = after, time.perf_counter()
            if not moments or now - moments[-1] > _ONE_SECONDS:
                moments.append(now)
    return len(moments)


def wake_ups(pid: int) -> int:
    """Return how often the threads of a process and its children went to sleep of their own accord: each time something had woken them."""
    return sum(
        int(line.split()[1])
        for each in _family(pid)
        for task in Path(f"/proc/{each}/task").iterdir()
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches:")
    )


def apart(measured: int, *others: int) -> None:
    """Give a process (and its children) a core, and all others of a measurement, this process among them, another one.

    Left alone the kernel tends to put two programs that wake each other on one core, where they take turns: both look half busy and neither is
    measured. Does nothing on a machine with one core.
    """
    cores = sorted(_CORES)
    if len(cores) < 2:
        return
    for pid in _family(measured):
        _pin(pid, {cores[0]})
    beside(*others)


def beside(*others: int) -> None:
    """Give this process and `others` the cores that are not the measured process's, as `apart` does."""
    cores = sorted(_CORES)
    for other in (OWN, *others) if len(cores) > 1 else ():
        for pid in _family(other) if other != OWN else [other]:
            _pin(pid, cores[1:])


def together(*pids: int) -> None:
    """Take `apart` back."""
    for pid in (OWN, *pids):
        for each in _family(pid) if pid != OWN else [pid]:
            _pin(each, _CORES)


def busy_cores(seconds: float) -> float:
    """Return how many cores are busy while this process does nothing: what others do to the measurements. Blocks."""
    before = busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - before) / seconds


def busy_seconds() -> float:
    """Return the processor time all programs of the machine took so far, and what was stolen from it."""
    # user nice system idle iowait irq softirq steal (proc_stat(5))
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) * _TICK_SECONDS


def facts() -> dict[str, object]:
    """Return what a reader has to know about the machine to read the figures. No host name."""
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": len(_CORES),
        "python": platform.python_version(),
        "uvloop": version("uvloop"),
        "httptools": version("httptools"),
        "ccs_broker": __version__,
        "commit": _commit(),
    }


def raise_file_limit() -> None:
    """Let the processes that are started open as many files as the system allows: a thousand streams through a proxy are two thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def core_count() -> int:
    """Return how many cores this run may use."""
    return len(_CORES)


def _pin(pid: int, cores: Collection[int]) -> None:
    """Set the cores of each of a process's threads: sched_setaffinity(2) is about one thread."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(task.name), cores)


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()
