"""Files that other programs drop into the directory."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.cli.demo.stage import Stage
from tests.system.conftest import staged


def cliproxyapi_file(stage: Stage, *, refresh_token: str, left: float) -> dict[str, object]:
    """A file as CLIProxyAPI writes it, with fields of its own and of nobody we know."""
    expiry = datetime.now(UTC) + timedelta(seconds=left)
    return {
        "token": {
            "access_token": "fake-access-dropped", "token_type": "Bearer", "refresh_token": refresh_token,
            "expiry": expiry.isoformat(), "universe_domain": "googleapis.com", "x_nested": [1, {"deep": None}],
        },
        "project_id": "fake-project-1", "email": "dropped@example.com", "auto": False, "checked": True, "type": "gemini",
        "disabled": False, "priority": 7, "note": "kept – as it is", "headers": {"X-Mine": "1"}, "big": 123456789012345678901234567890,
    }  # fmt: skip


def drop(folder: Path, name: str, document: object) -> Path:
    """Put a file in place as a careful program does."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".dropping"
    temporary.write_text(json.dumps(document, indent=2, ensure_ascii=False))
    path = folder / name
    temporary.replace(path)
    return path


async def test_a_dropped_file_is_served_within_a_second_and_keeps_its_fields_over_a_refresh() -> None:
    async with staged(proxy=False) as stage, stage.client() as client:
        original = next(stage.auth_dir.glob("*.json"))
        grant = json.loads(original.read_text())["token"]["refresh_token"]
        original.unlink()
        document = cliproxyapi_file(stage, refresh_token=grant, left=3000)
        path = drop(stage.auth_dir, "gemini-dropped@example.com-fake-project-1.json", document)
        began = time.perf_counter()
        lease = None
        while lease is None and time.perf_counter() - began < 5:
            accounts = await client.accounts()
            if any(view.label == "dropped@example.com" for view in accounts):
                lease = await client.lease("gemini/dropped@example.com")
        took = time.perf_counter() - began
        assert lease is not None
        assert lease.access_token.reveal() == "fake-access-dropped"
        assert took < 1.0
        await client.refresh("gemini/dropped@example.com")
        after = json.loads(path.read_text())
        assert after["token"]["access_token"] != "fake-access-dropped"
        assert after["token"]["refresh_token"] != grant
        for key in set(document) - {"token"}:
            assert after[key] == document[key], key
        assert after["token"]["x_nested"] == [1, {"deep": None}]
        assert list(after)[: len(document)] == list(document)
        assert oct(path.stat().st_mode & 0o777) == "0o600"


async def test_half_a_file_is_no_deletion_and_no_error_for_the_account() -> None:
    async with staged(proxy=False) as stage, stage.client() as client:
        path = next(stage.auth_dir.glob("*.json"))
        whole = path.read_text()
        path.write_text(whole[: len(whole) // 2])
        for _ in range(20):
            assert (await client.lease("gemini")).access_token
        path.write_text(whole)
        assert (await client.lease("gemini")).access_token
