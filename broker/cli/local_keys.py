"""`key`: keys that open the proxy, made here.

Owns: making one, and the words for its limits. Only its digest is kept; the key itself is on stdout once, and nowhere else. Running proxies see the change by
themselves.
"""

import re
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from broker import paths
from broker.cli.options import json_option, wall_now
from broker.cli.results import KeyLine, KeyMade, KeyRevoked, LocalKeys
from broker.model.errors import BrokerError, ErrorCode

if TYPE_CHECKING:
    from broker.proxy.keys import LocalKey

_MAX_GLOB = 200
_MAX_RPM = 1_000_000
_MAX_SECONDS = 100 * 365 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class DurationParameter(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.4 on, and not subscriptable before
    """A length of time: `90d`, `12h`."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        found = re.fullmatch(r"([1-9][0-9]{0,9})([smhdw])", str(value))
        seconds = int(found[1]) * _UNITS[found[2]] if found else 0
        if not 0 < seconds <= _MAX_SECONDS:
            self.fail("write a number and s, m, h, d or w, as 90d; at most 100 years", param, ctx)
        return seconds


class GlobParameter(click.ParamType):  # type: ignore[type-arg]  # as above
    """A model's name, or a glob."""

    name = "glob"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what can match no model."""
        if not value or len(value) > _MAX_GLOB or not value.isprintable() or " " in value:
            self.fail("write a model's name, or a pattern as claude-* or gemini/*", param, ctx)
        return value


class KeyNameParameter(click.ParamType):  # type: ignore[type-arg]  # as above
    """The name of a key."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        """Offer the keys there are; none where their file cannot be used."""
        from broker.proxy.keyfile import read

        try:
            keys = read(paths.local_keys_file())
        except BrokerError:
            return []
        return [CompletionItem(each.name) for each in keys if each.name.startswith(incomplete)]


@click.group(short_help="Make and revoke keys that open the proxy.")
def key() -> None:
    """Keys that open the proxy: one for each program or person, with limits of its own."""


@key.command()
@click.argument("name")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=GlobParameter(),
    metavar="GLOB",
    help="Models it opens, as claude-* or gemini/*; repeat for several. By default all.",
)
@click.option("--rpm", type=click.IntRange(1, _MAX_RPM), metavar="N", help="Requests a minute. By default any number.")
@click.option("--expires", type=DurationParameter(), help="How long it opens, as 90d or 12h. By default for ever.")
@json_option
def add(name: str, *, models: tuple[str, ...], rpm: int | None, expires: int | None) -> KeyMade:
    """Make the key NAME and print it: this once, as only its digest is kept."""
    from broker.cli import output
    from broker.proxy.keyfile import change
    from broker.proxy.keys import NAME, PREFIX, RANDOM_BYTES, LocalKey, digest_of, free_slot
    from broker.proxy.usage_table import RESERVED
    from broker.system import SystemChance

    if name in RESERVED:
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"{name!r} is what usage is counted under that no local key had",
            hint="Choose another name.",
        )
    if not NAME.fullmatch(name):
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"{name[:80]!r} cannot be the name of a key",
            hint="Up to 64 letters, digits, '.', '_', '@' and '-', the first a letter or a digit.",
        )
    text = PREFIX + SystemChance().token(RANDOM_BYTES)
    now = int(wall_now())
    ends = None if expires is None else now + expires
    made: list[LocalKey] = []

    def put(keys: "tuple[LocalKey, ...]") -> "tuple[LocalKey, ...]":
        if any(each.name == name for each in keys):
            hint = f"Choose another name, or first: ccs-broker key revoke {name}"
            raise BrokerError(ErrorCode.BAD_REQUEST, f"there is a key {name!r} already", hint=hint)
        slot = free_slot(keys)
        if slot is None:
            raise BrokerError(ErrorCode.BAD_REQUEST, f"there are {len(keys)} keys, and no more can be kept", hint="")
        made.append(
            LocalKey(name=name, sha256=digest_of(text), slot=slot, created=now, models=models, rpm=rpm, expires=ends)
        )
        return (*keys, *made)

    change(paths.local_keys_file(), put)
    output.notice(f"Key {name}. It is shown this once:")
    return KeyMade(_line(made[0], now), text)


@key.command("list")
@json_option
def list_keys() -> LocalKeys:
    """List the keys made here, with their limits. The keys themselves are not known any more."""
    from broker.proxy.keyfile import read

    file, now = paths.local_keys_file(), wall_now()
    return LocalKeys(str(file), tuple(_line(each, now) for each in read(file)), now)


@key.command()
@click.argument("name", type=KeyNameParameter())
@json_option
def revoke(name: str) -> KeyRevoked:
    """Take the key NAME away. Requests with it are refused within a second; answers under way end as they would."""
    from broker.proxy.keyfile import change

    def drop(keys: "tuple[LocalKey, ...]") -> "tuple[LocalKey, ...]":
        left = tuple(each for each in keys if each.name != name)
        if len(left) == len(keys):
            listed = ", ".join(each.name for each in keys) or "none"
            raise BrokerError(ErrorCode.NOT_FOUND, f"there is no key {name[:80]!r}; there are: {listed}", hint="")
        return left

    change(paths.local_keys_file(), drop)
    return KeyRevoked(name)


def _line(made: "LocalKey", now: float) -> KeyLine:
    expired = made.expires is not None and now >= made.expires
    return KeyLine(made.name, made.models, made.rpm, made.created, made.expires, expired=expired)
