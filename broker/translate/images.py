"""Images as OpenAI's clients ask for them, for upstreams that make them in a conversation.

Owns: reading `POST /v1/images/generations` and `/edits` (JSON or a form) into an `ir.Request`, and writing the answer. What has no counterpart there and would
change the image is refused; the rest is left out (docs/proxy.md says what). It must never decode an image, nor fetch one.

Sources: platform.openai.com/docs/api-reference/images; the shapes of images: ai.google.dev/gemini-api/docs/image-generation.
"""

import base64
import math
import re
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

from broker.translate.blob import Base64, written
from broker.translate.data_url import image_at, join_data_url
from broker.translate.fields import bad_field, read, shaped
from broker.translate.ir import (
    Answer,
    Failure,
    FailureKind,
    FinishReason,
    Image,
    ImageLink,
    ImageOptions,
    Message,
    Request,
    Role,
    Text,
    Value,
)
from broker.translate.multipart import Part, split_form

_RATIOS: Final = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
_PIXELS: Final = {None: 1024 * 1024, "2K": 2048 * 2048, "4K": 4096 * 4096}  # None: 1K, which is what is made unasked
_SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)
_FORMATS: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
_WORDS_TOLD: Final = 500
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)


class Drawing(Value, frozen=True):
    """A request for an image, understood, and whether its client wants a URL."""

    request: Request
    as_url: bool = False


class FormHead(Value, frozen=True):
    """What must be known of a form to send it on: its model, where that stands, and whether it asks for a stream."""

    model: str
    place: Part
    stream: bool = False


class _Reference(msgspec.Struct):
    image_url: str | None = None
    file_id: str | None = None


class _Asked(msgspec.Struct):
    model: str
    prompt: str
    n: int | None = None
    size: str | None = None
    response_format: str | None = None
    output_format: str | None = None
    background: str | None = None
    stream: bool | None = None
    mask: object = None
    markup: object = None
    images: list[_Reference] | None = None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int


class _Made(msgspec.Struct, omit_defaults=True):
    b64_json: Base64 | None = None
    url: Base64 | None = None


class _Answer(msgspec.Struct):
    created: int
    data: list[_Made]
    output_format: str | msgspec.UnsetType = msgspec.UNSET
    usage: _Usage | msgspec.UnsetType = msgspec.UNSET


_ASKED: Final = msgspec.json.Decoder(_Asked)


def decode_generation(body: bytes) -> Drawing:
    """Understand a request for a new image.

    Raises:
        BrokerError: `bad_request` naming the field.
    """
    return _drawing(read(_ASKED, body), ())


def decode_edit(body: bytes) -> Drawing:
    """Understand a request in JSON to change images; they stand in `data:` URLs.

    Raises:
        BrokerError: `bad_request` naming the field.
    """
    asked = read(_ASKED, body)
    if not asked.images:
        bad_field("images", "is required")
    return _drawing(asked, [_referred(each, f"images[{at}]") for at, each in enumerate(asked.images)])


def decode_form(body: bytes, content_type: str) -> Drawing:
    """Understand a form to change images.

    Raises:
        BrokerError: `bad_request` naming the field.
    """
    texts: dict[str, object] = {}
    images: list[Image] = []
    for part in split_form(body, content_type):
        if part.name in ("image", "image[]"):
            images.append(_uploaded(body, part))
        elif part.name in texts:
            bad_field(part.name, "is there twice")
        else:
            texts[part.name] = True if part.filename is not None else _text(body, part)
    texts.pop("images", None)
    if not images:
        bad_field("image", "is required")
    return _drawing(shaped(_Asked, texts), images)


def form_head(body: bytes, content_type: str) -> FormHead:
    """Read what must be known of a form to send it on.

    Raises:
        BrokerError: `bad_request` naming the field.
    """
    parts = split_form(body, content_type)
    named = [part for part in parts if part.name == "model"]
    if len(named) != 1:
        bad_field("model", "is there twice" if named else "is required")
    model = _text(body, named[0])
    if not model.strip():
        bad_field("model", "must not be empty")
    stream = any(part.name == "stream" and _text(body, part).lower() in ("true", "1") for part in parts)
    return FormHead(model, named[0], stream)


def encode_answer(answer: Answer, created: int, *, as_url: bool) -> bytes | Failure:
    """Return the answer, or why there is no image; `created` is seconds since the epoch."""
    images = [part for choice in answer.choices for part in choice.parts if isinstance(part, Image)]
    if not images:
        return _refusal(answer)
    made = [_Made(url=join_data_url(each.mime, each.data)) if as_url else _Made(each.data) for each in images]
    told = answer.usage
    usage = _Usage(told.prompt, told.completion, told.total) if told is not None else msgspec.UNSET
    return written(_Answer(created, made, _FORMATS.get(images[0].mime, msgspec.UNSET), usage))


def _drawing(asked: _Asked, images: Sequence[Image | ImageLink]) -> Drawing:
    _check(asked)
    ratio, size = _shape(asked.size)
    request = Request(
        model=asked.model,
        messages=(Message(Role.USER, (*images, Text(asked.prompt))),),
        asked_model=asked.model,
        image=ImageOptions(("image",), ratio, size),
    )
    return Drawing(request, asked.response_format == "url")


def _check(asked: _Asked) -> None:
    if not asked.prompt.strip():
        bad_field("prompt", "must not be empty")
    if asked.n not in (None, 1):
        _no_counterpart("n", "makes one image a request; ask once for each")
    if asked.stream:
        _no_counterpart("stream", "shows no unfinished images; ask for the whole answer")
    if asked.mask is not None or asked.markup is not None:
        where = "mask" if asked.mask is not None else "markup"
        _no_counterpart(where, "takes none; say in the prompt what to change")
    if asked.background == "transparent":
        _no_counterpart("background", "has no setting for it")
    if asked.response_format not in (None, "b64_json", "url"):
        bad_field("response_format", "expected b64_json or url")
    if asked.output_format not in (None, *_FORMATS.values()):
        bad_field("output_format", "expected png, jpeg or webp")


def _no_counterpart(path: str, why: str) -> NoReturn:
    bad_field(path, f"the provider of this model {why}")


def _shape(size: str | None) -> tuple[str | None, str | None]:
    """Return the ratio of sides and the size that come nearest; None for what need not be said."""
    if size in (None, "auto"):
        return None, None
    sides = _SIZE.fullmatch(size or "")
    if sides is None:
        bad_field("size", "expected WIDTHxHEIGHT or auto")
    width, height = int(sides[1]), int(sides[2])
    ratio = min(_RATIOS, key=lambda each: abs(math.log(width / height) - math.log(_quotient(each))))
    return ratio, min(_PIXELS, key=lambda each: abs(math.log(width * height / _PIXELS[each])))


def _quotient(ratio: str) -> float:
    wide, _, high = ratio.partition(":")
    return int(wide) / int(high)


def _referred(reference: _Reference, path: str) -> Image | ImageLink:
    if reference.image_url is None:
        bad_field(path, "files lie with OpenAI; send the image as a data: URL in image_url")
    return image_at(reference.image_url, f"{path}.image_url")


def _uploaded(body: bytes, part: Part) -> Image:
    data = body[part.start : part.end]
    mime = part.mime if part.mime is not None and part.mime.startswith("image/") else None
    mime = mime or next((name for magic, name in _MAGIC if magic.match(data)), None)
    if not data or mime is None:
        bad_field("image", "is no image whose format is known; name its type in the part's Content-Type")
    return Image(mime, base64.b64encode(data).decode("ascii"))


def _text(body: bytes, part: Part) -> str:
    try:
        return body[part.start : part.end].decode()
    except UnicodeDecodeError:
        bad_field(part.name, "is no UTF-8 text")


def _refusal(answer: Answer) -> Failure:
    ended = next((choice.finished for choice in answer.choices if choice.finished is not None), None)
    filtered = ended is not None and ended.reason is FinishReason.CONTENT_FILTER
    native = ended.native if ended is not None else None
    said = "".join(part.text for choice in answer.choices for part in choice.parts if isinstance(part, Text))
    message = f"no image was made{f' ({native})' if native else ''}{f': {said[:_WORDS_TOLD]}' if said.strip() else ''}"
    reason = "content_policy_violation" if filtered else "no_image"
    return Failure(400, FailureKind.BAD_REQUEST, message, code=native, reason=reason)
