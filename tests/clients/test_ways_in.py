"""Other ways in which programs come by a key, and what they do where a person must log in."""

import json
import time

import aiohttp
import pytest

from broker.model.errors import BrokerError
from tests.clients.conftest import CLAUDE, GEMINI, Bench, Scratch
from tests.clients.programs import CODEX_AUTH, Wish, claude_code, codex
from tests.clients.test_programs import driver
from tests.system.conftest import staged

pytestmark = pytest.mark.asyncio(loop_scope="session")
AT_ONCE = 20.0


async def test_claude_code_asks_a_helper_for_its_key(bench: Bench, scratch: Scratch) -> None:
    driver("claude-code")
    ran = await bench.judge(await claude_code(scratch, bench.url, Wish(GEMINI, "Say damson-plum"), helper=True))
    assert "damson-plum" in ran.out, str(ran)


async def test_codex_asks_a_command_for_its_key(bench: Bench, scratch: Scratch) -> None:
    driver("codex")
    ran = await bench.judge(await codex(scratch, bench.url, Wish(CLAUDE, "Say damson-plum"), auth=CODEX_AUTH))
    assert "damson-plum" in ran.out, str(ran)
    # With a command it asks for the list of models too, in its own schema, and keeps it where it could read it.
    (kept,) = scratch.home.rglob("models_cache.json")
    listed = {each["slug"]: each for each in json.loads(kept.read_text())["models"]}
    assert "You are a coding agent" in json.dumps(listed[CLAUDE]), listed[CLAUDE]
    assert "metadata" not in ran.out, str(ran)


async def test_claude_code_ends_at_once_where_a_person_must_log_in(scratch: Scratch) -> None:
    driver("claude-code")
    async with staged() as stage:
        async with stage.client() as client, aiohttp.ClientSession() as session:
            (account,) = await client.accounts()
            user = account.account.partition("/")[2]
            async with session.post(f"{stage.sandbox_url}/sandbox/users/{user}/revoke") as answer:
                assert (await answer.json())["revoked"]
            with pytest.raises(BrokerError):
                await client.refresh(account.account)
        began = time.monotonic()
        ran = await claude_code(scratch, stage.proxy_url, Wish(GEMINI, "Say damson-plum"))
        assert ran.code == 1, str(ran)
        assert time.monotonic() - began < AT_ONCE, str(ran)
        assert "403" in ran.out, str(ran)
        assert "ccs-broker login gemini" in ran.out, str(ran)
