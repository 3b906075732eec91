"""What the judging upstreams share: a server on loopback, the requests it saw, and a model that does what the prompt spells out.

The model is not clever, so that a whole conversation is known from its first message. `call NAME {"json": 1}` in a prompt, NAME being one of the tools,
is done; what tools said is repeated (`Result of NAME: ...`), and so is every other prompt (`Echo: ...`), with what images came along (`[image/png 70 bytes]`).
The sandbox's Gemini reads prompts the same way, so one prompt has one meaning, whichever upstream it reaches.
"""

import base64
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self

from aiohttp import web

_CALL = re.compile(r"\bcall\s+([A-Za-z_][A-Za-z0-9_-]*)\s*(?=\{)")
_MAGIC = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_ECHOED = 20_000


class RefusedError(Exception):
    """A request the service would not take; the text is its message."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class Seen:
    """A request as it came, without what let it in, and why it was refused."""

    path: str
    body: Any
    refused: str | None = None


@dataclass
class JudgingServer:
    """Runs while entered. Subclasses say what they serve, judge and answer."""

    key: str = "fake-upstream-key"
    seen: list[Seen] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def take(self, request: web.Request) -> Seen:
        """Keep a request."""
        seen = Seen(request.path_qs, json.loads(await request.read() or b"null"))
        self.seen.append(seen)
        return seen


def refuse(why: str, status: int = 400) -> NoReturn:
    raise RefusedError(why, status)


def calls(prompt: str, names: Collection[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the calls a prompt spells out."""
    found = []
    for match in _CALL.finditer(prompt):
        if match[1] in names:
            arguments, _ = json.JSONDecoder().raw_decode(prompt, match.end())
            found.append((match[1], arguments))
    return found


def echo(prompt: str, images: list[str]) -> str:
    """Return what is said to a prompt that asks for nothing, `images` being what was seen of each."""
    return " ".join(["Echo:", prompt.strip()[-_ECHOED:], *images])


def result(name: str, text: str, images: list[str]) -> str:
    """Return what is said about what a tool said."""
    return " ".join([f"Result of {name}:", text.strip()[-_ECHOED:], *images])


def picture(mime: str, data: str) -> str:
    """Look at an image in base64; return what is said of it."""
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        refuse("Invalid base64 image data")
    if mime not in _MAGIC:
        refuse(f"Unsupported image type: {mime}")
    if not raw.startswith(_MAGIC[mime]):
        refuse(f"The image was specified using the {mime} media type, but does not appear to be one")
    return f"[{mime} {len(raw)} bytes]"


def pieces(text: str) -> list[str]:
    """Cut a text into the pieces of a stream."""
    return re.findall(r"\S+\s*|\s+", text)


def check_schema(schema: Any, place: str) -> None:
    """Refuse what is no JSON schema, in the ways in which one vendor's is none to another."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        refuse(f"{place}: a schema must be an object or boolean")
    kinds = schema.get("type", [])
    if unknown := set(kinds if isinstance(kinds, list) else [kinds]) - _TYPES:
        refuse(f"{place}: {min(unknown)!r} is not valid under any of the given schemas")
    if "nullable" in schema:
        refuse(f"{place}: nullable is OpenAPI's, not JSON schema's")
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        refuse(f"{place}: properties must be an object, required a list")
    for name, inner in properties.items():
        check_schema(inner, f"{place}.{name}")
    if "items" in schema:
        check_schema(schema["items"], f"{place}.items")
    for word in ("anyOf", "oneOf", "allOf"):
        for index, inner in enumerate(schema.get(word, [])):
            check_schema(inner, f"{place}.{word}[{index}]")
