"""The config file as it is read.

Owns: the way from bytes to a `Config` that has no fault, and where each setting stands. `parse` is a pure function of the text; `load` and `read` read the
file.
"""

import tomllib
from pathlib import Path

from broker.config import Config, Loaded
from broker.model.secret import Secret
from broker.paths import config_file
from broker.settings.checks import faults
from broker.settings.lines import Key, line_of, lines_of, place_of
from broker.settings.refusal import ConfigError, Located
from broker.settings.shape import read as convert

_MAX_CONFIG_BYTES = 1 << 20


def load(path: Path | None = None) -> Config:
    """Read the config file; a missing one means the defaults, unless `path` named it.

    Raises:
        ConfigError: naming the file, and line and key of what is at fault.
    """
    return read(path).config


def read(path: Path | None = None) -> Loaded:
    """Read the config file as `load` does, and keep where each setting stands."""
    file = path or config_file()
    try:
        with file.open("rb") as source:
            data = source.read(_MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        if path is not None:
            raise ConfigError(str(file), (Located("no such file"),)) from None
        return Loaded(Config(), file, exists=False)
    except OSError as error:
        raise ConfigError(str(file), (Located(error.strerror or "cannot be read"),)) from error
    if len(data) > _MAX_CONFIG_BYTES:
        raise ConfigError(str(file), (Located(f"larger than {_MAX_CONFIG_BYTES} bytes"),))
    config, lines = _read(data, str(file))
    return Loaded(config, file, lines=lines)


def parse(data: bytes, name: str = "config") -> Config:
    """Read the text of a config file.

    Raises:
        ConfigError: naming line and column (for TOML faults), or line and key (for wrong, unknown or contradictory settings).
    """
    return _read(data, name)[0]


def _read(data: bytes, name: str) -> tuple[Config, dict[Key, int]]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(name, (Located(f"not UTF-8 at byte {error.start}", line),)) from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(name, (Located(*place_of(error, text)),)) from None
    except RecursionError:
        raise ConfigError(name, (Located("nested too deeply"),)) from None
    lines = lines_of(text)
    config, wrong = convert(tree, Config, _secret)
    if config is not None:
        wrong = tuple(faults(config))
    if config is None or wrong:
        raise ConfigError(name, tuple(Located(each.text, line_of(each.key, lines), key=each.key) for each in wrong))
    return config, lines


def _secret(kind: type, value: object) -> object:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    if kind is object:
        return value  # of a rule for bodies: any that TOML has
    raise ValueError("Expected `str`")
