"""Usage through the real programs: counted by all workers, written at the end, and read without them."""

import asyncio
import json

from broker.cli.demo.stage import Stage, mode_of
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_settings_proxy import ask

OFF = "[proxy]\nworkers = 2\n\n[usage]\nenabled = false"


async def counted(stage: Stage, *arguments: str) -> dict[str, object]:
    code, written = await stage.run("usage", "--json", *arguments)
    assert code == 0, written
    found: dict[str, object] = json.loads(written)
    return found


@covers("usage.enabled")
async def test_what_was_used_is_counted_unless_it_is_switched_off() -> None:
    async with staged(config=OFF) as stage:
        assert (await ask(stage))[0] == 200
        assert await stage.stop("proxy") == 0
        file = stage.home / "state" / "ccs-broker-proxy" / "usage.db"
        assert not file.exists()
        assert (await counted(stage))["lines"] == []

        stage.config_file.write_text(stage.config_file.read_text().replace("enabled = false", "enabled = true"))
        await stage.start_proxy()
        answers = await asyncio.gather(
            *(ask(stage, f"question {number}", streamed=bool(number % 2)) for number in range(12))
        )
        assert {status for status, _ in answers} == {200}
        assert await stage.stop("proxy") == 0
        assert mode_of(file) == "0600"
        total = (await counted(stage))["total"]
        assert isinstance(total, dict)
        assert (total["requests"], total["failed"], total["untold"]) == (12, 0, 0)
        assert total["input_tokens"] > 0
        assert total["output_tokens"] > 0
        (line,) = (await counted(stage, "--by", "key"))["lines"]  # type: ignore[misc]
        assert line["key"] == "internal"
