"""The config as every command reads it: the file the environment names.

Owns: that one choice. It must never import click: `serve` and `proxy` start without it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.config import Config, Loaded


def load_config() -> "Config":
    """Read the config file; one named by `CCS_BROKER_CONFIG` must exist.

    Raises:
        BrokerError: `bad_request`, naming the file and the fault.
    """
    return read_config().config


def read_config() -> "Loaded":
    """Read the same, and where each setting stands; raises as `load_config` does."""
    from broker.settings.reading import read

    chosen = os.environ.get("CCS_BROKER_CONFIG")
    return read(Path(chosen) if chosen else None)
