"""`service`: the daemon and the proxy under systemd or launchd.

Owns: the options. `broker.service` does the work and says what it did.
"""

import os
import sys
from typing import TYPE_CHECKING

import click

from broker.cli.options import json_option, load_config
from broker.cli.results import ServiceChange, ServiceStatus

if TYPE_CHECKING:
    from broker.service.install import Manager


@click.group(short_help="Run both as services of your user account.")
def service() -> None:
    """Run the daemon and the proxy as services of your user account."""


@service.command()
@click.option("--no-start", is_flag=True, help="Put the files in place and enable them, but start nothing.")
@json_option
def install(*, no_start: bool) -> ServiceChange:
    """Put the units (systemd) or plists (launchd) in place and start them."""
    from broker.service.install import prepare

    directories = load_config().auth_directories()
    manager = _manager()
    prepare(directories, os.environ, sys.platform)
    steps = manager.install(start=not no_start)
    lingers = manager.name == "systemd"
    hint = f"To keep them running while you are logged out: loginctl enable-linger {_user()}" if lingers else None
    return ServiceChange(manager.name, steps, hint)


@service.command()
@json_option
def uninstall() -> ServiceChange:
    """Stop the services and take their files away. Logins, config and state stay."""
    manager = _manager()
    return ServiceChange(manager.name, manager.uninstall())


@service.command("status")
@json_option
def service_status() -> ServiceStatus:
    """Show the files and how the services are. Exit code 1 if one is not installed."""
    manager = _manager()
    return ServiceStatus(manager.name, manager.status())


def _manager() -> "Manager":
    from broker.service.install import manager

    return manager(load_config().auth_directories(), os.environ, sys.platform)


def _user() -> str:
    return os.environ.get("USER") or str(os.getuid())
