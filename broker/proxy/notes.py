"""What a job notes of its request for whoever runs this: numbers, and lines of the log.

Owns: `Notes`, one a job. It must never name an account but by the id that logs have for it.
"""

import logging
from typing import Final

from broker.ipc.schema import Lease
from broker.model.account import AccountId
from broker.observe.logs import log_id
from broker.proxy.meters import Meters
from broker.proxy.upstreams.base import Upstream

_log = logging.getLogger(__name__)

_DETAIL: Final = 300  # of what an upstream says


class Notes:
    """Of one request."""

    __slots__ = ("_asked", "_id", "_meters")

    def __init__(self, meters: Meters, request_id: str, asked: str) -> None:
        """Begin; `asked` is the model's name as long as none was sent."""
        self._meters = meters
        self._id = request_id
        self._asked = asked

    def attempted(self, upstream: Upstream | None, outcome: str) -> None:
        """Count an attempt, where there was one, as `Meters.attempted` does."""
        if upstream is not None:
            self._meters.attempted(upstream.kind, outcome)

    def line(self, event: str, text: str, lease: Lease | None, model: str) -> None:
        """Write a line; `lease` and `model` are those of the last attempt, if any."""
        if _log.isEnabledFor(logging.INFO):
            account = log_id(AccountId.parse(lease.account)) if lease is not None else None
            fields = {
                "request_id": self._id,
                "account": account,
                "model": model or self._asked,
                "detail": text[:_DETAIL],
            }
            _log.info(event, extra=fields)
