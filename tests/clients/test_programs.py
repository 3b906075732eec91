"""Real programs, through the real proxy, to a dialect other than their own."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.conftest import CHATGPT, CLAUDE, CLAUDE_ADAPTIVE, GEMINI, OPENAI, OPENAI_PLAIN, TIDE, Bench, Scratch
from tests.clients.install import ready
from tests.clients.programs import DRIVERS, Driver, Wish

OTHERS = {
    "claude-code": (GEMINI, OPENAI, CHATGPT),
    "gemini-cli": (CLAUDE, OPENAI_PLAIN, CHATGPT),
    "codex": (CLAUDE_ADAPTIVE, GEMINI),
    "opencode": (GEMINI, CLAUDE, CHATGPT),
}
SKIPS_VALIDATION = "skip_thought_signature_validator"

pytestmark = pytest.mark.asyncio(loop_scope="session")
every_pair = pytest.mark.parametrize(
    ("name", "model"),
    [pytest.param(name, model, id=f"{name}->{model}") for name, models in OTHERS.items() for model in models],
)


def driver(name: str) -> Driver:
    found = DRIVERS[name]
    if not ready(found.program):
        pytest.skip(f"{name} is not installed: make test-clients installs it, where there is Node.js with npm")
    return found


@every_pair
async def test_a_prompt(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    ran = await bench.judge(await driver(name).act(scratch, bench.url, Wish(model, "Say damson-plum")))
    assert "damson-plum" in ran.out, str(ran)


@every_pair
async def test_a_streamed_prompt(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    ran = await bench.judge(await driver(name).act(scratch, bench.url, Wish(model, "Say damson-plum", streamed=True)))
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert len(lines) > 1
    assert "damson-plum" in json.dumps(lines[1:]), str(ran)


@every_pair
async def test_a_tool_round_trip(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    wish = Wish(model, driver(name).reads(str(scratch.note)))
    ran = await bench.judge(await driver(name).act(scratch, bench.url, wish))
    assert TIDE in ran.out, str(ran)
    sent, _ = await bench.seen()
    # A model that signs its calls has them back with the signature it gave, not with the word that asks it to look away.
    signatures = list(found(sent, "thoughtSignature"))
    assert bool(signatures) is (model == GEMINI)
    assert SKIPS_VALIDATION not in signatures
    # ChatGPT's reasoning has come back, and its seal was looked at.
    assert (model == CHATGPT) is any(
        item["type"] == "reasoning" for each in bench.chatgpt.seen for item in each.body["input"]
    )


@every_pair
async def test_a_conversation_goes_on_after_its_tools(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    act = driver(name).act
    await bench.judge(await act(scratch, bench.url, Wish(model, driver(name).reads(str(scratch.note)))))
    await bench.begin()
    ran = await bench.judge(await act(scratch, bench.url, Wish(model, "Say medlar-quince", again=True)))
    assert "medlar-quince" in ran.out, str(ran)
    sent, _ = await bench.seen()
    assert TIDE in json.dumps(sent), "the conversation so far was not sent"


@every_pair
async def test_two_calls_at_once(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    other = scratch.work / "other.txt"
    other.write_text("and the ebb at 1147\n")
    reads = driver(name).reads
    wish = Wish(model, f"{reads(str(scratch.note))} and {reads(str(other))}")
    ran = await bench.judge(await driver(name).act(scratch, bench.url, wish))
    assert TIDE in ran.out, str(ran)
    assert "and the ebb at 1147" in ran.out, str(ran)


@every_pair
async def test_an_image(bench: Bench, scratch: Scratch, name: str, model: str) -> None:
    wish = Wish(model, driver(name).shows(str(scratch.picture)), image=True)
    ran = await bench.judge(await driver(name).act(scratch, bench.url, wish))
    assert "[image/png" in ran.out, str(ran)


@pytest.mark.parametrize(("name", "model"), [("gemini-cli", CLAUDE), ("codex", CLAUDE_ADAPTIVE)])
async def test_what_claude_thought_comes_back_signed_within_a_turn(
    bench: Bench, scratch: Scratch, name: str, model: str
) -> None:
    wish = Wish(model, driver(name).reads(str(scratch.note)))
    await bench.judge(await driver(name).act(scratch, bench.url, wish))
    last = bench.claude.seen[-1].body
    assert last["thinking"]["type"] in ("enabled", "adaptive")
    assert last["messages"][-2]["content"][0]["type"] == "thinking"


def found(value: Any, name: str) -> Iterator[Any]:
    """Yield what stands under a name, however deep."""
    if isinstance(value, dict):
        yield from (inner for key, inner in value.items() if key == name)
        for inner in value.values():
            yield from found(inner, name)
    if isinstance(value, list):
        for inner in value:
            yield from found(inner, name)
