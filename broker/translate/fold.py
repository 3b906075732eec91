"""A whole answer out of its events.

Owns: `fold`. Streamed and whole answers agree because a whole one is never made in another way.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final, assert_never

from broker.translate.blob import Base64
from broker.translate.ir import (
    Answer,
    AnswerPart,
    CalledTool,
    Choice,
    Event,
    Failed,
    Finished,
    Image,
    ImagePart,
    Logprob,
    LogprobsDelta,
    Started,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)

_UNSTARTED: Final = Started()


def fold(events: Iterable[Event]) -> Answer:
    """Put the events of one answer together.

    Neighbouring deltas of one kind become one part, unless a signature closes the earlier one. Events after `Failed` are not read.
    """
    started, usage, failure = _UNSTARTED, None, None
    choices: defaultdict[int, _Collected] = defaultdict(_Collected)
    for event in events:
        match (
            event
        ):  # what there is most of stands first: to ask for a class that it is not costs more than what is done then
            case TextDelta():
                choices[event.choice].grow(Text, event.text, event.signature)
            case Finished():
                choices[event.choice].finished = event
            case Usage():
                usage = event
            case Started():
                started = event
            case ToolCallDelta():
                choices[event.choice].calls[event.index].pieces.append(event.arguments)
            case ThinkingDelta():
                choices[event.choice].grow(Thinking, event.text, event.signature, event.redacted)
            case ToolCallStarted():
                choices[event.choice].call(event)
            case ImagePart():
                choices[event.choice].image(event)
            case LogprobsDelta():
                choices[event.choice].logprobs.extend(event.tokens)
            case Failed():
                failure = event.failure
                break
            case _:
                assert_never(event)
    whole = [choices[index].choice(index) for index in sorted(choices)]
    return Answer(started.id, started.model, started.created, tuple(whole), usage, failure)


class _Collected:
    """The parts of one choice while they grow."""

    __slots__ = ("calls", "finished", "logprobs", "parts")

    def __init__(self) -> None:
        self.parts: list[_Growing] = []
        self.calls: dict[int, _Growing] = {}
        self.logprobs: list[Logprob] = []
        self.finished: Finished | None = None

    def grow(self, kind: type[AnswerPart], text: str, signature: str | None, redacted: str | None = None) -> None:
        """Add text to the last part if it is of this kind and unsigned, else begin a part."""
        last = self.parts[-1] if self.parts else None
        if last is None or last.kind is not kind or last.signature is not None or last.extra or redacted:
            last = _Growing(kind, redacted or "")
            self.parts.append(last)
        last.pieces.append(text)
        last.signature = signature

    def call(self, event: ToolCallStarted) -> None:
        """Begin a call."""
        call = _Growing(CalledTool, event.id, name=event.name, signature=event.signature)
        self.calls[event.index] = call
        self.parts.append(call)

    def image(self, event: ImagePart) -> None:
        """Add an image, unless it is a draft."""
        if not event.draft:
            self.parts.append(_Growing(Image, event.mime, signature=event.signature, data=event.data))

    def choice(self, index: int) -> Choice:
        """Freeze."""
        return Choice(index, tuple([part.freeze() for part in self.parts]), self.finished, tuple(self.logprobs))


class _Growing:
    """A part while it grows; `extra` is a call's id, an image's media type or redacted reasoning, `data` an image."""

    __slots__ = ("data", "extra", "kind", "name", "pieces", "signature")

    def __init__(
        self,
        kind: type[AnswerPart],
        extra: str = "",
        *,
        name: str = "",
        signature: str | None = None,
        data: Base64 = "",
    ) -> None:
        self.kind = kind
        self.extra = extra
        self.name = name
        self.signature = signature
        self.data = data
        self.pieces: list[str] = []

    def freeze(self) -> AnswerPart:
        text = "".join(self.pieces)
        if self.kind is Text:
            return Text(text, self.signature)
        if self.kind is Image:
            return Image(self.extra, self.data, self.signature)
        if self.kind is Thinking:
            return Thinking(text, self.signature, self.extra or None)
        return CalledTool(self.extra, self.name, text, self.signature)
