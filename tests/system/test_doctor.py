"""The doctor at a real daemon and a real proxy: a sound home is told as sound, a broken one as it is, and no secret is shown on the way."""

import asyncio
import json

from broker.cli.demo.stage import Stage
from tests.system.conftest import staged
from tests.system.test_canary import in_files

# What other users, other programs and this machine may add to any home.
OF_THE_MACHINE = {
    "default-key", "callback-port", "other-refresher", "disk-space", "open-files", "network-file-system", "clock-behind", "runtime-dir",
    "service-program", "service-outdated", "service-disabled", "service-failed", "service-lingering",
}  # fmt: skip


async def faults(stage: Stage, *arguments: str) -> dict[str, list[str]]:
    """What is found above a note, by the ids of the checks."""
    code, text = await stage.run("doctor", "--json", *arguments)
    made = json.loads(text)
    above = [each for each in made["findings"] if each["severity"] != "info"]
    assert code == (1 if above else 0)
    assert "could not be made" not in text
    return {each["id"]: [each["what"], each["mend"]] for each in above if each["id"] not in OF_THE_MACHINE}


async def test_a_sound_home_a_broken_one_and_a_mended_one() -> None:
    async with staged() as stage:
        async with asyncio.timeout(60):
            while set(await faults(stage)) == {"proxy-detached"}:
                pass  # it listens before it has heard from the daemon
        assert await faults(stage, "--fix") == {}  # which disturbs nobody:
        assert (await stage.run("token", "gemini"))[0] == 0

        stage.auth_dir.chmod(0o755)
        proxy, daemon = stage.processes["proxy"], stage.processes["daemon"]
        daemon.kill()
        await daemon.wait()
        stage.processes.pop("daemon")
        found = await faults(stage)
        assert set(found) == {"auth-dir-mode", "daemon-down", "socket-stale"}
        assert set(await faults(stage, "--fix")) == {"daemon-down"}
        await stage.stop("proxy")
        assert proxy.returncode is not None
        assert set(await faults(stage)) == {"daemon-down", "proxy-down"}

        await stage.start_daemon()
        assert set(await faults(stage)) == {"proxy-down"}


async def test_no_secret_is_shown() -> None:
    async with staged(proxy=False) as stage:
        secrets = in_files(stage) | {(stage.home / "client-secret").read_text().strip()}
        native = stage.home / ".tool" / "login.json"
        native.parent.mkdir()
        copy = next(stage.auth_dir.glob("*.json"))
        native.write_text(copy.read_text())
        (stage.auth_dir / "twin.json").write_text(copy.read_text())
        (stage.auth_dir / "half.json").write_text(copy.read_text()[:-20])
        told = [(await stage.run("doctor", *arguments))[1] for arguments in (("--json",), ("--fix",))]
        assert "shared-login" in told[0]
        assert "auth-file-same-token" in told[0]
        assert len(secrets) >= 3
        for secret in secrets:
            assert secret not in "".join(told)
