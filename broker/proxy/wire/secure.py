"""TLS between a connection and the transport under it.

Owns: `Secure`, which is the transport of the one and the protocol of the other, and `connect`. What the event loop has for this does the same in more steps,
with a buffer of 256 KiB for each connection and a block as long for each read: 25 KiB a connection instead of 41, and 8 µs instead of 10 that TLS adds to a
request. Keys, certificates and records are OpenSSL's business, as they are there. It must never hand over a byte before the handshake is done, nor take the end
of the connection for the end of what the other side had to say: that is its `close_notify` alone, and only then `eof_received` is called.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, TypeVar, cast, final

from broker.model.network import ProxyServer
from broker.network import tunnel

P = TypeVar("P", bound=asyncio.Protocol)
Data = bytes | bytearray | memoryview

_PIECE_BYTES: Final = 262_144  # encrypted at once; of a large body all would be there twice more, and OpenSSL keeps the room as long as the connection
_RECORD_BYTES: Final = 16_384  # RFC 8446 section 5.1: a record holds no more, and a read brings no more than a record


async def connect(factory: Callable[[], P], via: ProxyServer | None, host: str, port: int, tls: ssl.SSLContext) -> P:
    """Connect to host and port with `tls`, and return the protocol, whose `connection_made` has been called.

    Raises:
        TunnelError: there is no way through the proxy.
        OSError: as `loop.create_connection`, of the target; `ssl.SSLError` where its certificate is not trusted.
    """
    protocol = factory()
    secure = Secure(protocol, tls, host)
    try:
        await tunnel.connect(lambda: secure, via, host, port, None)
        await secure.shaken()
    except BaseException:
        secure.abort()
        raise
    return protocol


@final
class Secure(asyncio.Transport, asyncio.Protocol):
    """One connection. Of a transport it offers what is used here: there is no orderly `close`, and no end of writing."""

    __slots__ = (
        "_context", "_fault", "_full", "_host", "_incoming", "_outgoing", "_protocol", "_ready", "_tls", "_transport", "_unsent", "_up",
    )  # fmt: skip

    def __init__(self, protocol: asyncio.Protocol, tls: ssl.SSLContext, host: str) -> None:
        """Be the transport of `protocol`. The certificate is to be one of `host`."""
        super().__init__()
        self._protocol = protocol
        self._context = tls
        self._host = host
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject
        self._transport: asyncio.Transport | None = None
        self._up = False
        self._unsent: deque[Data] = deque()
        self._full = False
        self._fault: Exception | None = None
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def shaken(self) -> None:
        """Wait for the end of the handshake; raises what came of it instead."""
        if not await self._ready:
            raise self._why()

    # --- what the protocol above uses ---

    def write(self, data: Data) -> None:
        """Encrypt and send."""
        self._unsent.append(data)
        self._send()

    def writelines(self, list_of_data: Iterable[Data]) -> None:
        """Encrypt all, and send it with one call."""
        self._unsent.extend(list_of_data)
        self._send()

    def is_closing(self) -> bool:
        """Tell whether it has ended, or is about to."""
        return self._transport is None or self._transport.is_closing()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Return what the transport below tells of the connection."""
        return self._transport.get_extra_info(name, default) if self._transport is not None else default

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
        self._ready.cancel()  # nobody will ask any more

    def pause_reading(self) -> None:
        """Read no more. All that was read has been handed over."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._transport is not None:
            self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As the transport's."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are not sent yet."""
        below = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return below + sum(map(len, self._unsent)) if self._unsent else below

    # --- what the transport below calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast("asyncio.Transport", transport)
        try:
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_hostname=self._host)
        except ValueError as error:  # no name of a host
            self._give_up(error)
        else:
            self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Decrypt all that is whole, and hand it over at once."""
        self._incoming.write(data)
        if not self._up:
            self._shake_hands()
            if not self._up:
                return
        pieces: list[bytes] = []
        ended = False
        try:
            while self._incoming.pending or self._tls.pending():
                piece = self._tls.read(_RECORD_BYTES)
                if not piece:
                    ended = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            self._fault = error
        if self._unsent or self._outgoing.pending:
            self._send()
        if pieces:
            self._protocol.data_received(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if ended or self._fault is not None:
            self._end(ended)

    def eof_received(self) -> bool:
        """Close as well."""
        return False

    def pause_writing(self) -> None:
        """Encrypt no more."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on."""
        self._full = False
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on, or tell who waits for the handshake."""
        self._transport = None
        self._unsent.clear()
        if self._up:
            fault, self._fault = self._fault, None  # it knows this, and what was read last
            self._protocol.connection_lost(fault or exc)
        else:
            self._give_up(exc or ConnectionResetError("the connection ended within the handshake"))

    # --- helpers ---

    def _why(self) -> Exception:
        """Return the fault, and keep it no longer: it knows this and who asks, and they would stay until a collection."""
        fault, self._fault = self._fault, None
        assert fault is not None
        return fault

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the other side is told why
            self._give_up(error)
        else:
            self._flush()
            if not self._ready.done():  # else nobody waits any more, and it is about to be closed
                self._up = True
                self._protocol.connection_made(self)
                self._ready.set_result(True)

    def _give_up(self, error: Exception) -> None:
        if not self._ready.done():
            self._fault = error
            self._ready.set_result(False)
        self._close()

    def _send(self) -> None:
        """Encrypt what waits, as long as there is room for it; what cannot be yet (within a renegotiation of TLS 1.2) waits for the next read."""
        unsent = self._unsent
        try:
            while unsent and not self._full:
                data = unsent[0]
                taken = self._tls.write(data if len(data) <= _PIECE_BYTES else memoryview(data)[:_PIECE_BYTES])
                if taken < len(data):
                    unsent[0] = memoryview(data)[taken:]
                else:
                    unsent.popleft()
                if self._outgoing.pending >= _PIECE_BYTES:
                    self._flush()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fault = error
            self._close()
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._outgoing.read())

    def _end(self, said: bool) -> None:
        """Part after the other side's last word, or where it cannot be understood."""
        if said:
            self._protocol.eof_received()
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
        self._flush()
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
