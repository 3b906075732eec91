"""Which headers go through, and which are ours to write.

Owns: hop-by-hop stripping (RFC 9110 section 7.6.1), what of a client's credentials must not travel on, what of an upstream's answer a client
is not shown, and the one place where a lease's token becomes text. Pure.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final

from broker.ipc.schema import Lease
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.wire.heads import lines

Headers = list[tuple[bytes, bytes]]


def _spellings(names: Iterable[bytes]) -> frozenset[bytes]:
    """Return names with every `-` also as `_`: upstreams that read headers as CGI does (RFC 3875 section 4.1.18) take one for the other."""
    return frozenset(
        b"".join(part for pair in zip(parts, (*marks, b""), strict=True) for part in pair)
        for parts in (name.split(b"-") for name in names)
        for marks in product((b"-", b"_"), repeat=len(parts) - 1)
    )


_HOP: Final = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"content-length", b"http2-settings",
})  # fmt: skip

# What a client says to us and not to the upstream: its credentials, where it believes to be, what a browser adds. Accept-Encoding is dropped so
# that error bodies can be read and comments put between events; the client is on this machine anyway.
_OURS: Final = _spellings(_HOP | {
    b"host", b"authorization", b"x-api-key", b"x-goog-api-key", b"cookie", b"origin", b"referer", b"expect", b"accept-encoding", b"forwarded",
    b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"x-request-id", b"sec-fetch-mode", b"sec-fetch-site",
    b"sec-fetch-dest", b"accept-language", b"x-gemini-api-privileged-user-id",
})  # fmt: skip

# What an upstream says to the hop before us: cookies and rules for browsers, its front end's own words.
_THEIRS: Final = _HOP | {
    b"set-cookie", b"alt-svc", b"via", b"server", b"strict-transport-security", b"report-to", b"nel", b"x-frame-options", b"x-xss-protection",
    b"x-content-type-options", b"content-security-policy", b"cross-origin-opener-policy", b"cross-origin-resource-policy", b"vary", b"date",
    b"access-control-allow-origin", b"access-control-allow-credentials", b"access-control-expose-headers", b"server-timing", b"cf-ray",
    b"cf-cache-status", b"x-request-id", b"accept-ranges",
}  # fmt: skip


def to_upstream(headers: Headers) -> Headers:
    """Return what of a client's headers travels on."""
    named = _named_by_connection(headers)
    return [header for header in headers if header[0] not in _OURS and header[0] not in named]


def to_client(headers: Headers, request_id: bytes) -> Headers:
    """Return what of an upstream's headers the client is shown, and the id our log knows the request by."""
    named = _named_by_connection(headers)
    kept = [header for header in headers if header[0] not in _THEIRS and header[0] not in named]
    kept.append((b"x-request-id", request_id))
    return kept


def shown(headers: Headers, request_id: bytes) -> bytes:
    """Write the fields `to_client` returns of an answer that llhttp read: its names are tokens, so only what would end a line is looked for."""
    parts: list[bytes] = []
    count = 1
    for name, value in headers:
        if name not in _THEIRS:
            parts += (name, b": ", value, b"\r\n")
            count += 1
        elif name == b"connection" and value.lower() not in _PLAIN:
            return lines(to_client(headers, request_id))  # it may name others
    parts += (b"x-request-id: ", request_id, b"\r\n")
    text = b"".join(parts)
    if text.count(b"\n") != count or text.count(b"\r") != count or b"\0" in text:
        raise ValueError("a header that would break the head")
    return text


def overlaid(headers: Headers, own: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return headers with the config's `own` in the place of those of the same name."""
    if not own:
        return headers
    named = {name for name, _ in own}
    return [*(header for header in headers if header[0] not in named), *own]


def filled(headers: Headers, defaults: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return headers with the defaults for what they do not say themselves."""
    named = {name for name, _ in headers}
    return [*headers, *(header for header in defaults if header[0] not in named)]


def bearer(lease: Lease) -> tuple[bytes, bytes]:
    """Return the Authorization header (RFC 6750) of a lease; raises as `api_key` does."""
    return b"authorization", b"Bearer " + _token(lease)


def api_key(lease: Lease, name: bytes) -> tuple[bytes, bytes]:
    """Return the header of that name that holds a lease's token.

    Raises:
        BrokerError: `misconfigured` where the token could not stand in a header.
    """
    return name, _token(lease)


def key_header(lease: Lease, usual: str) -> tuple[bytes, bytes]:
    """Return the header in which an account's API key stands: `authorization` as Bearer, any other as it is. `usual` is for accounts that name none.

    Raises:
        BrokerError: `misconfigured` where the account names what can be no header, or its key cannot stand in one.
    """
    name = lease.facts.get("header", usual).strip().lower()
    if name == "authorization":
        return bearer(lease)
    if not name.isascii() or not name.replace("-", "").isalnum():
        text = "the header its file names for the key can be none"
        raise BrokerError(ErrorCode.MISCONFIGURED, text, account=lease.account)
    return api_key(lease, name.encode("ascii"))


def _token(lease: Lease) -> bytes:
    text = lease.access_token.reveal()
    if not text.isascii() or not text.isprintable() or " " in text or not text:
        raise BrokerError(
            ErrorCode.MISCONFIGURED, "its token holds characters no header may hold", account=lease.account
        )
    return text.encode("ascii")


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    for name, value in headers:
        if name == b"connection" and value.lower() not in _PLAIN:
            break
    else:
        return _NONE
    values = b",".join(value for name, value in headers if name == b"connection")
    return frozenset(token.strip().lower() for token in values.split(b","))


_NONE: Final[frozenset[bytes]] = frozenset()
_PLAIN: Final = frozenset({b"keep-alive", b"close"})
