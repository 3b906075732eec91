"""What a flow's runner asks of the network.

Owns: the `Transport` protocol and the two ways in which sending can fail. Pure: implementations live with the daemon and the CLI.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse

Connected = Callable[[], Awaitable[None]]
Heard = Callable[[HttpResponse], None]


class TransportError(Exception):
    """No usable answer. The text is one sentence for a person, without a secret or a query string."""


class NotSentError(TransportError):
    """Not one byte of the request reached the server (name lookup, connect, TLS handshake): repeating it is safe."""


class AnswerLostError(TransportError):
    """At least one byte was sent and no whole answer came: the server may or may not have acted."""


class Transport(Protocol):
    """Performs requests. It follows no redirect, adds no retry of its own, and bounds time and the size of an answer."""

    async def send(
        self, request: HttpRequest, *, connected: Connected | None = None, heard: Heard | None = None
    ) -> HttpResponse:
        """Send one request and return the whole answer, whatever its status.

        `connected` is run when the connection stands, before the first byte goes out; what it raises is raised, and nothing was sent.
        `heard` is called with the whole answer in the step in which its last byte arrives; it must not raise. Whoever awaits `send` goes on some turns of
        the event loop later, behind all that others have to do: too late for what is lost with the process.

        Raises:
            NotSentError: nothing was sent.
            AnswerLostError: something was sent and the answer did not arrive whole, in time and within the size limit.
        """
        ...

    def on_behalf(self, provider: str, own: Secret | None = None) -> "Transport":
        """Return a transport for a provider's requests, by the way they are to take; `own` is the `proxy_url` of the account they are for."""
        ...
