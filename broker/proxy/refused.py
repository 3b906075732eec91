"""What an upstream says where it does not answer the request.

Owns: the reading of any answer but a good one: an error, a redirect, a page that something on the way made for people. Pure. It must never follow a redirect:
that would carry the credential elsewhere.
"""

import msgspec

from broker.proxy.failures import failure, timed
from broker.proxy.headers import Headers, to_client
from broker.proxy.upstreams.base import Upstream
from broker.proxy.wire.heads import ResponseHead
from broker.proxy.works import Work
from broker.translate.codecs import UPSTREAMS
from broker.translate.failures import tells_error
from broker.translate.ir import Failure


class Refused(msgspec.Struct, frozen=True):
    """An upstream's answer that is none, as it came; `told` is what it comes to, and `outcome` what the attempt is counted as."""

    upstream: Upstream
    head: ResponseHead
    body: bytes
    told: Failure
    outcome: str

    @property
    def is_error(self) -> bool:
        """Whether it is an error by its status, and no redirect or page."""
        return self.head.status >= 400

    def untouched(self, work: Work, request_id: str) -> tuple[Headers, bytes] | None:
        """Return it as it is, where the client of `work` can read it without loss; None where it must be worded anew."""
        own = work.own_error(self.upstream, self.body) if self.is_error and tells_error(self.body) else None
        return None if own is None else (to_client(self.head.headers, request_id.encode()), own)


def refused(upstream: Upstream, head: ResponseHead, body: bytes, now: float) -> Refused:
    """Read an answer that is no good one. `now` is wall-clock seconds, which times to come back at are told by."""
    if head.status < 400:
        page = is_page(head)
        what = "a web page" if page else str(head.status)
        told = failure(502, f"the upstream answered {what}, which is no answer to a request like this")
        return Refused(upstream, head, body, told, "page" if page else "redirect")
    told = UPSTREAMS[upstream.dialect].decode_error(head.status, body)
    return Refused(upstream, head, body, timed(told, head.get(b"retry-after"), now), str(head.status))


def is_page(head: ResponseHead) -> bool:
    """Tell whether something on the way answered people instead of programs: no API says anything in HTML."""
    return (head.get(b"content-type") or b"").lower().startswith(b"text/html")
