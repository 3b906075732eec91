"""`data:` URLs (RFC 2397), base64 ones, and images that stand in one or behind another.

Owns: taking one apart and putting one together. It must never decode the content: it may be 20 MB, and nobody here needs it.
"""

from broker.translate.blob import Base64, Blob
from broker.translate.fields import bad_field
from broker.translate.ir import Image, ImageLink

_LONGEST_HEAD = 1024  # up to the comma
_SYNONYMS = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/mp3": "audio/mpeg"}


def is_data_url(text: Base64) -> bool:
    """Tell whether a text is a `data:` URL, by its scheme."""
    return _begins(text, 5).lower() == "data:"


def split_data_url(url: Base64, path: str) -> tuple[str, Base64]:
    """Return media type (lower case, without parameters) and base64 text.

    Raises:
        BrokerError: `bad_request` naming `path` where it is no `data:` URL, not base64, has no media type or is empty.
    """
    begins = _begins(url, _LONGEST_HEAD)
    comma = begins.find(",")
    head = begins[:comma]
    if comma < 0 or head[:5].lower() != "data:":
        bad_field(path, "expected a data: URL with base64 content (data:image/png;base64,...)")
    mime, *parameters = head[5:].lower().split(";")
    if "base64" not in (p.strip() for p in parameters):
        bad_field(path, "the data: URL must be marked ;base64")
    mime = mime.strip()
    if "/" not in mime:
        bad_field(path, "the data: URL names no media type")
    data = url.after(comma + 1) if isinstance(url, Blob) else url[comma + 1 :]
    if not data:
        bad_field(path, "the data: URL holds no data")
    return _SYNONYMS.get(mime, mime), data


def join_data_url(mime: str, data: Base64) -> Base64:
    """Return the `data:` URL of base64 text."""
    head = f"data:{mime};base64,"
    return data.headed(head) if isinstance(data, Blob) else head + data


def image_at(url: Base64, path: str) -> Image | ImageLink:
    """Return the image an http(s) or a `data:` URL stands for; `path` is where the URL stands in the client's body.

    Raises:
        BrokerError: `bad_request`, as `split_data_url`.
    """
    if _begins(url, 8).lower().startswith(("http://", "https://")):
        return ImageLink(str(url), path)
    return Image(*split_data_url(url, path))


def _begins(text: Base64, length: int) -> str:
    return text.begins(length) if isinstance(text, Blob) else text[:length]
