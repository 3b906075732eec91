"""Everything one sandbox remembers, in one value that its handlers share.

Owns: putting grants, devices, faults, stats and settings together, and keeping them in step when settings change.
"""

from dataclasses import dataclass, field

from broker.model.clock import Chance, Clock
from broker.model.secret import Secret
from broker.sandbox.companions import Companions
from broker.sandbox.devices import Devices
from broker.sandbox.faults import FaultQueue
from broker.sandbox.grants import Client, Grants
from broker.sandbox.settings import SandboxSettings
from broker.sandbox.stats import Stats

CLIENT_ID = "ccs-broker-sandbox"
PUBLIC_CLIENT_ID = "ccs-broker-sandbox-public"


@dataclass(slots=True)
class World:
    """The sandbox's state. `url` is its origin, set when it listens."""

    settings: SandboxSettings
    clock: Clock
    chance: Chance
    grants: Grants
    devices: Devices
    companions: Companions
    client_secret: Secret
    api_key: Secret
    url: str = ""
    faults: FaultQueue = field(default_factory=FaultQueue)
    stats: Stats = field(default_factory=Stats)
    _logins: int = 0
    _responses: int = 0

    def apply(self, settings: SandboxSettings) -> None:
        """Follow new settings from now on; what was issued stays as it is."""
        self.settings = settings
        self.grants.policy = settings.policy()
        self.devices.policy = settings.device_policy()
        self.companions.settings = settings
        for client_id in (CLIENT_ID, PUBLIC_CLIENT_ID):
            client = self.grants.client(client_id)
            self.grants.add_client(Client(client_id, client.secret, settings.redirect_uris))

    def next_user(self) -> str:
        """Return who logs in next: the configured users in turn."""
        users = self.settings.users
        self._logins += 1
        return users[(self._logins - 1) % len(users)]

    def response_id(self) -> str:
        """Return an id for an answer, unlike all before."""
        self._responses += 1
        return f"sandbox-{self._responses}"


def build(settings: SandboxSettings, clock: Clock, chance: Chance) -> World:
    """Make a world with a confidential and a public client, a fresh client secret and a fresh API key."""
    grants = Grants(settings.policy(), chance)
    secret = Secret(f"sandbox-secret-{chance.token(24)}")
    grants.add_client(Client(CLIENT_ID, secret, settings.redirect_uris))
    grants.add_client(Client(PUBLIC_CLIENT_ID, None, settings.redirect_uris))
    return World(
        settings=settings,
        clock=clock,
        chance=chance,
        grants=grants,
        devices=Devices(settings.device_policy(), chance),
        companions=Companions(settings),
        client_secret=secret,
        api_key=Secret(f"sandbox-key-{chance.token(24)}"),
    )
