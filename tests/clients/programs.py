"""How each program is pointed at the proxy and asked something, without a terminal."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from broker.config import INTERNAL_KEY
from tests.clients.conftest import Ran, Scratch
from tests.clients.table import CLAUDE_CODE, CODEX, GEMINI_CLI, OPENCODE, Program


@dataclass(frozen=True)
class Wish:
    """What a program is to do.

    `streamed`: it prints what comes as it comes, as JSON; `image`: the picture goes along; `again`: it goes on with its last conversation.
    """

    model: str
    prompt: str
    streamed: bool = False
    image: bool = False
    again: bool = False


Act = Callable[[Scratch, str, Wish], Awaitable[Ran]]


@dataclass(frozen=True)
class Driver:
    """`reads` is the prompt that makes the model ask for a file, by its absolute path; `shows` the prompt that goes with the picture."""

    program: Program
    act: Act
    reads: Callable[[str], str]
    shows: Callable[[str], str] = lambda _path: "look"


async def claude_code(scratch: Scratch, url: str, wish: Wish, *, helper: bool = False) -> Ran:
    shape = ["stream-json", "--include-partial-messages", "--verbose"] if wish.streamed else ["text"]
    if helper:
        settings = {"apiKeyHelper": f"echo {INTERNAL_KEY}"}
        (scratch.home / ".claude").mkdir()
        (scratch.home / ".claude" / "settings.json").write_text(json.dumps(settings))
        key = {}
    else:
        key = {"ANTHROPIC_AUTH_TOKEN": INTERNAL_KEY}
    return await scratch.run(
        str(CLAUDE_CODE.path), "-p", wish.prompt, "--model", wish.model, "--allowedTools", "Read", "--output-format", *shape,
        *(["--continue"] if wish.again else []),
        ANTHROPIC_BASE_URL=url,
        ANTHROPIC_DEFAULT_HAIKU_MODEL=wish.model,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        **key,
    )  # fmt: skip


async def gemini_cli(scratch: Scratch, url: str, wish: Wish) -> Ran:
    folder = scratch.home / ".gemini"
    folder.mkdir(exist_ok=True)
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
        "general": {"disableAutoUpdate": True, "disableUpdateNag": True},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    prompt = f"@picture.png {wish.prompt}" if wish.image else wish.prompt
    return await scratch.run(
        str(GEMINI_CLI.path), "-p", prompt, "-m", wish.model, "--approval-mode", "yolo", "--skip-trust",
        "-o", "stream-json" if wish.streamed else "text", *(["--resume", "latest"] if wish.again else []),
        GEMINI_API_KEY=INTERNAL_KEY,
        GOOGLE_GEMINI_BASE_URL=url,
    )  # fmt: skip


CODEX_KEY = 'env_key = "CCS_KEY"'
CODEX_AUTH = f'\n[model_providers.ccs.auth]\ncommand = "echo"\nargs = ["{INTERNAL_KEY}"]'


async def codex(scratch: Scratch, url: str, wish: Wish, *, auth: str = CODEX_KEY) -> Ran:
    folder = scratch.home / ".codex"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(
        f'model_provider = "ccs"\nmodel = "{wish.model}"\n\n'
        "[analytics]\nenabled = false\n\n"
        f'[model_providers.ccs]\nname = "ccs-broker"\nbase_url = "{url}/v1"\nwire_api = "responses"\n{auth}\n'
    )
    return await scratch.run(
        str(CODEX.path), "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox",
        *(["--json"] if wish.streamed else []), *(["resume", "--last"] if wish.again else []), *(["-i", str(scratch.picture)] if wish.image else []), "-",
        stdin=wish.prompt, CCS_KEY=INTERNAL_KEY,
    )  # fmt: skip


async def opencode(scratch: Scratch, url: str, wish: Wish) -> Ran:
    folder = scratch.home / ".config" / "opencode"
    folder.mkdir(parents=True, exist_ok=True)
    model = {
        "name": wish.model, "tool_call": True, "attachment": True, "limit": {"context": 200000, "output": 32000},
        "modalities": {"input": ["text", "image"], "output": ["text"]},
    }  # fmt: skip
    options = {"baseURL": f"{url}/v1", "apiKey": "{env:CCS_KEY}"}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "ccs-broker",
        "options": options,
        "models": {wish.model: model},
    }
    settings = {
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": False,
        "share": "disabled",
        "provider": {"ccs": provider},
    }
    (folder / "opencode.json").write_text(json.dumps(settings))
    return await scratch.run(
        str(OPENCODE.path), "run", "-m", f"ccs/{wish.model}", *(["--format", "json"] if wish.streamed else []), *(["--continue"] if wish.again else []),
        *(["-f", str(scratch.picture)] if wish.image else []),
        stdin=wish.prompt, CCS_KEY=INTERNAL_KEY, OPENCODE_DISABLE_AUTOUPDATE="1", OPENCODE_DISABLE_MODELS_FETCH="1",
    )  # fmt: skip


def _call(name: str, field: str) -> Callable[[str], str]:
    return lambda value: f"please call {name} {json.dumps({field: value})}"


DRIVERS = {
    "claude-code": Driver(CLAUDE_CODE, claude_code, _call("Read", "file_path"), _call("Read", "file_path")),
    "gemini-cli": Driver(GEMINI_CLI, gemini_cli, _call("read_file", "file_path")),
    "codex": Driver(CODEX, codex, lambda path: _call("exec_command", "cmd")(f"cat {path}")),
    "opencode": Driver(OPENCODE, opencode, _call("read", "filePath")),
}
