"""The list of models as Codex reads it (`GET /v1/models?client_version=...`).

Owns: that shape. Pure. Source: openai/codex, `codex-rs/protocol/src/openai_models.rs`; what older versions want and newer ones don't is there too.

Codex takes a model's instructions from this list and from nowhere else: an entry without would leave the agent without any. So

- what a ChatGPT login's own list says is passed on as it is;
- models that Codex comes with instructions for (OpenAI's) are left out, so that it keeps its own;
- the others get `INSTRUCTIONS`.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from broker.proxy.models import Model
from broker.translate.claude_models import claude_model
from broker.translate.effort import ThinkingClass, ThinkingLimits
from broker.translate.gemini_models import gemini_model
from broker.translate.ir import Effort
from broker.translate.limits import Limits

INSTRUCTIONS: Final = """\
You are a coding agent that works in the user's terminal, inside their repository, through the tools you are given.

- Find things out before you change them: look for files and text with the shell (prefer `rg`), and read what you are about to edit.
- Follow the instructions in AGENTS.md files: each holds for the folder it stands in and below, deeper ones win, and what the user says wins over all.
- Carry the task through to its end: make the change, run the tests or checks the project has, and mend what they show. Stop to ask only where you cannot go on.
- Keep to the style of the code around you and to the task. Change nothing unrelated, add no licence headers, and commit or push only when asked to.
- Never throw away changes you did not make. Nothing that destroys data (`git reset --hard`, `rm -rf`) unless the user asks for it.
- Before a group of commands say in one short sentence what you are about to do. For long tasks keep a plan, if there is a tool for it.
- Work within the sandbox and the approvals you were told of; where a command needs more, ask for it with the reason.
- In the end say briefly what you changed and where (`path:line`), how you checked it, and what you could not do.
"""

_FIRST: Final = 100  # after the models that Codex comes with: none of ours becomes its default
_OPENAI: Final = ("gpt-", "chatgpt-", "codex-", "o1", "o3", "o4")
_TRUNCATION_BYTES: Final = 10_000  # what Codex takes for models it does not know
_SAID: Final = {
    Effort.MINIMAL: "Hardly any thinking",
    Effort.LOW: "Little thinking, quick answers",
    Effort.MEDIUM: "A balance of both",
    Effort.HIGH: "Much thinking, for hard tasks",
    Effort.XHIGH: "Very much thinking",
}
_USUAL: Final = (Effort.LOW, Effort.MEDIUM, Effort.HIGH)


class _Level(msgspec.Struct, frozen=True):
    effort: str
    description: str


class _Truncation(msgspec.Struct, frozen=True):
    mode: str = "bytes"
    limit: int = _TRUNCATION_BYTES


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    slug: str
    display_name: str
    description: str
    default_reasoning_level: str | None
    supported_reasoning_levels: tuple[_Level, ...]
    shell_type: str = "default"
    visibility: str = "list"
    supported_in_api: bool = True
    priority: int
    upgrade: None = None
    base_instructions: str = INSTRUCTIONS
    supports_reasoning_summaries: bool
    supports_reasoning_summary_parameter: bool
    support_verbosity: bool = False
    default_verbosity: None = None
    apply_patch_tool_type: None = None
    truncation_policy: _Truncation = _Truncation()
    supports_parallel_tool_calls: bool = True
    context_window: int | None
    experimental_supported_tools: tuple[str, ...] = ()
    include_skills_usage_instructions: bool = True  # what these are Codex says by itself
    include_plugin_usage_instructions: bool = True
    input_modalities: tuple[str, ...] = ("text", "image")


class _List(msgspec.Struct, frozen=True):
    models: Sequence[msgspec.Raw | _Model]


def listed(models: Sequence[Model], entries: Mapping[str, bytes], limits: Mapping[str, Limits]) -> bytes:
    """Write the list. `entries` are upstreams' own by name, `limits` what the config says of some models."""
    each: list[msgspec.Raw | _Model] = [msgspec.Raw(entries[model.id]) for model in models if model.id in entries]
    ours = [model for model in models if model.id not in entries and not _name(model).startswith(_OPENAI)]
    each += [_entry(model, _FIRST + number, limits.get(model.id)) for number, model in enumerate(ours)]
    return msgspec.json.encode(_List(each))


def _entry(model: Model, priority: int, told: Limits | None) -> _Model:
    efforts = _efforts(_thinking(_name(model), told))
    return _Model(
        slug=model.id,
        display_name=model.title,
        description=f"{model.title} ({model.owner})",
        default_reasoning_level=_middle(efforts),
        supported_reasoning_levels=tuple(_Level(effort.value, _SAID[effort]) for effort in efforts),
        priority=priority,
        supports_reasoning_summaries=bool(efforts),
        supports_reasoning_summary_parameter=bool(efforts),
        context_window=model.input_tokens or None,
    )


def _name(model: Model) -> str:
    return model.id.rpartition("/")[2]


def _thinking(name: str, told: Limits | None) -> ThinkingLimits:
    if told is not None and told.thinking is not None:
        return told.thinking
    return claude_model(name).thinking if name.startswith("claude-") else gemini_model(name).thinking


def _efforts(thinking: ThinkingLimits) -> tuple[Effort, ...]:
    if thinking.kind is ThinkingClass.NONE:
        return ()
    return tuple(
        effort for effort in thinking.levels or _USUAL if effort in _SAID
    )  # one word it doesn't know, and Codex takes no list


def _middle(efforts: tuple[Effort, ...]) -> str | None:
    return efforts[(len(efforts) - 1) // 2].value if efforts else None
