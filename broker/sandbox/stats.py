"""What the sandbox saw: counts, a log of the last requests, and the masking that keeps secrets out of both.

Owns: `Stats` and `mask`. It must never keep a secret: a masked value is the start of its digest, so that two requests with the same token
can be told from two with different ones.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from broker.model.secret import Secret

_SECRET_NAMES = frozenset(
    {
        "access_token",
        "api_key",
        "authorization",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "id_token",
        "key",
        "refresh_token",
        "token",
        "x-goog-api-key",
    }
)
_LONG_TEXT = 2000  # inline images would make the log as big as the traffic
_EVENTS_KEPT = 2000


def digest8(value: str) -> str:
    """Return what stands for a secret in the log."""
    return f"sha256:{Secret(value).digest().text[:8]}"


def mask(value: object, name: str = "") -> object:
    """Return JSON-like data with secrets replaced by short digests and long texts by their length."""
    if isinstance(value, Mapping):
        return {str(k): mask(v, str(k).lower()) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [mask(v, name) for v in value]
    if not isinstance(value, str):
        return value
    if name in _SECRET_NAMES:
        scheme, space, rest = value.partition(" ")
        return f"{scheme} {digest8(rest)}" if space else digest8(value)
    return value if len(value) <= _LONG_TEXT else f"<{len(value)} characters>"


@dataclass(frozen=True, slots=True)
class RequestNote:
    """One request as the log keeps it: already masked. `at` is wall-clock seconds; `body` is None where there was none."""

    at: float
    method: str
    path: str
    query: Mapping[str, object]
    headers: Mapping[str, object]
    body: object
    user: str | None


@dataclass(frozen=True, slots=True)
class TokenPost:
    """One POST to the token endpoint. `outcome` is `ok` or an OAuth error code, or `none` where a fault forestalled the work."""

    at: float
    grant_type: str
    outcome: str
    fault: str | None
    user: str | None


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """One request to the upstream. `status` is what it was answered with; None where no answer went out."""

    at: float
    endpoint: str
    model: str | None
    user: str | None
    status: int | None
    fault: str | None


@dataclass(slots=True)
class Stats:
    """Counts since the start or the last `reset`, and the last events."""

    requests_kept: int = 500
    reuse_detections: int = 0
    streams_started: int = 0
    streams_finished: int = 0
    streams_abandoned: int = 0
    token_counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    upstream_counts: Counter[tuple[str, int | None]] = field(default_factory=Counter)
    token_posts: deque[TokenPost] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))
    upstream_calls: deque[UpstreamCall] = field(default_factory=lambda: deque(maxlen=_EVENTS_KEPT))
    requests: deque[RequestNote] = field(default_factory=deque)

    def token_post(self, post: TokenPost) -> None:
        """Count a token request."""
        self.token_posts.append(post)
        self.token_counts[post.grant_type, post.outcome] += 1

    def upstream_call(self, call: UpstreamCall) -> None:
        """Count an upstream request."""
        self.upstream_calls.append(call)
        self.upstream_counts[call.endpoint, call.status] += 1

    def note(self, request: RequestNote) -> None:
        """Put a request into the log, dropping the oldest."""
        self.requests.append(request)
        while len(self.requests) > self.requests_kept:
            self.requests.popleft()

    def posts(self, grant_type: str, outcome: str | None = None) -> int:
        """Return how many token requests of a kind came, whatever became of them or with one outcome."""
        return sum(n for (kind, how), n in self.token_counts.items() if kind == grant_type and outcome in {None, how})

    @property
    def refresh_posts(self) -> int:
        """How many POSTs with grant_type=refresh_token came, whatever became of them."""
        return self.posts("refresh_token")

    def calls(self, endpoint: str | None = None, status: int | None = None) -> int:
        """Return how many upstream requests came, of one endpoint and with one status where given."""
        return sum(
            n for (name, code), n in self.upstream_counts.items() if endpoint in {None, name} and status in {None, code}
        )

    def reset(self) -> None:
        """Forget everything."""
        self.reuse_detections = self.streams_started = self.streams_finished = self.streams_abandoned = 0
        for kept in (self.token_counts, self.upstream_counts, self.token_posts, self.upstream_calls, self.requests):
            kept.clear()

    def snapshot(self) -> dict[str, object]:
        """Return the counts as `GET /sandbox/stats` gives them."""
        return {
            "token": {
                "total": self.token_counts.total(),
                "refresh_posts": self.refresh_posts,
                "by_grant_type": _nested(self.token_counts.items()),
                "reuse_detections": self.reuse_detections,
                "events": list(self.token_posts),
            },
            "upstream": {
                "total": self.upstream_counts.total(),
                "by_endpoint": _nested(self.upstream_counts.items()),
                "streams_started": self.streams_started,
                "streams_finished": self.streams_finished,
                "streams_abandoned": self.streams_abandoned,
                "events": list(self.upstream_calls),
            },
        }


def _nested(counts: Iterable[tuple[tuple[str, object], int]]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for (outer, inner), count in counts:
        nested.setdefault(outer, {})[str(inner)] = count
    return nested
