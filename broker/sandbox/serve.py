"""The sandbox as a process of its own: `ccs-broker sandbox`.

Owns: its options, the files it writes its secrets to, its ready line, and stopping on a signal. Secrets go to files of mode 0600,
never to stdout or argv.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.sandbox.config_text import config_toml
from broker.sandbox.server import Sandbox
from broker.sandbox.settings import SandboxSettings


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What the command line says. `port` 0 is any free one.

    `settings_file` holds a JSON object with the fields of `SandboxSettings`. `client_secret_file` and `api_key_file` are written; so is
    `config_file`, a broker configuration that points here.
    """

    client_secret_file: Path
    port: int = 0
    settings_file: Path | None = None
    api_key_file: Path | None = None
    config_file: Path | None = None


async def serve(options: ServeOptions, announce: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT. `announce` gets one line of JSON when requests are answered.

    Raises:
        BrokerError: `bad_request` for a settings file that cannot be used, or a port that is taken.
        OSError: a file cannot be written.
    """
    settings = _settings(options.settings_file)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with await _started(settings, options.port) as sandbox:
            await asyncio.to_thread(_write_files, options, sandbox)
            announce(_ready_line(options, sandbox))
            await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from command-line arguments; print the ready line; return the exit code."""
    options = parse(argv)
    try:
        asyncio.run(serve(options, _print_line))
    except (BrokerError, OSError) as error:
        sys.stderr.write(f"ccs-broker sandbox: {error}\n")
        return 1
    return 0


def parse(argv: Sequence[str] | None) -> ServeOptions:
    """Read command-line arguments; leaves the program with code 2 where they make no sense."""
    parser = argparse.ArgumentParser(
        prog="ccs-broker sandbox", description="An OAuth server and an upstream on loopback, for tests."
    )
    add = parser.add_argument
    add("--client-secret-file", type=Path, required=True, help="where to write the client secret (mode 0600)")
    add("--api-key-file", type=Path, help="where to write the Gemini API key (mode 0600)")
    add("--config-file", type=Path, help="where to write a broker configuration that points here")
    add("--settings-file", type=Path, help="JSON with the sandbox's settings")
    add("--port", type=int, default=0, help="port on 127.0.0.1; 0 is any free one (default)")
    given = parser.parse_args(argv)
    return ServeOptions(
        client_secret_file=given.client_secret_file.absolute(),
        port=given.port,
        settings_file=given.settings_file,
        api_key_file=given.api_key_file and given.api_key_file.absolute(),
        config_file=given.config_file,
    )


async def _started(settings: SandboxSettings, port: int) -> Sandbox:
    try:
        return await Sandbox.start(settings, port=port)
    except (OSError, OverflowError) as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"cannot listen on 127.0.0.1:{port}: {error}") from error


def _settings(path: Path | None) -> SandboxSettings:
    if path is None:
        return SandboxSettings()
    try:
        return msgspec.json.decode(path.read_bytes(), type=SandboxSettings)
    except (OSError, msgspec.MsgspecError) as error:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"the settings file {path}: {error}") from error


def _write_files(options: ServeOptions, sandbox: Sandbox) -> None:
    write_secret(options.client_secret_file, sandbox.client_secret)
    if options.api_key_file is not None:
        write_secret(options.api_key_file, sandbox.api_key)
    if options.config_file is not None:
        text = config_toml(sandbox.url, sandbox.client_id, str(options.client_secret_file))
        options.config_file.write_text(text, encoding="utf-8")


def write_secret(path: Path, secret: Secret) -> None:
    """Write a secret to a file that nobody else can read at any moment; a file in its place is replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    # mkstemp creates with mode 0600, whatever the umask.
    number, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(secret.reveal() + "\n")
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _ready_line(options: ServeOptions, sandbox: Sandbox) -> str:
    line = {
        "url": sandbox.url,
        "client_id": sandbox.client_id,
        "public_client_id": sandbox.public_client_id,
        "client_secret_file": str(options.client_secret_file),
        "api_key_file": str(options.api_key_file) if options.api_key_file else None,
        "pid": os.getpid(),
    }
    return msgspec.json.encode(line).decode()


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
