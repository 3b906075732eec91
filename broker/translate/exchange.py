"""What the proxy and a codec hand each other around one request and its answer.

Owns: these values. It must never import a codec: every codec imports it.
"""

from collections.abc import Mapping

from broker.translate.ir import Value
from broker.translate.limits import UNTOLD, Limits
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory


class Ids(Value, frozen=True):
    """What a codec may not make up: the answer's id (letters, digits, `-`, `_`) and its time in seconds since the epoch."""

    id: str
    created: int

    def call(self, number: int) -> str:
        """Return the id of the answer's call `number`, the same on every run; at most 64 characters as some vendors demand."""
        return f"call_{self.id[-48:]}_{number}"


class Route(Value, frozen=True):
    """What a dialect says in the URL and not in the body: model and streaming (Gemini), or that tokens are only to be counted (Anthropic)."""

    model: str | None = None
    stream: bool | None = None
    counting: bool = False


class Reply(Value, frozen=True):
    """What a client codec needs to answer: ids, the model name the client asked for, whether it wants usage in a stream, and thinking at all.

    `extras` is what the request's codec left for its answer (`Request.extras` under the dialect's name), or what the URL says of it.
    """

    ids: Ids
    model: str
    include_usage: bool = False
    thinking: bool = True
    extras: Mapping[str, object] = {}


class Target(Value, frozen=True):
    """Where a request goes: the upstream's name for the model, and for Code Assist the account's project and an id of the prompt.

    `safety_off` asks the provider not to filter where the client did not choose settings itself. `limits` is what the config says of the model.
    """

    model: str
    signatures: SignatureMemory
    project: str | None = None
    prompt_id: str | None = None
    safety_off: bool = True
    limits: Limits = UNTOLD


class Encoded(Value, frozen=True):
    """A request as sent, and what is needed to read its answer."""

    body: bytes
    names: ToolNames


class Reading(Value, frozen=True):
    """What an upstream codec needs to read an answer."""

    ids: Ids
    names: ToolNames
    signatures: SignatureMemory
