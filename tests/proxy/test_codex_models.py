import json
from typing import Any

from broker.proxy.codex_models import INSTRUCTIONS, listed
from broker.proxy.models import Model
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.ir import Effort
from broker.translate.limits import Limits


def read(*models: Model, entries: dict[str, bytes] | None = None, **limits: Limits) -> list[dict[str, Any]]:
    found = json.loads(listed(models, entries or {}, limits))
    assert list(found) == ["models"]
    return list(found["models"])


def test_an_entry_has_all_that_codex_cannot_do_without() -> None:
    (pro,) = read(Model("gemini-2.5-pro", "Gemini 2.5 Pro"))
    required = {
        "slug", "display_name", "description", "supported_reasoning_levels", "shell_type", "visibility", "supported_in_api", "priority", "upgrade",
        "base_instructions", "supports_reasoning_summaries", "support_verbosity", "default_verbosity", "apply_patch_tool_type", "truncation_policy",
        "supports_parallel_tool_calls", "experimental_supported_tools",
    }  # fmt: skip
    assert required <= pro.keys()
    assert pro["base_instructions"] == INSTRUCTIONS
    assert pro["context_window"] == 1_048_576
    assert [level["effort"] for level in pro["supported_reasoning_levels"]] == ["low", "medium", "high"]
    assert pro["default_reasoning_level"] == "medium"
    assert pro["truncation_policy"] == {"mode": "bytes", "limit": 10_000}


def test_how_hard_a_model_can_think() -> None:
    told = Limits(ThinkingLimits(ThinkingClass.LEVEL, levels=(Effort.LOW, Effort.MAX)))
    plain, opus, mine = read(
        Model("openai-compatible/m", "M", (), 0, 0), Model("claude-opus-5", "Opus"), Model("mine", "Mine"), mine=told
    )
    assert plain["supported_reasoning_levels"] == []
    assert plain["default_reasoning_level"] is None
    assert plain["supports_reasoning_summaries"] is False
    assert plain["context_window"] is None
    assert [level["effort"] for level in opus["supported_reasoning_levels"]] == ["low", "medium", "high", "xhigh"]
    assert [level["effort"] for level in mine["supported_reasoning_levels"]] == ["low"]
    assert read(Model("claude-9", "C"), **{"claude-9": Limits(None, 5)})[0]["supports_reasoning_summaries"]


def test_openai_s_models_keep_the_instructions_codex_has_for_them() -> None:
    entry = b'{"slug":"gpt-5","base_instructions":"theirs","new":1}'
    models = (Model("gpt-5", "GPT-5"), Model("gpt-5-codex", "GPT-5-Codex"), Model("kimi-k2.5", "Kimi"))
    first, second = read(*models, entries={"gpt-5": entry})
    assert first == {"slug": "gpt-5", "base_instructions": "theirs", "new": 1}
    assert second["slug"] == "kimi-k2.5"
    assert second["priority"] >= 100
