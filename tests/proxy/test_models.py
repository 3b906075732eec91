import json

import pytest

from broker.model.errors import BrokerError
from broker.proxy.models import TABLE, described, find, in_table, listed, providers_of, served
from broker.proxy.routes import Voice
from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.table import PROVIDERS


@pytest.mark.parametrize(
    ("model", "providers"),
    [
        ("gemini-2.5-pro", ("gemini", "gemini-api", "vertex")),
        ("gemini-99-ultra", ("gemini", "antigravity", "gemini-api", "vertex")),
        ("claude-sonnet-4-5", ("claude", "anthropic-api", "antigravity", "kiro")),
        ("claude-sonnet-4-5-thinking", ("antigravity",)),
        ("claude-sonnet-4.5", ("github-copilot", "kiro")),
        ("kimi-k9", ("kimi",)),
        ("qwen9-max", ("qwen",)),
        ("gpt-5.9-codex", ("codex", "openai-api", "github-copilot")),
        ("codex-mini-latest", ("codex", "openai-api", "github-copilot")),
        ("gpt-4o", ("openai-api", "github-copilot")),
        ("grok-9", ("xai",)),
        ("gemma-3-27b-it", ("gemini-api",)),
        ("gemma-9", ("gemini-api",)),
    ],
)
def test_who_serves_a_model(model: str, providers: tuple[str, ...]) -> None:
    assert providers_of(model, PROVIDERS) == providers


@pytest.mark.parametrize("model", ["mystery-4o", ""])
def test_models_nobody_serves(model: str) -> None:
    with pytest.raises(BrokerError, match=f"nothing here serves '{model}'") as caught:
        providers_of(model, PROVIDERS)
    assert caught.value.status == 404


def test_what_is_served_depends_on_the_kinds_there_are() -> None:
    assert served([]) == ()
    assert served(list(Kind)) == TABLE
    assert "gemma-3-27b-it" not in [model.id for model in served([Kind.CODE_ASSIST])]
    assert [model.id for model in TABLE] == sorted(model.id for model in TABLE)


def test_each_client_gets_its_own_list() -> None:
    openai = json.loads(listed(TABLE[:2], Voice.OPENAI))
    assert openai == {
        "object": "list",
        "data": [{"id": model.id, "object": "model", "created": 0, "owned_by": model.owner} for model in TABLE[:2]],
    }
    gemini = json.loads(listed(TABLE[:1], Voice.GEMINI))["models"][0]
    assert gemini["name"] == f"models/{TABLE[0].id}"
    assert gemini["inputTokenLimit"] == TABLE[0].input_tokens
    assert gemini["supportedGenerationMethods"] == ["generateContent", "countTokens"]
    anthropic = json.loads(listed(TABLE[:2], Voice.ANTHROPIC))
    assert [anthropic["first_id"], anthropic["last_id"], anthropic["has_more"]] == [TABLE[0].id, TABLE[1].id, False]
    assert anthropic["data"][0]["display_name"] == TABLE[0].title
    assert json.loads(listed((), Voice.ANTHROPIC))["first_id"] is None


def test_one_model() -> None:
    model = find("models/gemini-2.5-pro", TABLE)
    assert model is not None
    assert find("gemini-2.5-pro", TABLE) is model
    assert find("gpt", TABLE) is None
    assert in_table("gemini-2.5-pro")
    assert not in_table("gpt")
    assert json.loads(described(model, Voice.OPENAI))["id"] == "gemini-2.5-pro"


def test_models_of_a_key_of_one_s_own_are_reached_by_its_name_only() -> None:
    providers = {"claude": Kind.ANTHROPIC, "anthropic-compatible": Kind.ANTHROPIC_COMPATIBLE}
    assert providers_of("claude-opus-4-5", providers) == ("claude",)
