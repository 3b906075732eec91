"""A grant that the auth directory refuses outlives the process that got it: strace(1) makes the rename fail in a real daemon."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from broker.cli.demo.stage import Stage
from tests.system.conftest import staged
from tests.system.test_canary import DEBUG, nowhere, written
from tests.system.test_one_post import refresh_posts

ACCOUNT = "gemini/alice@example.com"


async def refuse_renames(stage: Stage) -> asyncio.subprocess.Process:
    """Make every exchange of an auth file fail with EIO from now on."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    pid = stage.processes["daemon"].pid
    tracer = await asyncio.create_subprocess_exec(
        "strace", "-f", "-q", "-o", str(stage.home / "strace"), "-e", "trace=renameat2", "-e", "inject=renameat2:error=EIO",
        "-p", str(pid), stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    for _ in range(500):
        states = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
        if all("TracerPid:\t0" not in each for each in states):
            return tracer
        if tracer.returncode is not None and tracer.stderr is not None:
            pytest.skip(f"strace cannot attach here: {(await tracer.stderr.read()).decode()[:200]}")
        await asyncio.sleep(0.01)
    raise AssertionError("strace did not attach")


def grant_of(path: Path) -> str:
    return str(json.loads(path.read_text())["token"]["refresh_token"])


async def test_a_refused_grant_is_taken_up_from_its_copy_after_a_kill_and_a_lost_journal() -> None:
    async with staged(proxy=False, config=DEBUG) as stage, stage.client() as client:
        auth_file = next(stage.auth_dir.glob("*.json"))
        spent = grant_of(auth_file)
        tracer = await refuse_renames(stage)
        view = await client.refresh(ACCOUNT)
        assert view.state == "unsaved"
        assert grant_of(auth_file) == spent
        (copy,) = (stage.home / "state" / "ccs-broker" / "unsaved").glob("*.json")
        assert copy.stat().st_mode & 0o777 == 0o600
        health = await client.health()
        assert health.status == "degraded"
        assert any(str(copy) in problem for problem in health.problems)
        renewed = json.loads(copy.read_text())["grant"]["refresh_token"]
        served = (await client.lease("gemini")).access_token
        assert renewed != spent
        nowhere({spent, renewed, served.reveal()}, written(stage, {copy}))

        daemon = stage.processes.pop("daemon")
        daemon.kill()
        await daemon.wait()
        await tracer.communicate()
        for record in stage.auth_dir.rglob("*.rotation"):
            record.unlink()  # the journal lies on the disk that failed
        await stage.start_daemon()

        assert (await client.lease("gemini")).access_token == served
        assert grant_of(auth_file) == renewed
        assert not copy.exists()
        assert await refresh_posts(stage) == 1
        assert (await client.health()).status == "ok"
        await client.refresh(ACCOUNT)  # the sandbox revokes the family of a refresh token that comes twice
        assert "emergency copy written" in (stage.home / "serve.log").read_text()
        nowhere({spent, renewed, served.reveal()}, written(stage, set()))
