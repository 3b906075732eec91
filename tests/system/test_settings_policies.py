"""Settings that change requests, each seen in what the upstream is asked."""

from collections.abc import Mapping

import aiohttp

from broker.cli.demo.stage import headers
from tests.system.conftest import staged
from tests.system.settings_table import covers
from tests.system.test_settings_providers import requests_seen

CONFIG = """
[policies."gemini-2.5-*"]
thinking = 99
prepend = "Said before."
append = "Said after."

[policies."gemini-2.5-flash-lite"]
thinking = "passthrough"
prepend = ""
append = ""

[payload]
default = [{ path = "generationConfig.topK", value = 7 }, { path = "generationConfig.seed", value = 8, models = "gpt-*" }]
override = [{ path = "generationConfig.temperature", value = 0.25, dialect = "code-assist" }]
remove = [{ path = ["generationConfig", "stopSequences"] }]
"""


@covers(
    "policies.thinking", "policies.prepend", "policies.append", "payload.default", "payload.override", "payload.remove"
)
async def test_requests_are_changed_as_the_config_says() -> None:
    async with staged(config=CONFIG) as stage, aiohttp.ClientSession() as session:
        for model in ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-flash(2048)"):
            messages = [{"role": "system", "content": "Mine."}, {"role": "user", "content": "hello"}]
            body = {"model": model, "messages": messages, "temperature": 1, "stop": ["x"]}
            async with session.post(f"{stage.proxy_url}/v1/chat/completions", json=body, headers=headers()) as answer:
                assert answer.status == 200, await answer.text()
        asked = [each["body"] for each in await requests_seen(stage) if "generateContent" in str(each["path"])]
        inner = []
        for each in asked:
            assert isinstance(each, Mapping)
            assert "(" not in each["model"]
            inner.append(each["request"])
        configs = [each["generationConfig"] for each in inner]
        said = [[part["text"] for part in each["systemInstruction"]["parts"]] for each in inner]
        whole = ["Said before.", "Mine.", "Said after."]
        assert said == [whole, ["Mine."], whole]
        assert [each.get("thinkingConfig", {}).get("thinkingBudget") for each in configs] == [99, None, 2048]
        for each in configs:
            assert (each["topK"], each["temperature"]) == (7, 0.25)
            assert each.keys().isdisjoint({"stopSequences", "seed"})
