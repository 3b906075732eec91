"""The outbound network as the config and the environment say it.

Owns: one function. Pure: the environment is handed in.
"""

from collections.abc import Mapping

from broker.config import Config
from broker.model.network import Network, NoProxy, of_environment, read


def network_of(config: Config, env: Mapping[str, str]) -> Network:
    """Return the value both programs decide by; a new config makes a new one."""
    environment = of_environment(env)
    own = config.network.proxy_url
    return Network(
        {name: read(table.proxy_url) for name, table in config.providers.items() if table.proxy_url is not None},
        read(own) if own is not None else None,
        environment,
        NoProxy.of((*config.network.no_proxy, *environment.no_proxy)),
    )
