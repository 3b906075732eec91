"""Looking at providers' token endpoints: only where the user asked for it.

Owns: one HEAD request to each, without a body, a token or an id of ours, straight as the daemon sends its own (it uses no proxy of the environment). Whatever
answers will do: what counts is that it answers, and its Date header.
"""

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from broker.doctor.facts import Reach
from broker.model.clock import Clock
from broker.providers.base import Provider

_AT_ONCE = 8


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follow nobody elsewhere: an answer is an answer."""

    def redirect_request(self, *_: object) -> None:
        """Say that there is no further request."""


def reach(providers: Sequence[Provider], clock: Clock, seconds: float) -> list[Reach]:
    """Ask the token endpoint of each provider that has one; all at once, each for `seconds` at most."""
    known = [(each.name, each.endpoints.token_url) for each in providers if each.endpoints.token_url]
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
        return list(pool.map(lambda each: _ask(each[0], each[1] or "", clock, seconds), known))


def _ask(provider: str, url: str, clock: Clock, seconds: float) -> Reach:
    host = urlsplit(url).netloc
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    # The config and the registry accept http and https only.
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310
    try:
        with opener.open(request, timeout=seconds) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as error:
        headers = error.headers
        error.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reach(provider, host, _why(error))
    ahead = None
    with contextlib.suppress(ValueError):
        ahead = parsedate_to_datetime(headers.get("Date", "")).timestamp() - clock.now().wall
    return Reach(provider, host, ahead=ahead)


def _why(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    told = reason.strerror if isinstance(reason, OSError) else None
    return told or type(reason).__name__
