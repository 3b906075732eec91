"""What can go wrong at a provider, by what to do next.

Owns: the union `Failure` and the exception that carries one out of a flow. Sorting answers into it is `broker.oauth.sorting`. It must never
hold a secret: reasons are shown to people and stored.
"""

import msgspec


class Permanent(msgspec.Struct, frozen=True):
    """The grant is dead (RFC 6749 section 5.2 `invalid_grant` and its kin): only a person can help.

    `code` is the provider's own word; `reason` one sentence with no secret in it.
    """

    code: str
    reason: str


class Transient(msgspec.Struct, frozen=True):
    """It may pass: 5xx, a network fault before the request was sent, an answer we cannot place."""

    reason: str


class RateLimited(msgspec.Struct, frozen=True):
    """The provider asks us to wait. `retry_after` is seconds, None where it did not say how long."""

    reason: str
    retry_after: float | None


class Misconfigured(msgspec.Struct, frozen=True):
    """The client registration is at fault (`invalid_client`, `unauthorized_client`...): never blamed on the login."""

    code: str
    reason: str


class AnswerLost(msgspec.Struct, frozen=True):
    """The request was sent and no usable answer came: the refresh token may or may not be spent."""

    reason: str


Failure = Permanent | Transient | RateLimited | Misconfigured | AnswerLost


# RFC 6749 section 5.2, and Google's words for a registration that is no more.
_CLIENT_REFUSED = frozenset({"invalid_client", "unauthorized_client", "deleted_client", "disabled_client"})


def refuses_client(failure: Failure) -> bool:
    """Tell whether a failure is about who asked: a registration that was found rather than configured may be out of date."""
    return isinstance(failure, Misconfigured) and failure.code in _CLIENT_REFUSED


class FlowFailedError(Exception):
    """A flow ended without its result; `failure` says what to do next."""

    def __init__(self, failure: Failure) -> None:
        """Carry `failure`."""
        super().__init__(failure.reason)
        self.failure = failure
