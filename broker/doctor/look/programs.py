"""Looking at other programs: those that renew logins too, and the files they keep their own logins in.

Owns: reading /proc and CLIProxyAPI's configs, and searching other programs' JSON for a refresh token of ours, by digest. No text of such a file leaves.
"""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from broker import paths
from broker.doctor.facts import AuthFile, ForeignCopy, Refresher
from broker.model.secret import Digest, Secret
from broker.providers.native.table import FORMATS

PROC = Path("/proc")
_REFRESHER = re.compile(r"cli-?proxy(-?api)?(-?plus)?([-_]?v?\d[\w.-]*)?", re.IGNORECASE)
_AUTH_DIR = re.compile(r"""^auth-dir:\s*(?:"([^"]*)"|'([^']*)'|([^#\n]*))""", re.MULTILINE)
_NAME = "CLIProxyAPI"
_CONFIG_BYTES = 1 << 20

# Where programs we do not know keep their logins: JSON in a hidden folder of the home, or in the folders of the XDG specification and of macOS.
_PLACES = (
    ".*/*.json", ".*/.*.json", ".*/*/*.json", ".config/*/*/*.json", ".local/share/*/*.json", ".local/share/*/*/*.json", ".aws/sso/cache/*.json",
    "Library/Application Support/*/*.json",
)  # fmt: skip
_MAX_FILES = 5000
_MAX_FILE_BYTES = 256 << 10
_MAX_TOTAL_BYTES = 64 << 20
_MIN_TOKEN = 16  # shorter texts are no tokens, and need no digest


def refreshers(env: Mapping[str, str], proc: Path = PROC) -> Iterator[Refresher]:
    """Find this user's running CLIProxyAPI, and the auth directory each was started with."""
    with contextlib.suppress(OSError):
        for folder in sorted(proc.iterdir(), key=lambda each: each.name):
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    yield from _refresher(folder, env)


def configured(directories: Sequence[Path], env: Mapping[str, str]) -> Iterator[Refresher]:
    """Find configs of CLIProxyAPI: where CCS writes them, and where it looks by itself."""
    for folder in dict.fromkeys((*(each.parent for each in directories), paths.home(env) / ".cli-proxy-api")):
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob("config*.yaml")):
                found = _auth_dir(path, env)
                if found is not None:
                    yield Refresher(None, _NAME, path, found)


def foreign_copies(files: Iterable[AuthFile], directories: Sequence[Path], env: Mapping[str, str]) -> list[ForeignCopy]:
    """Find other programs' files that hold the refresh token of an auth file."""
    ours = {file.refresh: file for file in files if file.refresh is not None}
    if not ours:
        return []
    own = {each.resolve() for each in (*directories, paths.state_dir(env))}
    # What CCS and we keep beside the auth directory are copies, moves and backups of our own files.
    own |= {each.parent.resolve() for each in directories}
    home = paths.home(env)
    found: list[ForeignCopy] = []
    seen: set[Path] = set()
    left = _MAX_TOTAL_BYTES
    for program, path in islice(_candidates(home, env), _MAX_FILES):
        real = path.resolve()
        if real in seen or own & {*real.parents} or left <= 0:
            continue
        seen.add(real)
        text = _small(real)
        left -= len(text)
        digests = _digests(text)
        found += [
            ForeignCopy(path, file, file.linked is not None and file.linked.resolve() == real, program)
            for digest, file in ours.items()
            if digest in digests
        ]
    return found


def _refresher(folder: Path, env: Mapping[str, str]) -> Iterator[Refresher]:
    if folder.stat().st_uid != os.geteuid():
        return
    arguments = [part.decode(errors="replace") for part in (folder / "cmdline").read_bytes().split(b"\0")]
    names = {Path(arguments[0]).name, _program(folder)}
    if not any(_REFRESHER.fullmatch(name) for name in names):
        return
    config = _config_of(arguments, folder)
    yield Refresher(int(folder.name), _NAME, config, _auth_dir(config, env) if config is not None else None)


def _program(folder: Path) -> str:
    try:
        return Path(os.readlink(folder / "exe")).name  # noqa: PTH115 - the target may be gone
    except OSError:
        return ""


def _config_of(arguments: Sequence[str], folder: Path) -> Path | None:
    """Return the config a process was started with: `-config FILE`, else `config.yaml` where it runs."""
    named = None
    for index, part in enumerate(arguments):
        name, equals, value = part.partition("=")
        if name in ("-config", "--config"):
            named = value if equals else next(iter(arguments[index + 1 : index + 2]), None)
    try:
        here = Path(os.readlink(folder / "cwd"))  # noqa: PTH115 - the target may be gone
    except OSError:
        here = Path("/")
    path = here / (named or "config.yaml")
    return path if os.access(path, os.R_OK) else None


def _auth_dir(config: Path, env: Mapping[str, str]) -> Path | None:
    """Return the auth directory a config names, its default where it names none; None where it cannot be read."""
    try:
        with config.open("rb") as file:
            text = file.read(_CONFIG_BYTES).decode(errors="replace")
    except OSError:
        return None
    named = _AUTH_DIR.search(text)
    value = next((part.strip() for part in named.groups() if part), "") if named else ""
    value = value or "~/.cli-proxy-api"
    path = paths.expand(value, env) if value.startswith("~") else config.parent / value
    return path.resolve()


def _candidates(home: Path, env: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield files that may hold a login, those of programs we know first, with their names."""
    for name, native in FORMATS.items():
        for spot in native.spots:
            moved = (Path(env[var]) / below for var, below in spot.variables if env.get(var, "").startswith("/"))
            folder = next(moved, None) or paths.expand(spot.folder, env)
            with contextlib.suppress(OSError):
                yield from ((name, path) for path in sorted(folder.glob(spot.pattern)))
    for pattern in _PLACES:
        with contextlib.suppress(OSError):
            yield from (("", path) for path in home.glob(pattern))


def _small(path: Path) -> bytes:
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= _MAX_FILE_BYTES else b""
    except OSError:
        return b""


def _digests(text: bytes) -> set[Digest]:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return set()
    return {Secret(text).digest() for text in _texts(tree)}


def _texts(tree: object) -> Iterator[str]:
    left = [tree]
    while left:
        match left.pop():
            case str() as text if len(text) >= _MIN_TOKEN and text.isascii():
                yield text
            case dict() as members:
                left += members.values()
            case list() as members:
                left += members
            case _:
                pass
