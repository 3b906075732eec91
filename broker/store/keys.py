"""Where the key of sealed files comes from.

Owns: the four sources, and remembering which one this state directory uses: a keyring that happens to be locked at start must never make us seal
with a new key and leave the old files closed. Blocks: call it before the event loop runs, or off it.

| source | protects against |
|---|---|
| `credential` (systemd `LoadCredential[Encrypted]=ccs-broker-key:`) | copies of the disk, if the credential is encrypted |
| `keyring` (the desktop's) | copies of the disk, and other users |
| `passphrase` (Argon2id, RFC 9106) | copies of the disk, as far as the passphrase is good |
| `file` (`seal.key`, beside the state) | copies of the auth directory alone. It lies beside the data: no protection from whoever reads both |
"""

import base64
import binascii
import concurrent.futures
import logging
import os
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from broker.model.errors import BrokerError, ErrorCode
from broker.store.files import Disk
from broker.store.seal import KEY_BYTES, key_id

_log = logging.getLogger(__name__)

Source = Literal["credential", "keyring", "passphrase", "file"]
CREDENTIAL = "ccs-broker-key"
PASSPHRASE_FILE = "CCS_BROKER_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable
_SERVICE, _USER = "ccs-broker", "seal"
KEYRING_SECONDS = 5.0  # a keyring daemon that hangs hangs its callers for 45 s and more
_SALT_BYTES = 16
# RFC 9106 section 4, the second recommended option: 3 passes over 64 MiB.
_PASSES, _LANES, _MEMORY_KIB = 3, 4, 64 * 1024
_MAX_SECRET_BYTES = 4096


class _Choice(msgspec.Struct, frozen=True):
    """What `seal.json` in the state directory remembers: which source, which key, and the salt of a passphrase. No secret."""

    source: Source
    key: str
    salt: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """Finds the key of one state directory. `random` returns so many random bytes."""

    state_dir: Path
    env: Mapping[str, str]
    random: Callable[[int], bytes]
    disk: Disk
    keyring_seconds: float = KEYRING_SECONDS

    def load(self, wanted: Literal["auto"] | Source) -> bytes:
        """Return the key, making one the first time.

        Raises:
            BrokerError: `misconfigured`, where the source cannot give it or gives another key than the files are sealed with.
        """
        known = self._remembered()
        if known is not None:
            return self._same_as(known, wanted)
        for source in self._order() if wanted == "auto" else (wanted,):
            salt = self.random(_SALT_BYTES)
            key = self._read(source, salt, first=True)
            if key is not None:
                self._remember(_Choice(source, key_id(key), _text(salt) if source == "passphrase" else ""))
                return key
        raise _fault(f"store.key_source = {wanted!r} gives no key", _HINTS.get(wanted, ""))

    def prove(self, wanted: Literal["auto"] | Source) -> None:
        """Ask for the key as the next `load` will, and make none.

        Raises:
            BrokerError: `misconfigured`, where that `load` would fail.
        """
        known = self._remembered()
        if known is not None:
            self._same_as(known, wanted)
            return
        match wanted:
            case "auto":
                return  # it ends with a file, which can be made
            case "file":
                works = not (self.state_dir / "seal.key").exists() or self._from_file(first=False) is not None
            case "keyring":
                works = self._keyring_answers()
            case _:
                works = self._read(wanted, bytes(_SALT_BYTES), first=False) is not None
        if not works:
            raise _fault(f"store.key_source = {wanted!r} gives no key", _HINTS[wanted])

    def source(self, wanted: Literal["auto"] | Source) -> str:
        """Return the source in question: the one remembered, else `wanted`."""
        try:
            known = self._remembered()
        except BrokerError:
            return wanted
        return known.source if known is not None else wanted

    def _same_as(self, known: _Choice, wanted: str) -> bytes:
        if wanted not in ("auto", known.source):
            detail = f"the files are sealed with a key from {known.source!r}, and store.key_source is {wanted!r}"
            raise _fault(detail, f'Set store.key_source = "{known.source}".')
        key = self._read(known.source, base64.b64decode(known.salt), first=False)
        if key is None:
            raise _fault(f"the key of the sealed files is not to be had from {known.source!r}", _HINTS[known.source])
        if key_id(key) != known.key:
            raise _fault(f"{known.source!r} gives another key than the files are sealed with", _HINTS[known.source])
        return key

    def _order(self) -> tuple[Source, ...]:
        return ("credential", "keyring", "passphrase", "file")

    def _read(self, source: Source, salt: bytes, *, first: bool) -> bytes | None:
        match source:
            case "credential":
                folder = self.env.get("CREDENTIALS_DIRECTORY")
                return _key_of(_small_file(Path(folder) / CREDENTIAL)) if folder else None
            case "keyring":
                return self._from_keyring(first=first)
            case "passphrase":
                return self._from_passphrase(salt)
            case "file":
                return self._from_file(first=first)

    def _from_keyring(self, *, first: bool) -> bytes | None:
        fresh = _text(self.random(KEY_BYTES)) if first else None
        try:
            return _key_of(_within(self.keyring_seconds, lambda: _ask_keyring(fresh)))
        except TimeoutError:
            _log.warning("the keyring did not answer within %g s", self.keyring_seconds)
        except Exception as error:  # noqa: BLE001 - keyring backends raise what they like; any of it means: not usable
            _log.info("the keyring cannot be used: %s", type(error).__name__)
        return None

    def _keyring_answers(self) -> bool:
        try:
            _within(self.keyring_seconds, lambda: _ask_keyring(None))
        except Exception:  # noqa: BLE001 - as above: whatever is raised, it is not usable
            return False
        return True

    def _from_passphrase(self, salt: bytes) -> bytes | None:
        path = self.env.get(PASSPHRASE_FILE)
        if not path:
            return None
        phrase = _small_file(Path(path), private=True)
        if not phrase:
            return None
        derivation = Argon2id(salt=salt, length=KEY_BYTES, iterations=_PASSES, lanes=_LANES, memory_cost=_MEMORY_KIB)
        return derivation.derive(phrase)

    def _from_file(self, *, first: bool) -> bytes | None:
        path = self.state_dir / "seal.key"
        key = _key_of(_small_file(path, private=True))
        if key is None and first and not path.exists():
            key = self.random(KEY_BYTES)
            self.disk.write_new(path, _text(key).encode() + b"\n")
        return key

    def _remembered(self) -> _Choice | None:
        path = self.state_dir / "seal.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Choice)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            raise _fault(
                f"{path} cannot be read: it tells which key the files are sealed with", "Restore it."
            ) from None

    def _remember(self, choice: _Choice) -> None:
        self.disk.write_over(self.state_dir / "seal.json", msgspec.json.encode(choice) + b"\n")


_HINTS: dict[str, str] = {
    "auto": "docs/files.md lists the sources.",
    "credential": f"Give the service a credential: LoadCredential={CREDENTIAL}:FILE with 32 bytes in base64.",
    "keyring": "Unlock the desktop's keyring, or choose another store.key_source.",
    "passphrase": f"Name a file of mode 0600 that holds the passphrase in {PASSPHRASE_FILE}.",
    "file": "seal.key in the state directory must be a file of mode 0600.",
}


def _fault(detail: str, hint: str) -> BrokerError:
    return BrokerError(ErrorCode.MISCONFIGURED, detail, hint=hint)


def _small_file(path: Path, *, private: bool = False) -> bytes | None:
    """Return a small file's text without its last newline; None where there is none. A file others can read is refused where it must be private."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if private and mode & 0o077:
                raise _fault(f"{path} can be read by others (mode {mode:04o})", f"Run: chmod 600 {path}")
            return file.read(_MAX_SECRET_BYTES).rstrip(b"\r\n")
    except OSError:
        return None


def _key_of(text: bytes | None) -> bytes | None:
    if not text:
        return None
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return key if len(key) == KEY_BYTES else None


def _ask_keyring(fresh: str | None) -> bytes | None:
    import keyring  # noqa: PLC0415 - 100 ms of backends that plain mode never needs

    found = keyring.get_password(_SERVICE, _USER)
    if found is None and fresh is not None:
        keyring.set_password(_SERVICE, _USER, fresh)
        found = keyring.get_password(_SERVICE, _USER)
    return None if found is None else found.encode()


def _within(seconds: float, work: Callable[[], bytes | None]) -> bytes | None:
    """Run `work` in a thread of its own and wait so long; one that hangs is left behind and ends with the process."""
    outcome: concurrent.futures.Future[bytes | None] = concurrent.futures.Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed to the caller
            outcome.set_exception(error)

    threading.Thread(target=run, name="keyring", daemon=True).start()
    return outcome.result(timeout=seconds)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
