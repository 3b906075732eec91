"""`login`: follow one login from its URL to the account.

Owns: what the person sees and may type meanwhile. The daemon runs the login; where none runs, `broker.cli.temporary` starts one for as long as it takes.
"""

import os
import select
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from broker.cli import output
from broker.cli.options import PROVIDER, SecondsParameter, ask, json_option
from broker.cli.results import LoggedIn
from broker.cli.token import quote
from broker.cli.wording import clean, span
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from broker.ipc.schema import LoginStart, LoginView

# How long one question "has it moved on?" may wait: also how late a pasted line may be noticed.
_POLL_SECONDS = 1.0
_START_SECONDS = 30.0
_FINISH_SECONDS = 60.0
_OPEN_STATES = frozenset({"waiting", "finishing"})
_DEVICE = "device"
_BY_ITSELF = "client-credentials"


@click.command()
@click.argument("provider", type=PROVIDER)
@click.option(
    "--no-browser", is_flag=True, help="Open no browser: print the URL and take the pasted callback URL or code."
)
@click.option(
    "--device", is_flag=True, help="Approve on another screen, with a code shown here: the same as --flow device."
)
@click.option(
    "--flow",
    metavar="NAME",
    help="The way to log in, where the provider has several: code, device or client-credentials.",
)
@click.option("--no-qr", is_flag=True, help="Draw no QR code of the address to open.")
@click.option("--label", help="Name of the account; by default its e-mail address.")
@click.option("--project", help="Google Cloud project to use; by default the one the provider finds.")
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the provider (region=eu-west-1); repeat for several.",
)
@click.option(
    "--timeout",
    type=SecondsParameter(1, 3600),
    default=300.0,
    show_default=True,
    help="For you to finish.",
)
@json_option
def login(
    provider: str,
    *,
    no_browser: bool,
    device: bool,
    flow: str | None,
    no_qr: bool,
    label: str | None,
    project: str | None,
    options: tuple[str, ...],
    timeout: float,
) -> LoggedIn:
    """Log in at PROVIDER in your browser. Works with and without a running daemon.

    PROVIDER is antigravity, claude, codex, gemini, github-copilot, iflow, kimi, kiro, qwen, xai, or one of your config.
    """
    from broker.cli.temporary import broker_socket
    from broker.ipc.schema import LoginStart

    if device and flow not in (None, _DEVICE):
        raise click.BadOptionUsage("flow", "--device and --flow contradict each other")
    flow = _DEVICE if device else flow
    start = LoginStart(
        provider=provider, label=label, flow=flow, project=project, timeout=timeout, options=_options(options)
    )
    with ExitStack() as stack:
        desk = _Desk(broker_socket(stack))
        view, listens = _begun(desk, start, no_browser=no_browser)
        for note in view.notes:
            output.notice(clean(note))
        try:
            paste = view.flow != _BY_ITSELF and (
                _introduce_device(view, no_browser=no_browser, qr=not no_qr)
                if view.flow == _DEVICE
                else _introduce(view, no_browser=no_browser, listens=listens)
            )
            view = _follow(desk, view, timeout, read_lines=paste)
        except BaseException:
            desk.cancel(view)
            raise
    return LoggedIn(view)


def _begun(desk: "_Desk", start: "LoginStart", *, no_browser: bool) -> "tuple[LoginView, bool]":
    """Start a login; return it, and whether its callback is waited for. Who opens no browser can do without: a port that is taken is no obstacle then."""
    import msgspec

    try:
        return desk.start(start), True
    except BrokerError as error:
        if not (no_browser and error.code is ErrorCode.LOGIN_FAILED and error.retryable):
            raise
        view = desk.start(msgspec.structs.replace(start, callback=False))
        if view.redirect_uri is not None:
            output.notice(f"No callback is waited for, as {clean(error.detail)}.")
        return view, False


def _options(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    if wrong := next((name for name, equals, _ in pairs if not (name and equals)), None):
        raise click.BadParameter(f"{wrong[:60]!r} is not NAME=VALUE", param_hint="--option")
    return {name: value for name, _, value in pairs}


class _Desk:
    """The login routes of one socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def start(self, message: object) -> "LoginView":
        return self._ask("POST", "", message, wait=_START_SECONDS)

    def wait(self, view: "LoginView", seconds: float) -> "LoginView":
        return self._ask("GET", f"/{quote(view.id)}?wait={seconds:g}", wait=seconds)

    def finish(self, view: "LoginView", text: str) -> "LoginView":
        from broker.ipc.schema import LoginCallback
        from broker.model.secret import Secret

        return self._ask("POST", f"/{quote(view.id)}/callback", LoginCallback(Secret(text)), wait=_FINISH_SECONDS)

    def cancel(self, view: "LoginView") -> None:
        with suppress(BrokerError):  # it may have ended by itself, and the daemon with it
            self._ask("DELETE", f"/{quote(view.id)}")

    def _ask(self, method: str, rest: str, message: object = None, *, wait: float = 0.0) -> "LoginView":
        from broker.ipc.schema import LoginView

        return ask(LoginView, method, f"/v1/logins{rest}", message, wait=wait, socket=self._socket)


def _introduce(view: "LoginView", *, no_browser: bool, listens: bool) -> bool:
    """Bring the person to the provider's page. Returns whether to take what they paste."""
    import asyncio

    from broker.login.browser import headless, open_browser

    url, redirect = view.url or "", urlsplit(view.redirect_uri or "")
    # A page of the provider's that shows the code, or another program's address, calls back nobody here.
    port = redirect.port if listens and redirect.scheme == "http" else None
    obstacle = headless(port)
    opened = not no_browser and obstacle is None and asyncio.run(open_browser(url))
    output.notice(
        "Your browser should open now. If it does not, open this page:" if opened else "Open this page in a browser:"
    )
    output.notice(f"\n  {clean(url)}\n")
    if opened and port is not None:
        return sys.stdin.isatty()
    if obstacle is not None:
        output.notice(f"No browser can open here: {obstacle.reason}.")
        if obstacle.tunnel is not None:
            output.notice(f"To open the page on another computer, run there first:\n\n  {clean(obstacle.tunnel)}\n")
    output.notice("Finish there, or paste here the address the browser ends on (or the code):")
    return True


def _introduce_device(view: "LoginView", *, no_browser: bool, qr: bool) -> bool:
    """Show where to go and the code to enter there. Returns that nothing is pasted."""
    import asyncio

    from broker.login.browser import headless, open_browser

    url, code = view.url or "", clean(view.user_code or "")
    opened = not no_browser and headless(None) is None and asyncio.run(open_browser(url))
    output.notice(
        "Your browser should open now. You can also open this page on any other device:"
        if opened
        else "Open this page in a browser, on this or any other device:"
    )
    output.notice(f"\n  {clean(url)}\n")
    if qr:
        _draw(url)
    output.notice("and enter this code there, or see that it shows the same:\n")
    output.notice("\n".join((*_letters(code), *_boxed(code), "")))
    return False


def _draw(url: str) -> None:
    """Draw the address for a phone, where a terminal is there to show it whole."""
    columns = output.columns()
    if columns is None or not output.can_show("▀▄█"):
        return
    from broker.cli.qr import drawing

    lines = drawing(url, columns)
    if lines is not None:
        output.notice("\n".join(lines) + "\n")


def _letters(code: str) -> list[str]:
    from broker.cli.lettering import large

    margin = "    "
    columns = output.columns()
    ink = "█" if output.can_show("█") else "#"
    lines = None if columns is None else large(code, columns - len(margin), ink)
    return [*(margin + line for line in lines), ""] if lines else []


def _boxed(code: str) -> list[str]:
    """The code once more, to be copied; and where the letters are too large, to be read."""
    edge = f"    +{'-' * (len(code) + 6)}+"
    return [edge, f"    |   {code}   |", edge]


def _follow(desk: _Desk, view: "LoginView", timeout: float, *, read_lines: bool) -> "LoginView":
    from broker.ipc.schema import error_of
    from broker.system import SystemClock

    clock, progress = SystemClock(), output.Progress()
    started = clock.now()
    if view.expires_at is not None:  # a device code may end before the person's time does
        timeout = min(timeout, view.expires_at - started.wall)
    lines = _Lines() if read_lines else None
    awaited = {_DEVICE: "you to approve", _BY_ITSELF: "the provider"}.get(view.flow, "you to log in")
    try:
        while view.state in _OPEN_STATES:
            left = max(timeout - (clock.now().boot - started.boot), 0.0)
            progress.show(f"Waiting for {awaited} ({span(left)} left)")
            if lines is not None and (text := lines.read()):
                progress.clear()
                view = _pasted(desk, view, text)
                continue
            view = desk.wait(view, _POLL_SECONDS)
    finally:
        progress.clear()
    if view.state == "done":
        return view
    assert view.problem is not None
    raise error_of(view.problem)


def _pasted(desk: _Desk, view: "LoginView", text: str) -> "LoginView":
    try:
        return desk.finish(view, text)
    except BrokerError as error:
        if error.code is not ErrorCode.BAD_REQUEST:
            raise
        output.notice(f"That is not it: {clean(error.detail)}.")
        return view


class _Lines:
    """Lines of stdin as they come, without waiting for them. Read below Python's buffer, whose content `select` does not see."""

    def __init__(self) -> None:
        self._descriptor: int | None = sys.stdin.fileno()
        self._bytes = b""

    def read(self) -> str:
        """Return the next line that has come, without the spaces around it; nothing where there is none yet."""
        while b"\n" not in self._bytes and self._descriptor is not None:
            if not select.select([self._descriptor], [], [], 0)[0]:
                return ""
            piece = os.read(self._descriptor, 4096)
            self._bytes += piece or b"\n"
            if not piece:
                self._descriptor = None
        line, _, self._bytes = self._bytes.partition(b"\n")
        return line.decode(errors="replace").strip()
