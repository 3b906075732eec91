"""The device grant over the network.

Owns: asking for a code and polling until the person has decided or the time is over. It must never let the device code out.
"""

import asyncio

from broker.login.outcome import expired
from broker.login.runner import run_flow
from broker.login.waiting import within
from broker.model.account import Tokens
from broker.model.clock import Clock
from broker.oauth.device import DeviceCode
from broker.oauth.transport import Transport
from broker.observe.tasks import spawn
from broker.providers.base import Client, Provider


async def ask(provider: Provider, client: Client, transport: Transport, clock: Clock) -> DeviceCode:
    """Return a new code; raises FlowFailedError."""
    return await run_flow(provider.request_code(client, clock.now()), transport, clock)


async def approved(
    provider: Provider, client: Client, given: DeviceCode, seconds: float, transport: Transport, clock: Clock
) -> Tokens:
    """Return the tokens once the person has approved, within `seconds`.

    Raises:
        BrokerError: `login_expired` where nobody decided in time.
        FlowFailedError: the provider's refusal, or the person's.
    """
    polling = spawn(
        run_flow(provider.poll(given, client, clock.now), transport, clock), name=f"poll-device-{provider.name}"
    )
    try:
        if not await within(clock, asyncio.wait({polling}), seconds, "device-deadline"):
            raise expired("nobody approved the login", seconds)
        return polling.result()
    finally:
        polling.cancel()
