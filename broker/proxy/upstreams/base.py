"""What an upstream is to the rest of the proxy.

Owns: the protocol and its values. Pure; it must never name a vendor's URL or header.
"""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Final, Protocol, runtime_checkable

import msgspec

from broker.ipc.schema import Lease
from broker.translate.codecs import Dialect
from broker.translate.ir import Failure

Headers = list[tuple[bytes, bytes]]


class Kind(StrEnum):
    """The APIs that can be reached; the names of `[upstreams.NAME]` in the config."""

    GEMINI = "gemini"
    CODE_ASSIST = "codeassist"
    ANTHROPIC = "anthropic"
    ANTHROPIC_COMPATIBLE = "anthropic-compatible"
    OPENAI = "openai"
    OPENAI_COMPATIBLE = "openai-compatible"
    CODEX = "codex"
    XAI = "xai"
    ANTIGRAVITY = "antigravity"
    VERTEX = "vertex"
    KIMI = "kimi"
    QWEN = "qwen"
    COPILOT = "github-copilot"
    KIRO = "kiro"


STEADY: Final = frozenset({Kind.GEMINI, Kind.ANTHROPIC, Kind.ANTHROPIC_COMPATIBLE, Kind.OPENAI, Kind.OPENAI_COMPATIBLE})
"""Those whose target and headers follow from the lease, the model and the client's own head and nothing else: not from the body or the request's id."""


class Offer(StrEnum):
    """What an API can be asked for; all can be asked to talk. The values are the last parts of OpenAI's paths."""

    TALK = "chat/completions"
    EMBEDDINGS = "embeddings"
    IMAGES = "images/generations"
    IMAGE_EDITS = "images/edits"
    COMPACT = "responses/compact"


class Ask(msgspec.Struct, frozen=True):
    """What is wanted of an upstream: an answer or a count of tokens, from which model, whole or as a stream; or what else it offers.

    `version` and `query` are what a client of the upstream's own dialect wrote in its URL, its key left out; None where it speaks another.
    `request_id` is ours.
    """

    model: str
    stream: bool = False
    count: bool = False
    version: str = "v1beta"
    query: str | None = None
    request_id: str = ""
    offer: Offer = Offer.TALK

    def target(self, path: str) -> bytes:
        """Return the target of a request at `path`, with the client's own query."""
        return (f"{path}?{self.query}" if self.query else path).encode("ascii")


class Sent(msgspec.Struct, frozen=True):
    """A request as an upstream takes it: `target` is path and query; `headers` hold the credential and no framing."""

    target: bytes
    headers: Headers
    body: bytes


class Upstream(Protocol):
    """One vendor API. `dialect` is what requests of other dialects are translated to."""

    kind: Kind
    dialect: Dialect
    default_url: str

    def request(self, lease: Lease, ask: Ask, headers: Headers, body: bytes) -> Sent:
        """Write a POST. `body` is in this upstream's dialect, `headers` what of the client's travels on.

        Raises:
            BrokerError: `misconfigured` or `bad_request`, where the lease lacks a fact the API needs.
        """
        ...


@runtime_checkable
class Offering(Protocol):
    """An upstream that can be asked for more than talk.

    Where it speaks chat completions, it takes requests of `offers` as OpenAI's clients write them. Where it speaks Gemini's dialect, images come of a
    conversation, and embeddings have a codec of its own.
    """

    offers: frozenset[Offer]


class StreamsOnly(ABC):
    """An upstream that answers with a stream whatever is asked for. It says so by its base: looking for a method costs 15 µs, and each request asks."""

    @abstractmethod
    def whole(self, body: bytes) -> bytes | Failure:
        """Return the whole answer that a complete stream tells, in its own dialect, or why there is none."""
