from pathlib import Path

import pytest

from broker.daemon.cooldowns import Cooldowns
from broker.daemon.kept_cooldowns import FILE_NAME, KeptCooldowns
from broker.model.account import AccountId
from broker.store.files import Disk
from tests.fakes.clock import FakeClock

ALICE = AccountId("gemini", "alice@example.com")


class Run:
    """One life of a daemon."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.cooldowns = Cooldowns()
        self.kept = KeptCooldowns(self.cooldowns, Disk(lambda: "nonce"), folder, clock)
        self.clock = clock
        self.kept.start()

    def models(self) -> list[str | None]:
        return [each.model for each in self.cooldowns.of(ALICE, self.clock.now().wall)]

    def limit(self, model: str | None, seconds: float = 600.0) -> None:
        self.cooldowns.limit(ALICE, model, seconds, "quota", self.clock.now().wall)


async def test_they_outlive_a_restart_until_their_time(tmp_path: Path) -> None:
    clock = FakeClock()
    first = Run(tmp_path, clock)
    first.limit("m")
    first.limit(None, 60.0)
    await first.kept.stop()
    clock.advance(61)
    second = Run(tmp_path, clock)
    assert second.models() == ["m"]
    assert second.cooldowns.of(ALICE, clock.now().wall)[0].reason == "quota"
    await second.kept.stop()


async def test_a_change_is_written_without_a_stop(tmp_path: Path) -> None:
    clock = FakeClock()
    run = Run(tmp_path, clock)
    run.limit("m")
    while not (tmp_path / FILE_NAME).exists():
        await clock.run(1.0)
    assert Run(tmp_path, clock).models() == ["m"]
    await run.kept.stop()


async def test_what_ended_does_not_come_back(tmp_path: Path) -> None:
    clock = FakeClock()
    for end in ("succeeded", "clear"):
        run = Run(tmp_path, clock)
        run.limit("m")
        if end == "clear":
            run.cooldowns.clear(ALICE)
        else:
            run.cooldowns.succeeded(ALICE, "m", clock.now().wall)
        await run.kept.stop()
        assert Run(tmp_path, clock).models() == []


async def test_a_clock_that_was_wrong_holds_nobody_up_for_long(tmp_path: Path) -> None:
    clock = FakeClock()
    clock.step_wall(30 * 86_400.0)
    run = Run(tmp_path, clock)
    run.limit("m")
    await run.kept.stop()
    clock.step_wall(-30 * 86_400.0)
    later = Run(tmp_path, clock)
    assert later.cooldowns.of(ALICE, clock.now().wall)[0].until <= clock.now().wall + 3600


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"nonsense": []}', b'{"gemini/a": [{"model": 1}]}', b"\xff"])
async def test_a_damaged_file_costs_nothing(tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    assert Run(tmp_path, FakeClock()).models() == []
    assert "cannot be read" in caplog.text


async def test_storage_that_refuses_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path / "missing", FakeClock())
    run.limit("m")
    await run.kept.stop()
    assert run.models() == ["m"]
    assert "not kept" in caplog.text
