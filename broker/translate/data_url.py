"""`data:` URLs (RFC 2397), base64 ones, and images that stand in one or behind another.

Owns: taking one apart and putting one together. It must never decode the content: it may be 20 MB, and nobody here needs it.
"""

from broker.translate.fields import bad_field
from broker.translate.ir import Image, ImageLink

_SYNONYMS = {"image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/mp3": "audio/mpeg"}


def split_data_url(url: str, path: str) -> tuple[str, str]:
    """Return media type (lower case, without parameters) and base64 text.

    Raises:
        BrokerError: `bad_request` naming `path` where it is no `data:` URL, not base64, has no media type or is empty.
    """
    comma = url.find(",", 0, 1024)
    head = url[:comma]
    if comma < 0 or head[:5].lower() != "data:":
        bad_field(path, "expected a data: URL with base64 content (data:image/png;base64,...)")
    mime, *parameters = head[5:].lower().split(";")
    if "base64" not in (p.strip() for p in parameters):
        bad_field(path, "the data: URL must be marked ;base64")
    mime = mime.strip()
    if "/" not in mime:
        bad_field(path, "the data: URL names no media type")
    if len(url) == comma + 1:
        bad_field(path, "the data: URL holds no data")
    return _SYNONYMS.get(mime, mime), url[comma + 1 :]


def join_data_url(mime: str, data: str) -> str:
    """Return the `data:` URL of base64 text."""
    return f"data:{mime};base64,{data}"


def image_at(url: str, path: str) -> Image | ImageLink:
    """Return the image an http(s) or a `data:` URL stands for; `path` is where the URL stands in the client's body.

    Raises:
        BrokerError: `bad_request`, as `split_data_url`.
    """
    if url[:8].lower().startswith(("http://", "https://")):
        return ImageLink(url, path)
    return Image(*split_data_url(url, path))
