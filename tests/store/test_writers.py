import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from broker.store.writers import await_none, open_for_writing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_text("x")
    return made


def test_nobody_and_readers_do_not_count(path: Path) -> None:
    assert open_for_writing(path) is False
    with path.open("rb"):
        assert open_for_writing(path) is False


@pytest.mark.parametrize("mode", ["ab", "r+b", "wb"])
def test_a_writer_counts_until_it_closes(path: Path, mode: str) -> None:
    with path.open(mode):
        assert open_for_writing(path) is True
    assert open_for_writing(path) is False


def test_a_writer_in_another_process_counts(path: Path) -> None:
    code = "import sys; f = open(sys.argv[1], 'r+b'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        assert open_for_writing(path) is True
        other.communicate()
    assert open_for_writing(path) is False


def test_where_nothing_can_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_for_writing(tmp_path / "absent") is None
    assert open_for_writing(tmp_path) is None  # folders have no leases
    assert not await_none(tmp_path)
    monkeypatch.setattr("broker.store.writers._SET_LEASE", None)
    assert open_for_writing(tmp_path) is None


def test_waits_for_the_writer_and_no_longer_than_it_may(path: Path) -> None:
    with path.open("ab") as file:
        assert not await_none(path, 0.02)
        threading.Timer(0.05, file.close).start()
        assert await_none(path, 20.0)


def test_the_question_ends_no_process_and_keeps_nobody_waiting(path: Path) -> None:
    """A signal of a broken lease would be SIGURG; a lease that was kept would block the writer for 45 s."""
    seen: list[int] = []
    before = signal.signal(signal.SIGURG, lambda number, _: seen.append(number))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            with contextlib.suppress(FileNotFoundError):
                os.close(os.open(path, os.O_WRONLY))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        answers = {open_for_writing(path) for _ in range(3000)}
    finally:
        stop.set()
        writer.join(20)
        signal.signal(signal.SIGURG, before)
    assert not writer.is_alive()
    assert answers <= {True, False}
