"""Device authorization (RFC 8628) on top of the grants.

Owns: device codes, user codes, polling intervals, slow_down. It must never read a clock or issue tokens itself.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from broker.model.clock import Chance, Now
from broker.model.secret import Digest, Secret
from broker.sandbox.grants import Client, GrantError, Grants, Issued

_SLOW_DOWN_SECONDS = 5.0  # RFC 8628 section 3.5: the interval grows by 5 seconds, for this and all later requests
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words


class Decision(StrEnum):
    """What the user did about a device."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class DevicePolicy:
    """Seconds between polls, and the life of a device code."""

    interval: float = 5.0
    lifetime: float = 300.0


@dataclass(frozen=True, slots=True)
class DeviceStart:
    """What the device shows and polls with."""

    device_code: Secret
    user_code: str
    interval: float
    expires_in: float


@dataclass(slots=True)
class _Device:
    client_id: str
    scopes: tuple[str, ...]
    interval: float
    expires_at: float
    last_poll: float | None = None
    decision: Decision = Decision.PENDING
    user: str = ""
    done: bool = False


@dataclass(slots=True)
class Devices:
    """The devices waiting for their users."""

    policy: DevicePolicy
    chance: Chance
    _devices: dict[Digest, _Device] = field(default_factory=dict)
    _by_user_code: dict[str, Digest] = field(default_factory=dict)

    def start(self, client: Client, scopes: tuple[str, ...], now: Now) -> DeviceStart:
        """Begin (RFC 8628 section 3.1)."""
        code = Secret(f"sandbox-device-{self.chance.token(24)}")
        user_code = self._user_code()
        expires_at = now.boot + self.policy.lifetime
        self._devices[code.digest()] = _Device(client.client_id, scopes, self.policy.interval, expires_at)
        self._by_user_code[user_code] = code.digest()
        return DeviceStart(code, user_code, self.policy.interval, self.policy.lifetime)

    def decide(self, user_code: str, decision: Decision, user: str, now: Now) -> bool:
        """Record what the user chose; False where the code is unknown, expired or decided already.

        `user_code` is compared without regard to case, spaces and dashes.
        """
        digest = self._by_user_code.get(_canonical(user_code))
        device = None if digest is None else self._devices[digest]
        if device is None or now.boot >= device.expires_at or device.decision is not Decision.PENDING:
            return False
        device.decision, device.user = decision, user
        return True

    def poll(self, grants: Grants, client: Client, device_code: Secret, now: Now) -> Issued:
        """Ask for the tokens (RFC 8628 section 3.4).

        Raises:
            GrantError: `authorization_pending`, `slow_down` (the interval grew), `access_denied`, `expired_token`, or `invalid_grant`
                for a code that is unknown, another client's or already redeemed.
        """
        device = self._devices.get(device_code.digest())
        if device is None or device.client_id != client.client_id or device.done:
            raise GrantError("invalid_grant", "The device code is not valid.")
        if now.boot >= device.expires_at:
            raise GrantError("expired_token", "The device code has expired.")
        early = device.last_poll is not None and now.boot - device.last_poll < device.interval
        device.last_poll = now.boot
        if early:
            device.interval += _SLOW_DOWN_SECONDS
            raise GrantError("slow_down", f"Poll every {device.interval:g} seconds.")
        if device.decision is Decision.PENDING:
            raise GrantError("authorization_pending", "The user has not decided yet.")
        device.done = True
        if device.decision is Decision.DENIED:
            raise GrantError("access_denied", "The user refused.")
        return grants.issue(client.client_id, device.user, device.scopes, now)

    def _user_code(self) -> str:
        letters = "".join(_ALPHABET[int(self.chance.unit() * len(_ALPHABET))] for _ in range(8))
        return f"{letters[:4]}-{letters[4:]}"


def _canonical(user_code: str) -> str:
    letters = "".join(c for c in user_code.upper() if c.isalnum())
    return f"{letters[:4]}-{letters[4:]}"
