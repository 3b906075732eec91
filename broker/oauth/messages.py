"""What a flow and its runner say to each other.

Owns: the request, response and pause values, and the types of a flow. It must never perform a request or wait.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from broker.model.secret import Secret

T = TypeVar("T")

Method = Literal["GET", "POST", "DELETE"]
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request to a provider.

    `url` holds no secret; `query` is added to it when it is sent, for vendors that want a token there. `headers` hold no secret either;
    `bearer` becomes `Authorization: Bearer` (or another `scheme`) when it is sent, `basic` (client id, client secret) becomes HTTP
    Basic as RFC 6749 section 2.3.1 encodes it. `form` and `json` are the two bodies, at
    most one of them set; their `Secret` values are revealed by `encode_body`, at the moment of sending.

    `spends` marks the one request that may consume a refresh token for good: its runner writes the rotation journal around it,
    and after a crash feeds the recorded answer to a fresh run of the same flow instead of sending it again.
    """

    method: Method
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str | Secret] | None = None
    json: Mapping[str, object] | None = None
    bearer: Secret | None = None
    basic: tuple[str, Secret] | None = None
    scheme: str = "Bearer"
    spends: bool = False
    query: Mapping[str, str | Secret] | None = None

    def encode_url(self) -> str:
        """Return the address to ask, secrets of the query in clear."""
        if not self.query:
            return self.url
        plain = {k: v.reveal() if isinstance(v, Secret) else v for k, v in self.query.items()}
        return f"{self.url}{'&' if '?' in self.url else '?'}{urlencode(plain)}"

    def encode_body(self) -> tuple[bytes, str] | None:
        """Return the body and its content type, secrets in clear; None where there is no body."""
        if self.form is not None:
            plain = {k: v.reveal() if isinstance(v, Secret) else v for k, v in self.form.items()}
            return urlencode(plain).encode(), FORM
        if self.json is not None:
            return msgspec.json.encode(_revealed(self.json)), JSON
        return None


def _revealed(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, Mapping):
        return {k: _revealed(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_revealed(v) for v in value]
    return value


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer. `headers` have lower-case names; `body` is whatever came, decoded by nobody yet."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def document(self) -> dict[str, object] | None:
        """Return the JSON object in the body; None where there is none."""
        try:
            found = msgspec.json.decode(self.body)
        except (
            ValueError,
            RecursionError,
        ):  # msgspec's own errors are ValueErrors, and so is what it raises for bytes that are no UTF-8
            return None
        return found if isinstance(found, dict) else None

    def __repr__(self) -> str:
        # The body may hold tokens.
        return f"HttpResponse(status={self.status}, {len(self.body)} bytes)"


class Pause(msgspec.Struct, frozen=True):
    """A wait before the next request: a long-running operation is polled, a server asked for patience."""

    seconds: float


PAUSED = HttpResponse(status=0)
"""What a flow is sent after a `Pause`; nobody reads it."""

Flow = Generator[HttpRequest, HttpResponse, T]
"""A dialogue with a provider: yields requests, is sent responses, returns a T or raises FlowFailedError."""

PacedFlow = Generator[HttpRequest | Pause, HttpResponse, T]
"""A dialogue that may also wait: a `Pause` is answered with `PAUSED` when the time is over. Every `Flow` is one."""


Step = TypeVar("Step", bound=HttpRequest | Pause)


def with_headers(
    flow: Generator[Step, HttpResponse, T], headers: Mapping[str, str]
) -> Generator[Step, HttpResponse, T]:
    """Run a flow with these headers on each of its requests, beneath those a request has itself."""
    return adapted(flow, lambda step: replace(step, headers={**headers, **step.headers}), lambda answer: answer)


def adapted(
    flow: Generator[Step, HttpResponse, T],
    ask: Callable[[HttpRequest], HttpRequest],
    hear: Callable[[HttpResponse], HttpResponse],
) -> Generator[Step, HttpResponse, T]:
    """Run a flow with each of its requests changed by `ask`, and each answer by `hear` before the flow sees it."""
    try:
        step = next(flow)
        while True:
            try:
                if isinstance(step, Pause):
                    answer = yield step
                else:
                    answer = hear((yield ask(step)))  # type: ignore[misc]  # whatever takes a Step of a flow takes requests
            except Exception as error:  # noqa: BLE001 - what its runner throws is the flow's to judge
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as ended:
        result: T = ended.value
        return result
    finally:
        flow.close()
