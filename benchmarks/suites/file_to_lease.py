"""An auth file renamed into place until its token is served, beside the bare file event."""

import shutil
import tempfile
import threading
import time
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from benchmarks import bars
from benchmarks.harness import Contest, Metric, Outcome, quantile
from benchmarks.home import BenchError, Home, UnixConnection, lease_path
from benchmarks.suites import Context

_POLL_SECONDS = 0.0003  # a poll without a pause would keep the daemon from its work
_GIVE_UP_SECONDS = 10.0
_FILES = 1000
_PAUSE_SECONDS = 0.03  # files come singly, not as one burst


async def run(context: Context) -> list[Outcome]:
    """Measure with 1,000 files in the directory."""
    drops = 20 if context.quick else 100  # of 100, a nearest-rank p99 is not the slowest one
    home, bare = Home(), Path(tempfile.mkdtemp(prefix="ccsbb-"))
    watched = Watched(bare, drops)
    try:
        home.configure()
        for number in range(_FILES):
            home.plant(number)
            (bare / f"{number}.json").write_text("{}")
        await home.start("serve")
        watched.start()
        contest = Contest(
            "file_to_lease",
            f"auth file renamed into place until served, {_FILES:,} files in the directory, {drops} a round",
            (Metric("p50", "ms"), Metric("p99", "ms"), Metric("max", "ms", compared=False)),
            {"bare watchdog event": watched, bars.DAEMON: Dropped(home, drops)},
            "bare watchdog event",
            bars.of("file_to_lease"),
            [f"served is noticed by asking every {_POLL_SECONDS * 1e3:g} ms"],
        )
        return [await contest.run(context.rounds(1, 2))]
    finally:
        watched.stop()
        shutil.rmtree(bare, ignore_errors=True)
        await home.close()


class Dropped:
    """The daemon: a new token's file replaces an account's file; the account's lease is asked for until it is that token."""

    def __init__(self, home: Home, drops: int) -> None:
        self._home = home
        self._drops = drops
        self._count = 0

    async def __call__(self) -> dict[str, float]:
        """Drop files, one after the other."""
        connection = UnixConnection(self._home.token_socket)
        connection.ask("/v1/health")
        took = [self._drop(connection, number) for number in range(self._drops)]
        connection.close()
        return _summary(took)

    def _drop(self, connection: UnixConnection, number: int) -> float:
        self._count += 1
        token = f"drop{self._count}"
        temporary = self._home.prepare(number, token=token)
        time.sleep(_PAUSE_SECONDS)
        wanted, path = f"fake-access-{number}-{token}-".encode(), lease_path(number)
        began = time.perf_counter()
        temporary.replace(self._home.auth_file(number))
        while (passed := time.perf_counter() - began) < _GIVE_UP_SECONDS:
            if wanted in connection.ask(path)[1]:
                return time.perf_counter() - began
            time.sleep(_POLL_SECONDS)
        raise BenchError(f"a token was not served {passed:.0f} s after its file was put in place")


class Watched(FileSystemEventHandler):
    """Watchdog alone, in a directory with as many files."""

    def __init__(self, folder: Path, drops: int) -> None:
        self._folder = folder
        self._drops = drops
        self._observer = Observer()
        self._awaited = ""
        self._seen = threading.Event()
        self._at = 0.0

    def start(self) -> None:
        """Begin to watch."""
        self._observer.schedule(self, str(self._folder))
        self._observer.start()

    def stop(self) -> None:
        """Watch no more."""
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()

    def dispatch(self, event: FileSystemEvent) -> None:
        if self._awaited in (event.dest_path, event.src_path) and not self._seen.is_set():
            self._at = time.perf_counter()
            self._seen.set()

    async def __call__(self) -> dict[str, float]:
        """Rename files into place, one after the other."""
        return _summary([self._drop(number) for number in range(self._drops)])

    def _drop(self, number: int) -> float:
        temporary, path = self._folder / ".tmp", self._folder / f"{number}.json"
        temporary.write_text("{}")
        time.sleep(_PAUSE_SECONDS)
        self._seen.clear()
        self._awaited = str(path)
        began = time.perf_counter()
        temporary.replace(path)
        if not self._seen.wait(_GIVE_UP_SECONDS):
            raise BenchError("watchdog did not see a file put in place")
        return self._at - began


def _summary(took: list[float]) -> dict[str, float]:
    return {"p50": quantile(took, 0.5) * 1e3, "p99": quantile(took, 0.99) * 1e3, "max": max(took) * 1e3}
