"""Real programs, through the real proxy, to a dialect other than their own."""

import json

import pytest

from tests.clients.conftest import CLAUDE, GEMINI, OPENAI, TIDE, Bench, Scratch
from tests.clients.install import ready
from tests.clients.programs import DRIVERS, Driver, Wish

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


async def test_a_streamed_prompt(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    ran = await bench.judge(await driver(name).act(scratch, bench.url, Wish(model, "Say damson-plum", streamed=True)))
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert len(lines) > 1
    assert "damson-plum" in json.dumps(lines[1:]), str(ran)


async def test_an_image(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    wish = Wish(model, driver(name).shows(str(scratch.picture)), image=True)
    ran = await bench.judge(await driver(name).act(scratch, bench.url, wish))
    assert "[image/png" in ran.out, str(ran)
