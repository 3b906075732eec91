"""The config as the control socket shows it, and reading it again.

Owns: what stands in for settings the file leaves out (the environment, a provider's own facts), and the use cases of `/v1/config`. No secret leaves it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

import msgspec

from broker import paths
from broker.config import Config
from broker.ipc.config_view import ConfigSetting, ConfigView, ReloadAnswer
from broker.login.credentials import file_of
from broker.model.secret import Secret
from broker.providers.registry import BUILT_IN
from broker.providers.setup import Setup
from broker.settings.changes import Key, held
from broker.settings.checks import dotted
from broker.settings.effective import Effective, Elsewhere, effective
from broker.settings.running import Running

_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "http_proxy", "HTTP_PROXY")


class Configs(msgspec.Struct, frozen=True):
    """Shows and reloads."""

    running: Running
    env: Mapping[str, str]

    def view(self) -> ConfigView:
        """Return every setting in force."""
        running = self.running
        stand_ins = elsewhere(running.config, self.env)
        listed = effective(running.config, running.loaded, stand_ins)
        return ConfigView(
            file=str(running.loaded.file),
            exists=running.loaded.exists,
            generation=running.edition.generation,
            loaded=running.since,
            problem=running.problem,
            settings=tuple(_setting(each) for each in listed),
        )

    def reload(self) -> ReloadAnswer:
        """Read the file again.

        Raises:
            BrokerError: `bad_request` for a file that cannot be used, naming line and key; then nothing changed.
        """
        told = self.running.reload()
        pending = tuple(key for key in told if held(key) is not None)
        changed = tuple(key for key in told if held(key) is None)
        return ReloadAnswer(
            generation=self.running.edition.generation,
            changed=tuple(dotted(key) for key in changed),
            pending=tuple(dotted(key) for key in pending),
        )


def elsewhere(config: Config, env: Mapping[str, str]) -> dict[Key, Elsewhere]:
    """Return what stands in for settings that the file leaves out."""
    found: dict[Key, Elsewhere] = {}
    variable = next((name for name in ("CCS_DIR", "CCS_HOME") if env.get(name)), None)
    found["store", "directories"] = Elsewhere([str(paths.default_auth_dir(env))], variable)
    found["store", "provider_credentials"] = Elsewhere(str(file_of(config, env)))
    if (name := next((name for name in _PROXY_VARIABLES if env.get(name)), None)) is not None:
        found["network", "proxy_url"] = Elsewhere(Secret(env[name]), name)
    for provider, (setup, _) in BUILT_IN.items():
        found.update({("providers", provider, key): Elsewhere(value) for key, value in _facts(setup) if value})
    return found


def _facts(setup: Setup) -> Iterator[tuple[str, object]]:
    ends = setup.endpoints
    yield "title", setup.title
    yield "issuer", setup.issuer
    yield "authorize_url", ends.authorize_url
    yield "token_url", ends.token_url
    yield "revoke_url", ends.revoke_url
    yield "userinfo_url", ends.userinfo_url
    yield "device_url", ends.device_url
    yield "api_url", ends.api_url
    yield "client_id", setup.client_id
    yield "scopes", setup.scopes
    yield "lead_seconds", setup.policy.lead_seconds
    yield "user_agent", setup.user_agent


def _setting(each: Effective) -> ConfigSetting:
    return ConfigSetting(**{**asdict(each), "origin": each.origin.value})
