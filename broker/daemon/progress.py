"""How far a request of the daemon came, and why it did not come further.

Owns: the words both `outbound` and `exchange` use of it; of the request itself they never tell anything.
"""

import os
import ssl
from dataclasses import dataclass, field

from broker.model.network import ProxyServer
from broker.network.tunnel import TunnelError
from broker.oauth.messages import HttpResponse
from broker.oauth.transport import Connected, Heard


class ExchangeError(Exception):
    """A request that got no whole answer; its text says why, in words that hold nothing of the request."""


@dataclass(slots=True)
class Progress:
    """How far one request came. `before` is run between the connection and the first byte, `heard` with the whole answer; `proxy` is on the way."""

    before: Connected | None = None
    heard: Heard | None = None
    proxy: ProxyServer | None = None
    connected: bool = False
    received: bytearray = field(default_factory=bytearray, repr=False)
    answer: HttpResponse | None = None

    def end(self, answer: HttpResponse) -> None:
        """Note the whole answer."""
        self.answer = answer
        if self.heard is not None:
            self.heard(answer)


def why(error: Exception) -> str:
    """Say what went wrong in words that hold nothing of the request."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, (TunnelError, ExchangeError)):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return "its certificate is not trusted"
    return (system_word(error) if isinstance(error, OSError) else "") or type(error).__name__


def system_word(error: OSError) -> str:
    """Return the system's word for an error; asyncio puts its own words, and the address, into strerror."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else ""
