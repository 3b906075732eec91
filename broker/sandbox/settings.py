"""What can be chosen about the sandbox.

Owns: `SandboxSettings`, its JSON form (`POST /sandbox/settings`, `--settings FILE`) and how a change of it is checked. Every field
changes behaviour; docs/sandbox.md lists them.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from broker.sandbox.devices import DevicePolicy
from broker.sandbox.grants import Policy, RefreshGiven, Rotation

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]

DEFAULT_MODELS = (
    "gemini-2.5-flash",
    "gemini-2.5-flash-image",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-image-preview",
    "gemini-3-pro-preview",
)


class AnswerShape(StrEnum):
    """Whether a refresh that does not rotate leaves `refresh_token` out (`google`) or repeats it (`standard`)."""

    GOOGLE = "google"
    STANDARD = "standard"


class SandboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be chosen. Times are seconds."""

    access_lifetime: Positive = 3600.0
    rotate: Rotation = Rotation.STRICT
    grace_seconds: NotNegative = 0.0
    code_lifetime: Positive = 60.0
    require_pkce: bool = False
    refresh_given: RefreshGiven = RefreshGiven.ALWAYS
    shape: AnswerShape = AnswerShape.GOOGLE
    device_interval: NotNegative = 5.0
    device_lifetime: Positive = 300.0
    auto_approve: bool = True
    deny: bool = False
    users: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("alice@example.com",)
    redirect_uris: tuple[str, ...] = ()
    date_offset: float = 0.0
    models: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = DEFAULT_MODELS
    onboarded: bool = False
    ineligible_users: tuple[str, ...] = ()
    service_enabled: bool = True
    quota_requests: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def policy(self) -> Policy:
        """Return the part the grants follow."""
        return Policy(
            access_lifetime=self.access_lifetime,
            rotate=self.rotate,
            grace_seconds=self.grace_seconds,
            code_lifetime=self.code_lifetime,
            require_pkce=self.require_pkce,
            refresh_given=self.refresh_given,
        )

    def device_policy(self) -> DevicePolicy:
        """Return the part the device flow follows."""
        return DevicePolicy(interval=self.device_interval, lifetime=self.device_lifetime)


def changed(settings: SandboxSettings, changes: Mapping[str, object]) -> SandboxSettings:
    """Return `settings` with some fields replaced, checked like the whole.

    Raises:
        msgspec.ValidationError: an unknown field or a value out of range, named.
    """
    merged = {**msgspec.to_builtins(settings), **changes}
    return msgspec.convert(merged, SandboxSettings)
