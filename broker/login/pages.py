"""The pages a browser shows at the end of a login.

Owns: their text and the headers they go out with. Pure. No page holds a code, a state, a token or anything that came with the request; none loads
or runs anything.
"""

import base64
import hashlib
import html
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1.05rem/1.6 system-ui,sans-serif;max-width:34rem;margin:16vh auto 0;padding:0 1.5rem}"
    "h1{font-size:1.5rem;line-height:1.25;margin:0 0 .75rem;padding-left:.9rem;border-left:.35rem solid}"
    ".good{border-color:#1a8f4a}.bad{border-color:#c4372b}.wait{border-color:#b7791f}"
    "p{margin:.5rem 0}.small{opacity:.7;font-size:.9rem;margin-top:2rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = MappingProxyType(
    {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        # The address of the page holds the code; no other site may learn it.
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": (
            f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Connection": "close",
    }
)


class Tone(StrEnum):
    """How a page looks."""

    GOOD = "good"
    BAD = "bad"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the HTTP status it goes out with."""

    status: int
    tone: Tone
    title: str
    sentences: tuple[str, ...]

    def render(self) -> bytes:
        """Return the HTML."""
        title = html.escape(self.title)
        paragraphs = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<meta name="robots" content="noindex"><title>{title}</title><style>{_STYLE}</style></head>'
            f'<body><main><h1 class="{self.tone}">{title}</h1>{paragraphs}'
            f'<p class="small">ccs-broker, on this computer</p></main></body></html>'
        ).encode()


def succeeded(title: str, account: str, notes: tuple[str, ...]) -> Page:
    """Return the page of a login that is stored."""
    return Page(
        200, Tone.GOOD, "You are logged in", (f"{title} is ready as {account}.", *notes, "You can close this tab.")
    )


def pending() -> Page:
    """Return the page of a login whose last steps take longer than a browser should wait."""
    return Page(
        200,
        Tone.WAIT,
        "Almost done",
        (
            "The provider has sent you back and the account is being set up.",
            "Your terminal shows how it ends. You can close this tab.",
        ),
    )


def failed(reason: str, hint: str) -> Page:
    """Return the page of a login that ended badly."""
    return Page(200, Tone.BAD, "The login did not work", (f"{_sentence(reason)}", hint, "You can close this tab."))


def wrong_state() -> Page:
    """Return the page for a callback that does not belong to the login under way."""
    return Page(
        400,
        Tone.BAD,
        "This page does not belong to the login under way",
        (
            "It may be from an earlier attempt, or another site may have sent you here. Nothing was changed.",
            "Use the newest address that the login printed.",
        ),
    )


def ended() -> Page:
    """Return the page for a callback after the login has ended."""
    return Page(410, Tone.BAD, "This login has already ended", ("Its address works once. You can close this tab.",))


def not_here() -> Page:
    """Return the page for any other address."""
    return Page(404, Tone.BAD, "Nothing is here", ("This address only takes the end of a login.",))


def not_allowed() -> Page:
    """Return the page for a request that no browser at the end of a login makes."""
    return Page(403, Tone.BAD, "Not allowed", ("This address only takes the end of a login, opened on this computer.",))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
