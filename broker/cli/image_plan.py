"""What the image client asks for, and what it makes of the answer.

Owns: the request body (OpenAI chat completions with `modalities` and `image_config`), reading whole and streamed answers, telling why there is no image, file
names, and the metadata document. Pure: `now` and the answer's text are passed in.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

RATIOS: Final = ("1:1", "3:4", "4:3", "9:16", "16:9")
SIZES: Final = ("1K", "2K", "4K")
DEFAULT_MODEL: Final = "gemini-3-pro-image-preview"

_EXTENSIONS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for."""

    prompt: str
    model: str = DEFAULT_MODEL
    aspect_ratio: str = RATIOS[0]
    size: str = SIZES[0]
    stream: bool = True


@dataclass(frozen=True, slots=True)
class Picture:
    """One image as it came."""

    mime: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """All that came: images in order, text, why the model stopped (`finish`, and the vendor's own word), and an error told inside the answer."""

    pictures: tuple[Picture, ...] = ()
    text: str = ""
    finish: str | None = None
    native_finish: str | None = None
    error: str | None = None
    usage: Mapping[str, object] | None = None


def body(wish: Wish) -> dict[str, object]:
    """Return the request body."""
    return {
        "model": wish.model,
        "messages": [{"role": "user", "content": wish.prompt}],
        "modalities": ["image", "text"],
        "image_config": {"aspect_ratio": wish.aspect_ratio, "image_size": wish.size},
        "stream": wish.stream,
    }


class Reading:
    """Puts an answer together, from one document or from the events of a stream."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._answer = Answer()

    @property
    def answer(self) -> Answer:
        """What has come so far."""
        return self._answer

    def whole(self, text: bytes) -> None:
        """Take a whole answer."""
        self._take(_object(text), "message")

    def event(self, data: bytes) -> None:
        """Take the `data` of one server-sent event."""
        if data.strip() != b"[DONE]":
            self._take(_object(data), "delta")

    def _take(self, document: Mapping[str, object], part: str) -> None:
        before = self._answer
        choice = _first(document.get("choices"))
        message = _mapping(choice.get(part))
        usage = document.get("usage")
        self._answer = Answer(
            pictures=(*before.pictures, *_pictures(message)),
            text=before.text + (_text(message.get("content")) or _text(message.get("refusal"))),
            finish=_text(choice.get("finish_reason")) or before.finish,
            native_finish=_text(choice.get("native_finish_reason")) or before.native_finish,
            error=error_of(document) or before.error,
            usage=usage if isinstance(usage, dict) else before.usage,
        )


def error_of(document: Mapping[str, object]) -> str | None:
    """Return the sentence of an error object in OpenAI's or Google's shape; None where there is none."""
    error = document.get("error")
    if isinstance(error, str):
        return error
    return (_text(_mapping(error).get("message")) or "an error without a message") if error else None


def refusal(text: bytes, status: int) -> str:
    """Return the sentence that tells an HTTP error answer, whatever its body is."""
    try:
        told = error_of(_object(text))
    except ValueError:
        told = None
    return f"the proxy answered {status}: {told or text[:200].decode(errors='replace').strip() or 'no reason given'}"


def missing(answer: Answer) -> str | None:
    """Return why there is no image, in one sentence; None where there is one."""
    if answer.error:
        return f"the model's answer broke off: {answer.error}"
    if answer.pictures:
        return None
    native = f" ({answer.native_finish})" if answer.native_finish else ""
    if answer.finish == "content_filter":
        return f"the request or its image was blocked by the provider's safety rules{native}"
    if answer.text:
        return f"the model answered with text only{native}"
    return f"the model sent neither image nor text{native or f' ({answer.finish})' if answer.finish else native}"


def picture_names(now: datetime, number: int, mime: str) -> Iterator[str]:
    """Yield the names the image of this number may get, best first, without end: `image_YYYYMMDD_HHMMSS_N` and its type's extension."""
    while True:
        yield f"image_{now:%Y%m%d_%H%M%S}_{number}{extension(mime)}"
        number += 1


def metadata_names(now: datetime) -> Iterator[str]:
    """Yield the names the metadata file may get, best first, without end."""
    stem = f"metadata_{now:%Y%m%d_%H%M%S}"
    yield f"{stem}.json"
    number = 1
    while True:
        number += 1
        yield f"{stem}_{number}.json"


def extension(mime: str) -> str:
    """Return the file extension of an image type; a type of no known and no plain name is taken for PNG, the default of the format."""
    subtype = mime.removeprefix("image/")
    if mime in _EXTENSIONS:
        return _EXTENSIONS[mime]
    return f".{subtype}" if subtype.isascii() and subtype.isalnum() and subtype != mime else ".png"


def metadata(wish: Wish, answer: Answer, files: tuple[str, ...], now: datetime, seconds: float) -> dict[str, object]:
    """Return the metadata document: what was asked, what came, when."""
    return {
        "version": 1,
        "created": now.isoformat(timespec="seconds"),
        "prompt": wish.prompt,
        "model": wish.model,
        "options": {"aspect_ratio": wish.aspect_ratio, "image_size": wish.size},
        "files": list(files),
        "mime_types": [picture.mime for picture in answer.pictures],
        "text": answer.text,
        "finish_reason": answer.finish,
        "usage": dict(answer.usage) if answer.usage else None,
        "seconds": round(seconds, 3),
    }


def _object(text: bytes) -> Mapping[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what json.loads raises, for one `except`
    return value


def _first(choices: object) -> Mapping[str, object]:
    return _mapping(choices[0]) if isinstance(choices, list) and choices else {}


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _pictures(message: Mapping[str, object]) -> Iterator[Picture]:
    images = message.get("images")
    for item in images if isinstance(images, list) else ():
        picture = _picture(_text(_mapping(_mapping(item).get("image_url")).get("url")))
        if picture is not None:
            yield picture


def _picture(url: str) -> Picture | None:
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64") or not comma:
        return None
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    mime = head.removeprefix("data:").removesuffix(";base64").lower() or "image/png"
    return Picture(mime, decoded) if decoded else None
