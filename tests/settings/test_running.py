"""The settings of a running program, over a real file."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.config import Config, Loaded
from broker.model.errors import BrokerError, SettingError
from broker.observe.tasks import spawn
from broker.settings.changes import Program
from broker.settings.reading import read
from broker.settings.running import Running
from broker.system import SystemClock


class Parts:
    """Two parts; the second can refuse."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, Config]] = []
        self.refusing: BrokerError | None = None

    def of(self, name: str) -> Callable[[Config], Callable[[], None]]:
        def prepare(config: Config) -> Callable[[], None]:
            if name == "second" and self.refusing is not None:
                raise self.refusing
            return lambda: self.taken.append((name, config))

        return prepare


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "conf" / "config.toml"
    path.parent.mkdir()
    path.write_text("[proxy]\nport = 1\n")
    return path


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def running(file: Path, parts: Parts) -> Running:
    made = Running(read(file), Program.PROXY, lambda: read(file), SystemClock())
    made.on_change(parts.of("first"))
    made.on_change(parts.of("second"))
    return made


def test_what_changed_is_taken_over_and_told(
    file: Path, running: Running, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = running.edition
    file.write_text('[proxy]\nport = 2\nsafety_off = true\n[store]\nmode = "sealed"\n')
    told = running.reload()
    assert told == (("proxy", "safety_off"), ("store", "mode"), ("proxy", "port"))
    assert (running.config.proxy.port, running.config.proxy.safety_off) == (1, True)
    assert parts.taken == [("first", running.config), ("second", running.config)]
    assert running.edition.pending == ("proxy.port",)
    assert running.edition.generation != before.generation
    assert "settings reloaded" in caplog.text
    assert "needs a restart: proxy.port" in caplog.text
    assert "store.mode" not in caplog.text
    assert running.reloads == 1
    file.write_text("[proxy]\nport = 1\nsafety_off = true\n")
    running.reload()
    assert running.edition.pending == ()


@pytest.mark.parametrize(
    ("text", "said"), [("[proxy]\nport = ", ":2:"), ("[proxy]\n\nworkers = 0\n", ":3: proxy.workers: must be greater")]
)
def test_a_faulty_file_changes_nothing(
    file: Path, running: Running, parts: Parts, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    file.write_text(text)
    with pytest.raises(BrokerError) as caught:
        running.reload()
    assert f"{file}{said}" in caught.value.detail
    assert running.problem == caught.value.detail
    assert parts.taken == []
    assert running.config.proxy.port == 1
    assert len(caplog.records) == 1
    file.write_text("[proxy]\nport = 1\n")
    running.reload()
    assert running.problem is None


def test_settings_that_one_part_cannot_work_with_are_taken_by_none(file: Path, running: Running, parts: Parts) -> None:
    parts.refusing = SettingError(("proxy", "safety_off"), "odd")
    file.write_text("[proxy]\nsafety_off = true\n")
    with pytest.raises(BrokerError, match=r"config\.toml:2: proxy\.safety_off: odd"):
        running.reload()
    assert parts.taken == []
    assert running.config.proxy.safety_off is False


def test_a_part_that_breaks_keeps_nobody_else_from_new_settings(
    file: Path, running: Running, parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> None:
        raise RuntimeError("a fault of ours")

    running.on_change(lambda _config: breaks)
    running.on_change(parts.of("last"))
    file.write_text("[proxy]\nsafety_off = true\n")
    running.reload()
    assert [name for name, _ in parts.taken] == ["first", "second", "last"]
    assert "a part of the program goes on by the settings it had" in caplog.text


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_changes_of_the_file_are_followed(file: Path, running: Running, caplog: pytest.LogCaptureFixture) -> None:
    following = spawn(running.follow(), name="test-follow")
    try:
        await asyncio.sleep(0.1)
        file.write_text("[proxy]\nsafety_off = true\n")
        await until(lambda: running.config.proxy.safety_off)
        # As editors do it: another file takes its place.
        other = file.with_name("new")
        other.write_text("[proxy]\nconnect_timeout = 3\n")
        other.replace(file)
        await until(lambda: running.config.proxy.connect_timeout == 3)
        file.write_text("[proxy]\nconnect_timeout = 0\n")
        await until(lambda: running.problem is not None)
        assert running.config.proxy.connect_timeout == 3
        file.unlink()
        file.write_text("[proxy]\nconnect_timeout = 4\n")
        await until(lambda: running.config.proxy.connect_timeout == 4)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_link_is_followed_to_wherever_it_leads_next(tmp_path: Path) -> None:
    """The folder of what it leads to is watched too, also when that is another one than at the start."""
    places = [tmp_path / name / f"{name}.toml" for name in ("one", "two")]
    for number, place in enumerate(places, 2):
        place.parent.mkdir()
        place.write_text(f"[proxy]\nconnect_timeout = {number}\n")
    link, other = tmp_path / "conf" / "config.toml", tmp_path / "conf" / "next"
    link.parent.mkdir()
    link.symlink_to(places[0])
    other.symlink_to(places[1])
    running = Running(read(link), Program.PROXY, lambda: read(link), SystemClock())
    following = spawn(running.follow(), name="test-follow")
    try:
        await asyncio.sleep(0.1)
        other.replace(link)
        await until(lambda: running.config.proxy.connect_timeout == 3)
        await asyncio.sleep(0.1)
        places[1].write_text("[proxy]\nconnect_timeout = 4\n")
        await until(lambda: running.config.proxy.connect_timeout == 4)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_the_folder_may_come_later_and_go(tmp_path: Path, parts: Parts) -> None:
    file = tmp_path / "later" / "config.toml"
    nothing = Loaded(Config(), file, exists=False)
    running = Running(nothing, Program.PROXY, lambda: read(file) if file.exists() else nothing, SystemClock())
    following = spawn(running.follow(), name="test-follow")
    try:
        for number in (2, 3):
            await asyncio.sleep(0.2)
            file.parent.mkdir()
            file.write_text(f"[proxy]\nconnect_timeout = {number}\n")
            await until(lambda number=number: running.config.proxy.connect_timeout == number)  # type: ignore[misc]
            shutil.rmtree(file.parent)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_change_before_the_watch_hangs_is_not_missed(file: Path, running: Running) -> None:
    file.write_text("[proxy]\nsafety_off = true\n")
    following = spawn(running.follow(), name="test-follow")
    await until(lambda: running.config.proxy.safety_off)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_where_the_system_does_not_tell_the_file_is_looked_at(
    file: Path, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.observe.watch.Watcher.start", lambda _self: None)
    monkeypatch.setattr("broker.settings.running._BLIND_SECONDS", 0.05)
    following = spawn(running.follow(), name="test-follow")
    await asyncio.sleep(0.1)
    file.write_text("[proxy]\nsafety_off = true\n")
    await until(lambda: running.config.proxy.safety_off)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
