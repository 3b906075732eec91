"""Real programs, through the real proxy, to a dialect other than their own."""

import pytest

from tests.clients.conftest import TIDE, Bench, Scratch
from tests.clients.install import ready
from tests.clients.programs import DRIVERS, Driver, Wish

GEMINI, CLAUDE, OPENAI = "gemini-3-pro-preview", "claude-sonnet-4-5", "gpt-5.1"
OTHERS = {
    "claude-code": (GEMINI, OPENAI),
    "gemini-cli": (CLAUDE, OPENAI),
    "codex": (CLAUDE, GEMINI),
    "opencode": (GEMINI, CLAUDE),
}
PAIRS = [pytest.param(name, model, id=f"{name}->{model}") for name, models in OTHERS.items() for model in models]

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.parametrize(("name", "model"), PAIRS)]


def driver(name: str) -> Driver:
    found = DRIVERS[name]
    if not ready(found.program):
        pytest.skip(f"{name} is not installed: make test-clients installs it, where there is Node.js with npm")
    return found


async def test_a_prompt(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    ran = await bench.judge(await driver(name).act(scratch, bench.url, Wish(model, "Say damson-plum")))
    assert "damson-plum" in ran.out, str(ran)


async def test_a_tool_round_trip(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    wish = Wish(model, driver(name).reads(str(scratch.note)))
    ran = await bench.judge(await driver(name).act(scratch, bench.url, wish))
    assert TIDE in ran.out, str(ran)
