"""Starting, stopping, and who gets in."""

import asyncio

import aiohttp
import pytest

from broker.sandbox.faults import Hang, Target
from broker.sandbox.server import Sandbox


async def test_start_listens_on_loopback_and_close_frees_the_port(http):
    sandbox = await Sandbox.start()
    port = int(sandbox.url.rpartition(":")[2])
    assert sandbox.url == f"http://127.0.0.1:{port}"
    with pytest.raises(OSError, match="address already in use"):
        await Sandbox.start(port=port)
    await sandbox.close()
    await sandbox.close()
    again = await Sandbox.start(port=port)
    assert again.url == sandbox.url
    assert again.client_secret != sandbox.client_secret
    assert again.api_key != sandbox.api_key
    await again.close()


async def test_a_foreign_host_name_is_refused(sandbox, http):
    url = f"{sandbox.url}/.well-known/openid-configuration"
    for host, status in (
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("[::1]:5", 200),
        ("[::1]", 200),
    ):
        async with http.get(url, headers={"Host": host}) as answer:
            assert answer.status == status, host


async def test_close_cuts_what_hangs(http):
    async with await Sandbox.start() as sandbox:
        sandbox.faults.add(Target.TOKEN, Hang())
        waiting = asyncio.gather(
            http.post(f"{sandbox.url}/token", data={"grant_type": "refresh_token"}), return_exceptions=True
        )
        async with asyncio.timeout(5):
            while sandbox.faults.waiting():
                await asyncio.sleep(0.01)
    (outcome,) = await waiting
    assert isinstance(outcome, aiohttp.ClientError)
