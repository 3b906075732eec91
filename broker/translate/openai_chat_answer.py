"""OpenAI chat completions, answer side: events and whole answers -> bytes, and errors.

Owns: `chat.completion`, `chat.completion.chunk` and the error object. It must never reorder events: what needs to come last, the upstream
codec sends last.

Beyond OpenAI's own fields: `images` and `reasoning_content` as other gateways give them, `native_finish_reason`, and
`extra_content.google.thought_signature` as Google's OpenAI-compatible endpoint does.
"""

import math
from collections.abc import Iterable
from typing import Final, assert_never

import msgspec

from broker.translate.blob import Base64, written
from broker.translate.data_url import join_data_url
from broker.translate.exchange import Reply
from broker.translate.ir import (
    Answer,
    CalledTool,
    Choice,
    Event,
    Failed,
    Failure,
    FailureKind,
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
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.sse import DONE, encode_event

_JSON: Final = msgspec.json.Encoder()
_TEXT: Final = b'{"index":0,"delta":{"content":'
_TEXT_END: Final = b'},"logprobs":null,"finish_reason":null}'
_Object = dict[str, object]

_ERROR_TYPES = {
    FailureKind.BAD_REQUEST: "invalid_request_error",
    FailureKind.TOO_LARGE: "invalid_request_error",
    FailureKind.AUTHENTICATION: "authentication_error",
    FailureKind.PERMISSION: "permission_error",
    FailureKind.NOT_FOUND: "invalid_request_error",
    FailureKind.RATE_LIMITED: "rate_limit_error",
    FailureKind.QUOTA_EXHAUSTED: "rate_limit_error",
    FailureKind.OVERLOADED: "server_error",
    FailureKind.TIMEOUT: "server_error",
    FailureKind.SERVER: "server_error",
}


def encode_error(failure: Failure) -> bytes:
    """Return the error object; `reset_seconds` and `help_url` are added where known."""
    error: _Object = {
        "message": failure.message,
        "type": _ERROR_TYPES[failure.kind],
        "param": failure.param,
        "code": "model_not_found" if failure.kind is FailureKind.NOT_FOUND else failure.reason or failure.code,
    }
    if failure.retry_after is not None:
        error["reset_seconds"] = math.ceil(failure.retry_after)
    if failure.help_url is not None:
        error["help_url"] = failure.help_url
    return _JSON.encode({"error": error})


def encode_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the `chat.completion` object."""
    return written(
        {
            "id": answer.id or f"chatcmpl-{reply.ids.id}",
            "object": "chat.completion",
            "created": answer.created or reply.ids.created,
            "model": reply.model,
            "choices": [_choice(choice) for choice in answer.choices],
            "usage": _usage(answer.usage or Usage()),
        }
    )


def _choice(choice: Choice) -> _Object:
    finished = choice.finished
    return {
        "index": choice.index,
        "message": _message(choice),
        "logprobs": {"content": [_logprob(p) for p in choice.logprobs], "refusal": None} if choice.logprobs else None,
        "finish_reason": finished.reason if finished else None,
        "native_finish_reason": finished.native if finished else None,
    }


def _message(choice: Choice) -> _Object:
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[_Object] = []
    calls: list[_Object] = []
    message: _Object = {"role": "assistant", "content": None}
    for part in choice.parts:
        match part:
            case Text():
                if part.text or part.signature is None:
                    texts.append(part.text)
                if part.signature is not None:
                    message.update(_extra(part.signature))
            case Thinking():
                thoughts.append(part.text)
            case Image(mime, data, signature):
                images.append(_image(len(images), mime, data, signature))
            case CalledTool():
                calls.append(_call(part))
            case _:
                assert_never(part)
    if texts:
        message["content"] = "".join(texts)
    if any(thoughts):
        message["reasoning_content"] = "".join(thoughts)
    if images:
        message["images"] = images
    if calls:
        message["tool_calls"] = calls
    return message


def _call(call: CalledTool) -> _Object:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function} | _extra(call.signature)


def _image(index: int, mime: str, data: Base64, signature: str | None) -> _Object:
    url = {"url": join_data_url(mime, data)}
    return {"type": "image_url", "index": index, "image_url": url} | _extra(signature)


def _extra(signature: str | None) -> _Object:
    return {} if signature is None else {"extra_content": {"google": {"thought_signature": signature}}}


def _token(token: TokenLogprob) -> _Object:
    return {"token": token.token, "logprob": token.logprob, "bytes": list(token.token.encode())}


def _logprob(entry: Logprob) -> _Object:
    return _token(entry.chosen) | {"top_logprobs": [_token(token) for token in entry.top]}


def _usage(usage: Usage) -> _Object:
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


class ChatStream:
    """One streamed answer (see `codecs.StreamEncoder`).

    The parts of a chunk that never change are encoded once; a text delta costs one small encode and one join.
    """

    __slots__ = ("_failed", "_head", "_images", "_include_usage", "_reply", "_spoken", "_tail", "_usage", "_voiced")

    def __init__(self, reply: Reply) -> None:
        """Begin."""
        self._reply = reply
        self._include_usage = reply.include_usage
        self._usage: Usage | None = None
        self._failed = False
        self._voiced: set[int] = set()  # choices whose role has been told
        self._spoken = False  # whether the first of them is among these
        self._images: dict[int, int] = {}
        self._head = self._tail = b""
        self._name(Started())

    def encode(self, events: Iterable[Event]) -> bytes:
        """Return the chunks for these events."""
        return b"".join([out for event in events if (out := self._one(event))])  # of one it is no copy

    def close(self) -> bytes:
        """Return the usage chunk, where asked for, and `[DONE]`; nothing after a failure."""
        if self._failed:
            return b""
        if not self._include_usage:
            return DONE
        usage = _JSON.encode(_usage(self._usage or Usage()))
        return b"".join((self._head, b'],"usage":', usage, b"}\n\n", DONE))

    def _one(self, event: Event) -> bytes:  # noqa: PLR0911 - one case an event
        match event:
            case TextDelta(text, 0, None) if self._spoken:
                # Nearly every chunk of nearly every stream: nothing but the text is new.
                return b"".join((self._head, _TEXT, _JSON.encode(text), _TEXT_END, self._tail))
            case TextDelta(text, choice, signature):
                # A signature with empty text is kept for the client to send back; it says nothing.
                said: _Object = {} if signature is not None and not text else {"content": text}
                return self._chunk(choice, said | _extra(signature))
            case ThinkingDelta(text, choice):
                return self._chunk(choice, {"reasoning_content": text}) if text else b""
            case ToolCallDelta(index, arguments, choice):
                return self._chunk(choice, {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]})
            case ToolCallStarted():
                return self._chunk(event.choice, {"tool_calls": [_call_opened(event)]})
            case ImagePart():
                return b"" if event.draft else self._image(event)
            case Usage():
                self._usage = event
                return b""
            case Finished():
                return self._chunk(event.choice, {}, event)
            case LogprobsDelta():
                return self._logprobs(event)
            case Started():
                self._name(event)
                return b""
            case Failed():
                self._failed = True
                return encode_event(encode_error(event.failure))
            case _:
                assert_never(event)

    def _name(self, started: Started) -> None:
        """Build the head of all chunks."""
        head = {
            "id": started.id or f"chatcmpl-{self._reply.ids.id}",
            "object": "chat.completion.chunk",
            "created": started.created or self._reply.ids.created,
            "model": self._reply.model,
        }
        self._head = b"data: " + _JSON.encode(head)[:-1] + b',"choices":['
        self._tail = b'],"usage":null}\n\n' if self._include_usage else b"]}\n\n"

    def _chunk(self, choice: int, delta: _Object, finished: Finished | None = None, logprobs: object = None) -> bytes:
        if choice not in self._voiced:
            self._voiced.add(choice)
            self._spoken = 0 in self._voiced
            delta = {"role": "assistant", "content": None, **delta}
        body: _Object = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": None}
        if finished is not None:
            body["finish_reason"] = finished.reason
            body["native_finish_reason"] = finished.native
        return written(body, self._head, self._tail)

    def _image(self, event: ImagePart) -> bytes:
        index = self._images.get(event.choice, 0)
        self._images[event.choice] = index + 1
        image = _image(index, event.mime, event.data, event.signature)
        return self._chunk(event.choice, {"content": None, "images": [image]})

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        entries = {"content": [_logprob(p) for p in event.tokens], "refusal": None}
        return self._chunk(event.choice, {}, logprobs=entries)


def _call_opened(event: ToolCallStarted) -> _Object:
    function = {"name": event.name, "arguments": ""}
    return {"index": event.index, "id": event.id, "type": "function", "function": function} | _extra(event.signature)
