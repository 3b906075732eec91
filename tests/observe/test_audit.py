import json
import logging
import os
import stat
from pathlib import Path

import pytest

from broker.model.account import AccountId
from broker.observe.audit import FILE_NAME, Audit, Event

ANN = AccountId("acme", "ann@example.com")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_are_lines_only_the_user_can_read(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: 12.3456)
    before = os.umask(0)
    try:
        audit.record(Event.STARTED, version="1.0")
        audit.record(Event.REFRESH, ANN, outcome="renewed", seconds=0.5, reason=None)
    finally:
        os.umask(before)
    path = tmp_path / FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lines(path) == [
        {"time": 12.346, "event": "daemon_started", "version": "1.0"},
        {"time": 12.346, "event": "refresh", "account": "acme/ann@example.com", "outcome": "renewed", "seconds": 0.5},
    ]


def test_details_are_redacted(tmp_path: Path) -> None:
    Audit(tmp_path, lambda: 0.0).record(Event.REFRESH, ANN, reason="refused: refresh_token=fake-refresh-1")
    assert "fake-refresh" not in (tmp_path / FILE_NAME).read_text()


def test_the_size_is_bounded(tmp_path: Path) -> None:
    audit = Audit(tmp_path, lambda: 0.0, max_bytes=300)
    for number in range(50):
        audit.record(Event.REFRESH, ANN, number=number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] in ([FILE_NAME, f"{FILE_NAME}.1"], [f"{FILE_NAME}.1"])
    assert all(file.stat().st_size < 500 for file in files)
    assert lines(files[-1])[-1]["number"] >= 40


def test_a_trail_that_cannot_be_written_stops_nobody_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = tmp_path / "gone"
    audit = Audit(gone, lambda: 0.0)
    with caplog.at_level(logging.ERROR):
        audit.record(Event.STARTED)
        audit.record(Event.STARTED)
        assert len(caplog.records) == 1
        gone.mkdir()
        audit.record(Event.STARTED)
        (gone / FILE_NAME).unlink()
        gone.rmdir()
        audit.record(Event.STOPPED)
    assert len(caplog.records) == 2


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = tmp_path / "target"
    (tmp_path / FILE_NAME).symlink_to(target)
    Audit(tmp_path, lambda: 0.0).record(Event.STARTED)
    assert not target.exists()
    assert "audit trail not written" in caplog.text
