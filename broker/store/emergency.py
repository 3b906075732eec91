"""Emergency copies: grants that were renewed and that the auth directory refused, kept in the state directory until it takes them.

Owns: one private file an account, its text, and writing and removing it durably. `broker.refresh.rescue` decides when. Methods block. A copy has mode
0600, in a folder of mode 0700. It is plaintext where the auth files are (`store.mode = "plain"`), and else sealed with their key; it must never be plaintext
beside sealed files.

    {"v":1,"account":"gemini/alice","file":"gemini-alice.json","since":1750000000.0,"replaces":"…","grant":{"access_token":"…", …}}
    {"v":1,"account":"gemini/alice","file":"gemini-alice.json","since":1750000000.0,"replaces":"…","sealed":"base64 of the same grant, sealed"}

`replaces` is the fingerprint of the refresh token that was spent for the grant: a file that holds another one has moved on. A seal is bound to all the
fields beside it.
"""

import base64
import binascii
import contextlib
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from broker.model.account import AccountId, Tokens
from broker.model.errors import BrokerError
from broker.model.secret import Digest, Secret
from broker.store.files import Disk
from broker.store.image import Image
from broker.store.journal import AnswerSeal

_log = logging.getLogger(__name__)

VERSION = 1
FOLDER_NAME = "unsaved"


@dataclass(frozen=True, slots=True)
class Copy:
    """A grant and where it belongs. `since` is the wall-clock reading its expiry was computed from; `file` is for people who look."""

    account: AccountId
    file: str
    since: float
    replaces: Digest
    tokens: Tokens


class _Grant(msgspec.Struct, frozen=True):
    access_token: str | None
    refresh_token: str | None
    id_token: str | None
    token_type: str
    expires_at: float | None
    scopes: tuple[str, ...]


class _Document(msgspec.Struct, frozen=True, omit_defaults=True):
    v: int
    account: str
    file: str
    since: float
    replaces: str
    grant: _Grant | None = None
    sealed: str | None = None


class EmergencyCopies:
    """The copies below the state directory `folder`; nothing is made before the first is needed."""

    def __init__(self, folder: Path, disk: Disk, seal: AnswerSeal | None = None) -> None:
        """Touch nothing yet. With a `seal`, copies are written sealed; those of a time without one can still be read."""
        self._seal = seal
        self._folder = folder / FOLDER_NAME
        self._disk = disk

    def path(self, account: AccountId) -> Path:
        """Return where an account's copy is."""
        return self._folder / f"{hashlib.sha256(str(account).encode()).hexdigest()[:32]}.json"

    def write(self, copy: Copy) -> None:
        """Put a copy down durably, in place of an older one. Raises StorageError."""
        self._disk.ensure_folder(self._folder)
        self._disk.write_over(self.path(copy.account), encode(copy, self._seal))

    def remove(self, account: AccountId) -> None:
        """Remove an account's copy durably; none there is fine. Raises StorageError."""
        if self._folder.is_dir():
            self._disk.delete(self.path(account))

    def load(self) -> Mapping[AccountId, Copy]:
        """Return all copies that can be read. Never raises; a damaged one is left where it is, and told."""
        found = {}
        with contextlib.suppress(OSError):
            for path in sorted(self._folder.glob("*.json")):
                image = self._disk.read(path)
                copy = decode(image.data, self._seal) if isinstance(image, Image) else None
                if copy is None or self.path(copy.account) != path:
                    _log.error("an emergency copy cannot be read: %s", path.name)
                else:
                    found[copy.account] = copy
        return found


def encode(copy: Copy, seal: AnswerSeal | None = None) -> bytes:
    """Return the text of a copy, its grant sealed where there is a seal."""
    tokens = copy.tokens
    grant = _Grant(
        _text(tokens.access_token),
        _text(tokens.refresh_token),
        _text(tokens.id_token),
        tokens.token_type,
        tokens.expires_at,
        tokens.scopes,
    )
    document = _Document(VERSION, str(copy.account), copy.file, copy.since, copy.replaces.text)
    if seal is None:
        return msgspec.json.encode(msgspec.structs.replace(document, grant=grant)) + b"\n"
    sealed = base64.b64encode(seal.close_body(msgspec.json.encode(grant), _associated(document))).decode()
    return msgspec.json.encode(msgspec.structs.replace(document, sealed=sealed)) + b"\n"


def whose(data: bytes) -> AccountId | None:
    """Say whose copy this is, sealed or not; None for what is none. Never raises, and believes what stands there: `decode` checks it."""
    try:
        document = msgspec.json.decode(data, type=_Document)
        return AccountId.parse(document.account) if document.v == VERSION else None
    except (BrokerError, ValueError, RecursionError):
        return None


def decode(data: bytes, seal: AnswerSeal | None = None) -> Copy | None:
    """Read a copy; None for what is not a whole one, or a sealed one that `seal` does not open. Never raises."""
    try:
        document = msgspec.json.decode(data, type=_Document)
        account, replaces = AccountId.parse(document.account), Digest(document.replaces)
        grant = document.grant or _opened(document, seal)
    except (BrokerError, ValueError, RecursionError):
        return None
    if document.v != VERSION or grant is None or not (grant.access_token or grant.refresh_token):
        return None
    tokens = Tokens(
        _secret(grant.access_token),
        _secret(grant.refresh_token),
        _secret(grant.id_token),
        grant.token_type,
        grant.expires_at,
        grant.scopes,
        last_refresh=document.since,
    )
    return Copy(account, document.file, document.since, replaces, tokens)


def _associated(document: _Document) -> bytes:
    """Return what a seal is bound to."""
    return b"unsaved\n" + msgspec.json.encode((document.account, document.file, document.since, document.replaces))


def _opened(document: _Document, seal: AnswerSeal | None) -> _Grant | None:
    if seal is None or document.sealed is None:
        return None
    try:
        body = seal.open_body(base64.b64decode(document.sealed, validate=True), _associated(document))
    except binascii.Error:
        return None
    return None if body is None else msgspec.json.decode(body, type=_Grant)


def _text(secret: Secret | None) -> str | None:
    return secret.reveal() if secret is not None else None


def _secret(text: str | None) -> Secret | None:
    return Secret(text) if text else None
