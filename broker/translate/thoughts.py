"""What a model thought before it called a tool, kept for clients that do not send it back.

Owns: packing thoughts into a `SignatureMemory`, under the call they led to. It must never be relied on: what a client sends back itself comes first, and
after a restart nothing is remembered.

Thoughts are kept for the APIs that want them back: Anthropic's with their signatures, and of chat completions those of servers that refuse a conversation
without them. Chat completions have no field for a signature, Gemini's CLI leaves thoughts out, and nobody gets them who did not ask for them.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from broker.translate.ir import Thinking
from broker.translate.signatures import SignatureMemory
from broker.translate.signers import Signer, marked, unmarked

_Kept = tuple[str, str | None, str | None]

_THOUGHTS: Final = msgspec.json.Decoder(list[_Kept])


def remember(memory: SignatureMemory, by: Signer, call_id: str, thoughts: Sequence[Thinking]) -> None:
    """Keep what led to a call; nothing where there was nothing."""
    if thoughts:
        kept: list[_Kept] = [(each.text, each.signature, each.redacted) for each in thoughts]
        memory.remember(call_id, marked(by, msgspec.json.encode(kept).decode()))


def recall(memory: SignatureMemory, by: Signer, call_id: str) -> tuple[Thinking, ...]:
    """Return what led to a call; nothing where it is not known, or another API thought it."""
    told = unmarked(by, memory.recall(call_id))
    return () if told is None else tuple(Thinking(*each) for each in _THOUGHTS.decode(told))


class Gathering:
    """The thoughts of one answer, until the next call."""

    __slots__ = ("_done", "_growing")

    def __init__(self) -> None:
        """Nothing was thought yet."""
        self._growing: list[str] = []
        self._done: list[Thinking] = []

    def add(self, text: str, signature: str | None = None, redacted: str | None = None) -> None:
        """Take a piece of a thought; a signature, or what is redacted, ends it."""
        self._growing.append(text)
        if signature is not None or redacted is not None:
            self._done.append(Thinking("".join(self._growing), signature, redacted))
            self._growing.clear()

    def signed(self) -> list[Thinking]:
        """Take the thoughts that were ended; what was not is forgotten."""
        done, self._done = self._done, []
        self._growing.clear()
        return done

    def said(self) -> list[Thinking]:
        """Take all words as one thought; none where there are none."""
        text = "".join([*(each.text for each in self._done), *self._growing])
        self._done.clear()
        self._growing.clear()
        return [Thinking(text)] if text else []
