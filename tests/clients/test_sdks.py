"""Real libraries, two majors of each, through the real proxy, to dialects other than their own."""

import json
from pathlib import Path

import pytest

from broker.config import INTERNAL_KEY
from tests.clients.conftest import CLAUDE, GEMINI, OPENAI, Bench, Scratch
from tests.clients.install import ready
from tests.clients.table import SDKS, Sdk

SCRIPTS = Path(__file__).parent / "scripts"
OTHERS = {"openai": (GEMINI, CLAUDE), "anthropic": (GEMINI, OPENAI), "google-genai": (CLAUDE, OPENAI)}
IMAGE_MODEL = "gemini-3-pro-image-preview"

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("sdk", "model"),
    [pytest.param(sdk, model, id=f"{sdk.name}->{model}") for sdk in SDKS for model in OTHERS[sdk.package]],
)
async def test_all_that_a_library_does(bench: Bench, scratch: Scratch, sdk: Sdk, model: str) -> None:
    if not ready(sdk):
        pytest.skip(f"{sdk.name} is not installed: make test-clients installs it")
    script = SCRIPTS / f"{sdk.package.replace('-', '_')}_sdk.py"
    image_model = IMAGE_MODEL if model == GEMINI else ""
    ran = await scratch.run(
        str(sdk.python),
        "-W",
        "error::UserWarning",
        str(script),
        bench.url,
        INTERNAL_KEY,
        model,
        str(scratch.picture),
        image_model,
    )
    await bench.judge(ran)
    told = json.loads(ran.out)
    assert {"gemini-2.5-flash", "claude-sonnet-4-5"} <= set(told.pop("models")), ran.out
    assert told.pop("drawn", "data:image/png;base64,").startswith("data:image/png;base64,")
    for api, found in told.items():
        assert "damson-plum" in found["prompt"], api
        assert "damson-plum" in "".join(found["streamed"]), api
        assert len(found["streamed"]) > 1, api
        assert "sunny-42 in Ghent" in found["tool"], api
        assert "sunny-42 in Ghent" in found["tool streamed"], api
        assert (
            f"[image/png {scratch.picture.stat().st_size} bytes]" in found["image"] or "[image/png" in found["image"]
        ), api
