"""A network that loses requests and answers, under a real daemon: what was never sent is told from what may have been spent, and a lost answer from both.

A proxy stands before the sandbox's token endpoint (`relay`). The access token the daemon has is renewed ahead of its end, so that there is something left
to serve when the answer is lost.
"""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.sandbox.faults import Delay, Target
from tests.system.rotation.figures import Figure
from tests.system.rotation.homes import Home, Truth, until
from tests.system.rotation.relay import Relay, Way

pytestmark = pytest.mark.figures

LEFT = 6.0
GIVE_UP = 1.0
SLACK = 1.2  # an auth file tells the end in whole seconds
CONFIG = f"[refresh]\nrequest_timeout_seconds = {GIVE_UP:.0f}"
ROTATED = (Way.CUT_ANSWER, Way.DROP_ANSWER, Way.HOLD_ANSWER)


@asynccontextmanager
async def behind(truth: Truth, user: str) -> AsyncIterator[tuple[Home, Relay]]:
    """A daemon that reaches the token endpoint through a relay, and has no login yet."""
    async with Relay.before(truth.sandbox.url) as relay, Home.made(truth, user, config=CONFIG) as home:
        text, url = home.config_file.read_text(), truth.sandbox.url
        issuer = f'issuer = "{url}"\n'
        assert issuer in text
        home.config_file.write_text(
            text.replace(issuer, f'authorize_url = "{url}/authorize"\ntoken_url = "{relay.url}/token"\n')
        )
        await home.start()
        yield home, relay


async def lose(way: Way) -> str:
    """Lose the first answer; the daemon serves what it has, then presents the old refresh token once."""
    async with Truth.started() as truth, behind(truth, "ann@example.com") as (home, relay), home.client() as client:
        relay.way = way
        home.plant(LEFT)
        ends = truth.clock.now().boot + LEFT

        async def state() -> str:
            states = [each.state for each in await client.accounts() if each.account == str(home.account)]
            return states[0] if states else "not seen yet"

        async def becomes(wanted: str) -> None:
            async def reached() -> bool:
                return await state() == wanted

            await until(reached, within=30)

        await becomes("ambiguous")
        rotated = way in ROTATED
        assert (relay.seen, truth.witness.rotations) == (1, rotated)
        relay.way = Way.PASS
        # What there is is served, and nobody can make it present the refresh token now.
        lease = await client.lease(home.account, min_validity=0)
        assert truth.accepts(lease.access_token)
        with pytest.raises(BrokerError) as told:
            await client.refresh(home.account)
        assert told.value.code is ErrorCode.ANSWER_LOST
        assert relay.seen == 1
        assert truth.clock.now().boot < ends, "the machine was too slow for this test"

        await becomes("needs_login" if rotated else "active")
        assert (relay.seen, truth.witness.rotations, len(truth.witness.replays)) == (2, 1, rotated)
        if rotated:
            home.plant()
            await becomes("active")
        else:
            assert truth.witness.moments[0] >= ends - SLACK
            assert home.refresh_digest() == truth.witness.current[home.user]
        assert truth.accepts((await client.lease(home.account, min_validity=60)).access_token)
        assert relay.seen == 2
        return f"{way}: served to its end, then presented once more ({'refused' if rotated else 'renewed'})"


async def refuse() -> str:
    """Nobody listens: nothing was sent, and nothing is in doubt."""
    async with Truth.started() as truth, behind(truth, "ann@example.com") as (home, relay), home.client() as client:
        home.plant()
        assert truth.accepts((await seen(home)).access_token)
        await relay.refuse()
        with pytest.raises(BrokerError) as told:
            await client.refresh(home.account)
        assert told.value.code is ErrorCode.REFRESH_FAILED
        assert not home.journal.exists()
        assert (await client.account(home.account)).state == "backoff"
        await relay.listen()
        await client.refresh(home.account)  # at once, the same refresh token
        assert (await client.account(home.account)).state == "active"
        assert (truth.posts, truth.witness.replays) == (1, [])
        return "refused connections: nothing in doubt, the same token presented next"


async def late() -> str:
    async with Truth.started() as truth, behind(truth, "ann@example.com") as (home, relay), home.client() as client:
        home.plant()
        relay.way = Way.LATE
        await seen(home)
        await client.refresh(home.account)
        assert truth.accepts((await client.lease(home.account, min_validity=60)).access_token)
        assert (truth.posts, truth.witness.replays) == (1, [])
        return "late answers: taken"


async def seen(home: Home) -> Lease:
    """Wait until the daemon has found the file; return a lease."""
    async with home.client() as client:

        async def there() -> bool:
            return bool(await client.accounts())

        await until(there)
        return await client.lease(home.account, min_validity=0)


@pytest.mark.timeout(180)
async def test_what_a_network_loses_is_told_apart(figure: Figure) -> None:
    ways = (Way.CUT_REQUEST, *ROTATED)
    told = await asyncio.gather(*(lose(way) for way in ways), refuse(), late())
    figure("a proxy before the token endpoint: " + "; ".join(told))


async def test_a_stop_waits_for_the_answer_and_tells_the_service_manager(figure: Figure) -> None:
    wait = 1.0
    async with Truth.started() as truth, Home.made(truth, config="[refresh]\nstop_timeout_seconds = 20") as home:
        home.plant()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(home.folder / "notify"))
            manager.settimeout(30)
            process = await home.start(env={"NOTIFY_SOCKET": str(home.folder / "notify")})
            assert b"READY=1" in manager.recv(4096)
            truth.sandbox.faults.add(Target.TOKEN, Delay(seconds=wait, after_grant=True))
            async with home.client() as client:
                asking = asyncio.ensure_future(client.refresh(home.account))
                await until(lambda: truth.witness.rotations == 1)
                # The server has rotated: to end now is to lose the login.
                process.send_signal(signal.SIGTERM)
                said = dict(line.split("=", 1) for line in manager.recv(4096).decode().splitlines())
                assert said["STOPPING"] == "1"
                assert int(said["EXTEND_TIMEOUT_USEC"]) >= 20_000_000
                assert await asyncio.wait_for(process.wait(), 30) == os.EX_OK
                await asyncio.gather(asking, return_exceptions=True)
        assert home.refresh_digest() == truth.witness.current[home.user]
        assert not home.journal.exists()
        assert (truth.posts, truth.witness.replays) == (1, [])
        figure(
            f"SIGTERM while the server has rotated and not answered ({wait:g} s): the answer is waited for and put away; systemd is told STOPPING=1 "
            f"and EXTEND_TIMEOUT_USEC={said['EXTEND_TIMEOUT_USEC']}"
        )
