"""Writing a renewed grant back into another program's login file.

Owns: composing the new text, of which only the grant differs, and putting it in place durably: a temporary file in the same folder, the old mode, a rename.
Every method blocks. It must never write over what changed since it was read, nor write what would not read back as it was meant.
"""

from pathlib import Path

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.providers.base import FormatError
from broker.providers.native.base import Login, Native, Seen
from broker.store import codec, rename
from broker.store.base import StorageError
from broker.store.codec import Fault
from broker.store.files import Disk, Os, naming


def compose(native: Native, seen: Seen, key: str, tokens: Tokens, now: Now) -> bytes:
    """Return the text of a login file with its grant replaced, everything else left byte for byte. Raises StorageError."""
    parsed = codec.parse_object(seen.data)
    if isinstance(parsed, Fault):
        raise StorageError(f"the login file of {native.title} {parsed.detail}")
    try:
        data = codec.render(parsed, native.write(parsed.document, key, tokens, now))
    except (FormatError, ValueError) as error:
        raise StorageError(f"the login file of {native.title} cannot be written: {error}") from None
    again = codec.parse_object(data)
    found = (
        Seen(data, seen.mode, native.read(again.document, seen.beside), seen.beside).login(key)
        if isinstance(again, codec.Parsed)
        else None
    )
    if not isinstance(found, Login) or found.tokens.refresh_digest() != tokens.refresh_digest():
        raise StorageError(f"the login file of {native.title} would not read back as it was meant")
    return data


class NativeWriter:
    """Replaces login files."""

    def __init__(self, disk: Disk, calls: Os | None = None) -> None:
        """Use the real system calls unless others are given."""
        self._disk = disk
        self._os = calls or Os()

    def replace(self, path: Path, seen: Seen, data: bytes) -> bool:
        """Replace a file's content durably, keeping its mode; tell whether it was still as `seen`: if not, it stays. Raises StorageError."""
        target = self._disk.real(path)
        temp = self._disk.stage(target.parent, data)
        try:
            with naming("replace", target):
                temp.chmod(seen.mode)
                if target.read_bytes() != seen.data or not self._exchange(temp, target, seen.data):
                    return False
            self._disk.sync_folder(target.parent)
            return True
        finally:
            self._disk.discard(temp)

    def clean(self, folder: Path, now_wall: float) -> None:
        """Remove temporary files of processes of ours that are no more."""
        self._disk.clean(folder, now_wall)

    def _exchange(self, temp: Path, target: Path, base: bytes) -> bool:
        try:
            self._os.exchange(str(temp), str(target))
        except rename.UnsupportedRenameError:
            self._os.replace(str(temp), str(target))
            return True
        if temp.read_bytes() == base:
            return True
        self._os.exchange(str(temp), str(target))  # somebody wrote in that moment: theirs is put back
        return False
