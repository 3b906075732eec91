"""The request log through the real programs: switched on while they run, for all workers, each limit kept."""

import asyncio
import time
from pathlib import Path

import aiohttp

from broker.cli.demo.stage import Stage, mode_of
from broker.config import INTERNAL_KEY
from broker.proxy.reqlog.entry import folder_name
from tests.system.conftest import amend, staged
from tests.system.settings_table import covers
from tests.system.test_settings_daemon import eventually
from tests.system.test_settings_proxy import MODEL, ask


async def change(stage: Stage, text: str) -> None:
    """Write the config, and wait until every worker goes by it."""

    async def generation() -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{stage.proxy_url}/health") as answer:
            return str((await answer.json())["settings"]["generation"])

    before = await generation()
    stage.config_file.write_text(text)

    async def taken() -> bool:
        return before not in [await generation() for _ in range(16)]

    await eventually(taken)


def plant(folder: Path, hours: float, size: int) -> Path:
    """A request of some hours ago."""
    made = folder / folder_name(time.time() - hours * 3600, "planted", 200)
    made.mkdir(parents=True, mode=0o700)
    (made / "client-request").write_bytes(b"x" * size)
    return made


async def requests_in(folder: Path, number: int) -> list[Path]:
    """Wait for that many requests that were not planted."""
    found: list[Path] = []

    async def there() -> bool:
        found[:] = [path for path in sorted(folder.glob("2*")) if "planted" not in path.name]
        return len(found) >= number

    await eventually(there)
    assert len(found) == number
    return found


async def wrong(stage: Stage, text: str) -> None:
    """Ask for a model there is not."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        body = {"model": "nobody-has-it", "messages": [{"role": "user", "content": text}], "padding": ["12345"] * 1000}
        headers = {"Authorization": f"Bearer {INTERNAL_KEY}"}
        async with session.post(f"{stage.proxy_url}/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status == 404


@covers(
    "request_log.enabled",
    "request_log.only",
    "request_log.directory",
    "request_log.max_megabytes",
    "request_log.max_age_days",
    "request_log.max_body_bytes",
    "request_log.max_string_bytes",
)
async def test_what_passes_is_written_where_how_and_as_long_as_the_config_says() -> None:
    async with staged(config="[proxy]\nworkers = 2") as stage:
        default = stage.home / "state" / "ccs-broker-proxy" / "request-log"
        folder = stage.home / "log"
        first = stage.config_file.read_text()
        assert (await ask(stage))[0] == 200

        await change(stage, amend(first, "[request_log]\nenabled = true"))
        answers = await asyncio.gather(*(ask(stage, f"question {number}") for number in range(8)))
        assert {status for status, _ in answers} == {200}
        for made in await requests_in(default, 8):
            assert f'"model":"{MODEL}"' in (made / "client-request").read_text().replace(" ", "")
            assert (mode_of(made), mode_of(made / "summary.json")) == ("0700", "0600")
        assert mode_of(default) == "0700"

        # By the defaults all of these would stay but the oldest.
        ancient, old = plant(folder, 24 * 30, 10), plant(folder, 24 * 5, 10)
        large, young = plant(folder, 3, 2 << 20), plant(folder, 2, 10)
        limits = "max_megabytes = 1\nmax_age_days = 3\nmax_body_bytes = 2000\nmax_string_bytes = 100"
        where = f'enabled = true\nonly = "errors"\ndirectory = "{folder}"'
        await change(stage, amend(first, f"[request_log]\n{where}\n{limits}"))
        await ask(stage)
        await wrong(stage, "a question " * 100)
        (made,) = await requests_in(folder, 1)

        async def gone() -> bool:
            return not any(path.exists() for path in (ancient, old, large))

        await eventually(gone)
        assert young.exists()
        text = (made / "client-request").read_text().partition("\n\n")[2]
        assert '"content": "a question a question' in text
        assert text.count(" bytes>") == 2
        assert 1000 < len(text) < 2100
        assert "nobody-has-it" in (made / "client-response").read_text()

        await change(stage, first)
        await wrong(stage, "nobody sees this")
        await asyncio.sleep(0.2)
        await requests_in(folder, 1)
        await requests_in(default, 8)
