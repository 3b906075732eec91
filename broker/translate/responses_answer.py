"""OpenAI Responses, answer side: events and whole answers -> bytes.

Owns: the `response` object with its items, and the stream of its events. Only the first choice is told: the dialect has no other.

Signatures of other vendors stand in the `encrypted_content` of reasoning items, marked (`claude_signatures`), where the client asked for that content; it sends
reasoning items back as they came.

Source: platform.openai.com/docs/api-reference/responses, "The response object" and "Streaming events".
"""

from collections.abc import Iterable, Iterator
from typing import Final, assert_never

import msgspec

from broker.translate import claude_signatures
from broker.translate.blob import Base64, written
from broker.translate.exchange import Reply
from broker.translate.ir import (
    Answer,
    CalledTool,
    Event,
    Failed,
    Failure,
    FailureKind,
    Finished,
    FinishReason,
    Image,
    ImagePart,
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
from broker.translate.responses_request import INPUT
from broker.translate.responses_wire import WireEcho
from broker.translate.sse import write_event

_JSON: Final = msgspec.json.Encoder()
_OBJECT: Final = msgspec.json.Decoder(dict[str, object])
_Object = dict[str, object]

_INCOMPLETE: Final = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}
_ERROR_CODES: Final = {
    FailureKind.RATE_LIMITED: "rate_limit_exceeded",
    FailureKind.QUOTA_EXHAUSTED: "insufficient_quota",
    FailureKind.BAD_REQUEST: "invalid_prompt",
    FailureKind.OVERLOADED: "server_is_overloaded",
}


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the `response` object."""
    first = answer.choices[0] if answer.choices else None
    maker = _Items(reply)
    items = [item for part in (first.parts if first else ()) for item in maker.of(part)]
    finished = first.finished if first else None
    return written(_response(answer.id, answer.created, reply, items, finished, answer.usage or Usage()))


def _response(
    native_id: str | None,
    created: int | None,
    reply: Reply,
    items: list[_Object],
    finished: Finished | None,
    usage: Usage | None,
    *,
    failure: Failure | None = None,
) -> _Object:
    incomplete = _INCOMPLETE.get(finished.reason) if finished else None
    status = "failed" if failure else "incomplete" if incomplete else "completed" if usage else "in_progress"
    echo = reply.extras.get("echo")
    repeated = echo if isinstance(echo, WireEcho) else WireEcho()
    return {
        "id": native_id if native_id and native_id.startswith("resp_") else f"resp_{reply.ids.id}",
        "object": "response",
        "created_at": created or reply.ids.created,
        "status": status,
        "background": False,
        "error": {"code": _ERROR_CODES.get(failure.kind, "server_error"), "message": failure.message}
        if failure
        else None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "model": reply.model,
        "output": items,
        "previous_response_id": None,
        "store": False,
        **{name: getattr(repeated, name) for name in WireEcho.__struct_fields__},
        "usage": _usage(usage) if usage else None,
    }


def _usage(usage: Usage) -> _Object:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


class _Items:
    """Makes the items of one answer; their ids count on."""

    def __init__(self, reply: Reply) -> None:
        custom = reply.extras.get("custom")
        self._custom: frozenset[str] = custom if isinstance(custom, frozenset) else frozenset()
        spaces = reply.extras.get("spaces")
        self._spaces: _Object = spaces if isinstance(spaces, dict) else {}
        self._encrypted = reply.extras.get("encrypted") is True
        self._id = reply.ids.id
        self._count = 0

    def of(self, part: Text | Thinking | Image | CalledTool) -> Iterator[_Object]:
        match part:
            case Text(text):
                if text:
                    yield self.message(text)
            case Thinking(text, signature):
                own = None if signature is None else claude_signatures.of_thinking(signature)
                yield from self.reasoning(text, own)
            case Image(_, data):
                yield self.image(data)
            case CalledTool(identifier, name, arguments, signature):
                if signature is not None:
                    yield from self.reasoning("", claude_signatures.of_next_call(signature))
                yield self.call(identifier, name, arguments)
            case _:
                assert_never(part)

    def message(self, text: str, status: str = "completed") -> _Object:
        content = [_text_part(text)] if status == "completed" else []
        return {"id": self._next("msg"), "type": "message", "status": status, "role": "assistant", "content": content}

    def reasoning(self, text: str, encrypted: str | None) -> Iterator[_Object]:
        """Yield the item, or none where it would say nothing."""
        kept = encrypted if self._encrypted else None
        if text or kept is not None:
            yield self.reasoned(text, kept)

    def reasoned(self, text: str, encrypted: str | None) -> _Object:
        item: _Object = {"id": self._next("rs"), "type": "reasoning", "summary": [_summary_part(text)] if text else []}
        return item | ({"encrypted_content": encrypted} if encrypted is not None else {})

    @property
    def encrypts(self) -> bool:
        return self._encrypted

    def image(self, data: Base64) -> _Object:
        return {"id": self._next("ig"), "type": "image_generation_call", "status": "completed", "result": data}

    def call(self, identifier: str, name: str, arguments: str, status: str = "completed") -> _Object:
        called: _Object = {"call_id": identifier, "name": name}
        match self._spaces.get(name):
            case (str(namespace), str(inner)):
                called |= {"name": inner, "namespace": namespace}
        if name in self._custom:
            head: _Object = {"id": self._next("ctc"), "type": "custom_tool_call", "status": status}
            return head | called | {"input": free_text(arguments)}
        head = {"id": self._next("fc"), "type": "function_call", "status": status}
        return head | called | {"arguments": arguments}

    def _next(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._id}_{self._count}"


def free_text(arguments: str) -> str:
    """Return the input of a custom tool out of the arguments of the function that stood for it; what is no such object is the input itself."""
    try:
        told = _OBJECT.decode(arguments or "{}").get(INPUT, "")
    except (msgspec.DecodeError, RecursionError):
        return arguments
    return told if isinstance(told, str) else _JSON.encode(told).decode()


def _text_part(text: str) -> _Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary_part(text: str) -> _Object:
    return {"type": "summary_text", "text": text}


class _Open:
    """An item while it grows."""

    __slots__ = ("index", "item", "kind", "pieces")

    def __init__(self, kind: str, index: int, item: _Object) -> None:
        self.kind = kind
        self.index = index
        self.item = item
        self.pieces: list[str] = []


class ResponsesStream:
    """One streamed answer (see `codecs.StreamEncoder`).

    An item is opened by the first event of its kind and closed by the first of another. Calls stay open to the end: some servers tell several in turns, and
    text between.
    """

    __slots__ = (
        "_begun", "_calls", "_created", "_failed", "_finished", "_id", "_items", "_maker", "_number", "_open", "_out", "_reply", "_usage",
    )  # fmt: skip

    def __init__(self, reply: Reply) -> None:
        """Begin."""
        self._reply = reply
        self._maker = _Items(reply)
        self._out: list[bytes] = []
        self._begun = False
        self._failed = False
        self._number = 0  # of the next event
        self._items: list[_Object] = []
        self._open: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self._id: str | None = None
        self._created: int | None = None
        self._finished: Finished | None = None
        self._usage = Usage()

    def encode(self, events: Iterable[Event]) -> bytes:
        """Return the events of the dialect for these."""
        for event in events:
            self._one(event)
        return self._taken()

    def close(self) -> bytes:
        """Return the closing events; nothing after a failure."""
        if self._failed:
            return b""
        self._begin()
        self._shut()
        self._end_calls()
        whole = self._whole(self._usage)
        self._emit(f"response.{whole['status']}", response=whole)
        return self._taken()

    def _one(self, event: Event) -> None:
        match event:
            case Started():
                self._id, self._created = event.id, event.created
                self._begin()
            case Usage():
                self._usage = event
            case Failed():
                self._failed = True
                self._emit("response.failed", response=self._whole(None, event.failure))
            case LogprobsDelta():
                return
            case _:
                if event.choice == 0:
                    self._begin()
                    self._content(event)

    def _content(
        self, event: TextDelta | ThinkingDelta | ImagePart | ToolCallStarted | ToolCallDelta | Finished
    ) -> None:
        match event:
            case TextDelta():
                self._text(event)
            case ThinkingDelta():
                self._think(event)
            case ImagePart():
                if not event.draft:
                    self._shut()
                    image = self._maker.image(event.data)
                    # As OpenAI does, not told before it is done: it may be 25 MB.
                    self._put(image, image | {"status": "in_progress", "result": None})
            case ToolCallStarted():
                self._call(event)
            case ToolCallDelta(index, arguments):
                self._argue(index, arguments)
            case Finished():
                self._finished = event
                self._shut()
            case _:
                assert_never(event)

    def _text(self, event: TextDelta) -> None:
        # Also text that says nothing, or carries only a signature, ends what was said before it: a whole answer has two parts there.
        opened = self._going_on("message")
        if event.text:
            if opened is None:
                opened = self._open = self._start("message", self._maker.message("", "in_progress"))
                self._part("response.content_part.added", opened, content_index=0, part=_text_part(""))
            opened.pieces.append(event.text)
            self._part("response.output_text.delta", opened, content_index=0, delta=event.text, logprobs=[])
        if event.signature is not None:
            self._shut()

    def _think(self, event: ThinkingDelta) -> None:
        opened = self._going_on("reasoning")
        if event.redacted is not None:
            self._shut()
            return
        if event.text:
            if opened is None:
                opened = self._open = self._start("reasoning", self._maker.reasoned("", None))
                self._part("response.reasoning_summary_part.added", opened, summary_index=0, part=_summary_part(""))
            opened.pieces.append(event.text)
            self._part("response.reasoning_summary_text.delta", opened, summary_index=0, delta=event.text)
        if event.signature is not None:
            encrypted = claude_signatures.of_thinking(event.signature)
            if opened is None:
                self._lone(encrypted)
            elif self._maker.encrypts:
                opened.item["encrypted_content"] = encrypted
            self._shut()

    def _lone(self, encrypted: str) -> None:
        for item in self._maker.reasoning("", encrypted):
            self._put(item)

    def _call(self, event: ToolCallStarted) -> None:
        self._shut()
        if event.signature is not None:
            self._lone(claude_signatures.of_next_call(event.signature))
        item = self._maker.call(event.id, event.name, "", "in_progress")
        self._calls[event.index] = self._start(str(item["type"]), item)

    def _argue(self, index: int, arguments: str) -> None:
        opened = self._calls.get(index)
        if opened is None or not arguments:
            return
        opened.pieces.append(arguments)
        # The input of a custom tool stands inside of these arguments, and is told when they are complete.
        if opened.kind == "function_call":
            self._part("response.function_call_arguments.delta", opened, delta=arguments)

    # --- items ---

    def _going_on(self, kind: str) -> _Open | None:
        """Return the open item of this kind; close whatever else is open."""
        if self._open is not None and self._open.kind == kind:
            return self._open
        self._shut()
        return None

    def _start(self, kind: str, item: _Object) -> _Open:
        opened = _Open(kind, len(self._items), item)
        self._items.append(item)
        self._emit("response.output_item.added", output_index=opened.index, item=item)
        return opened

    def _put(self, item: _Object, begun: _Object | None = None) -> None:
        opened = self._start("", begun or item)
        self._items[opened.index] = item
        self._emit("response.output_item.done", output_index=opened.index, item=item)

    def _shut(self) -> None:
        if self._open is not None:
            opened, self._open = self._open, None
            self._close_item(opened)

    def _end_calls(self) -> None:
        for call in self._calls.values():
            self._close_item(call)
        self._calls.clear()

    def _close_item(self, opened: _Open) -> None:
        text, item = "".join(opened.pieces), opened.item
        match opened.kind:
            case "message":
                part = _text_part(text)
                self._part("response.output_text.done", opened, content_index=0, text=text, logprobs=[])
                self._part("response.content_part.done", opened, content_index=0, part=part)
                item = item | {"status": "completed", "content": [part]}
            case "reasoning":
                summary = _summary_part(text)
                self._part("response.reasoning_summary_text.done", opened, summary_index=0, text=text)
                self._part("response.reasoning_summary_part.done", opened, summary_index=0, part=summary)
                item = item | {"summary": [summary]}
            case "function_call":
                self._part("response.function_call_arguments.done", opened, arguments=text, name=item["name"])
                item = item | {"status": "completed", "arguments": text}
            case _:
                told = free_text(text)
                self._part("response.custom_tool_call_input.delta", opened, delta=told)
                self._part("response.custom_tool_call_input.done", opened, input=told)
                item = item | {"status": "completed", "input": told}
        self._items[opened.index] = item
        self._emit("response.output_item.done", output_index=opened.index, item=item)

    # --- events ---

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            started = self._whole(None)
            self._emit("response.created", response=started)
            self._emit("response.in_progress", response=started)

    def _whole(self, usage: Usage | None, failure: Failure | None = None) -> _Object:
        finished = self._finished if usage else None
        return _response(self._id, self._created, self._reply, list(self._items), finished, usage, failure=failure)

    def _part(self, kind: str, opened: _Open, **fields: object) -> None:
        self._emit(kind, item_id=opened.item["id"], output_index=opened.index, **fields)

    def _emit(self, kind: str, **fields: object) -> None:
        body: _Object = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        self._out.append(write_event(body, kind))

    def _taken(self) -> bytes:
        out, self._out = b"".join(self._out), []
        return out
