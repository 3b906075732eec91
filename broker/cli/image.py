"""`image`: ask the proxy for an image and save it.

Owns: the options and where the key comes from. `image_plan` is the request and the answer, `image_client` the HTTP and the files.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from broker.cli.image_plan import DEFAULT_MODEL, RATIOS, SIZES, Wish
from broker.cli.options import SecondsParameter, json_option, load_config
from broker.cli.results import ImageFailed, Images
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret

if TYPE_CHECKING:
    from broker.cli.image_client import Door
    from broker.config import ProxyConfig

_KEY_VARIABLE = "CCS_BROKER_API_KEY"
_MAX_KEY_BYTES = 4096


@click.command()
@click.argument("prompt", nargs=-1, required=True)
@click.option("--model", default=DEFAULT_MODEL, show_default=True, help="The image model.")
@click.option("--aspect-ratio", type=click.Choice(RATIOS), default=RATIOS[0], show_default=True, help="Its shape.")
@click.option(
    "--size",
    type=click.Choice(SIZES, case_sensitive=False),
    metavar=f"[{'|'.join(SIZES)}]",
    default=SIZES[0],
    show_default=True,
    help="Its size.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("generated_images"),
              show_default=True, help="The folder to save in.")  # fmt: skip
@click.option("--stream/--no-stream", default=True, show_default=True, help="Receive the answer as it comes, or whole.")
@click.option("--url", help="Base URL of the proxy; by default the one of the config.")
@click.option("--api-key-file", type=click.Path(dir_okay=False, path_type=Path),
              help=f"File with the proxy's key; else {_KEY_VARIABLE}, else the key for programs on this machine.")  # fmt: skip
@click.option(
    "--timeout",
    type=SecondsParameter(1),
    default=600.0,
    show_default=True,
    help="For the whole answer.",
)
@json_option
def image(
    prompt: tuple[str, ...],
    model: str,
    aspect_ratio: str,
    size: str,
    out: Path,
    *,
    stream: bool,
    url: str | None,
    api_key_file: Path | None,
    timeout: float,
) -> Images | ImageFailed:
    """Make an image of PROMPT and save it with its metadata."""
    text = " ".join(prompt).strip()
    if not text:
        raise click.UsageError("PROMPT is empty: say what the image should show.")
    wish = Wish(text, model, aspect_ratio, size, stream)
    return _make(wish, out, _door(load_config().proxy, url, api_key_file, timeout))


def _make(wish: Wish, out: Path, door: "Door") -> Images | ImageFailed:
    import asyncio

    from broker.cli import image_client, image_plan, output
    from broker.cli.wording import progress_line
    from broker.system import SystemClock

    clock, progress = SystemClock(), output.Progress()
    started = clock.now().boot
    try:
        answer = asyncio.run(
            image_client.ask(
                door, wish, clock, lambda elapsed, got: progress.show(progress_line("Making the image", elapsed, got))
            )
        )
    finally:
        progress.clear()
    seconds = clock.now().boot - started
    if isinstance(answer, image_client.Refused):
        return ImageFailed(answer.detail, wish.model, status=answer.status)
    if (why := image_plan.missing(answer)) is not None:
        return ImageFailed(why, wish.model, text=answer.text)
    files, metadata = image_client.save(answer, wish, out, clock, seconds)
    return Images(tuple(map(str, files)), str(metadata), wish.model, answer.text, round(seconds, 3))


def _door(config: "ProxyConfig", given_url: str | None, key_file: Path | None, timeout: float) -> "Door":
    from broker.cli.image_client import Door, check_door
    from broker.cli.wording import url
    from broker.config import INTERNAL_KEY

    given = _key_of(key_file) if key_file else Secret(os.environ.get(_KEY_VARIABLE, ""))
    base = (given_url or url(config.host, config.port)).rstrip("/").removesuffix("/v1")
    check_door(base, own_key=bool(given))
    return Door(base, given or Secret(INTERNAL_KEY), timeout)


def _key_of(file: Path) -> Secret:
    try:
        with file.open(encoding="utf-8") as source:
            key = source.read(_MAX_KEY_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BrokerError(
            ErrorCode.BAD_REQUEST, f"{file}: {getattr(error, 'strerror', None) or 'not text'}", hint=""
        ) from None
    if not key or not key.isascii() or not key.isprintable():
        raise BrokerError(ErrorCode.BAD_REQUEST, f"{file} holds no key", hint="Write the key alone into it.")
    return Secret(key)
