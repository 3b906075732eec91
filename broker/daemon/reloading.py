"""New settings for a running daemon.

Owns: which part is given what of them. Each part lets its settings be replaced; what it has under way ends by the old ones. It must never touch what
`broker.settings.changes` says needs a restart.
"""

from collections.abc import Callable, Mapping

import msgspec

from broker.config import Config
from broker.daemon.leases import Leases
from broker.daemon.notices import Notices
from broker.daemon.outbound import Outbound
from broker.daemon.quotas import Quotas
from broker.daemon.reports import Reports
from broker.daemon.server import Server
from broker.login.clients import Clients
from broker.login.credentials import Credentials, file_of
from broker.network.settings import network_of
from broker.providers import registry
from broker.providers.registry import Registry
from broker.refresh.engine import Engine
from broker.store.store import FileStore


class Reloading(msgspec.Struct, frozen=True):
    """The parts that have settings."""

    files: FileStore
    providers: Registry
    outbound: Outbound
    clients: Clients
    engine: Engine
    notices: Notices
    leases: Leases
    quotas: Quotas
    reports: Reports
    server: Server
    env: Mapping[str, str]

    def prepare(self, config: Config) -> Callable[[], None]:
        """Return what takes `config` over.

        Raises:
            BrokerError: `bad_request` where a provider's table cannot be worked with.
        """
        wanted = registry.build(config.providers)
        network = network_of(config, self.env)
        listed = Credentials(file_of(config, self.env), wanted.names, config.providers)

        def take() -> None:
            self.files.rescan_seconds = config.store.rescan_seconds
            self.providers.renew(wanted)
            self.outbound.timeout = config.refresh.request_timeout_seconds
            self.outbound.network = network
            self.clients.renew(config.providers, listed)
            self.notices.config = config.notify
            self.server.config = config.socket
            for part in (self.leases, self.quotas, self.reports):
                part.max_wait = config.socket.max_wait_seconds
            self.engine.go_by(config.refresh)

        return take
