"""Envelopes for auth files and journalled answers: AES-256-GCM, bound to what they belong to.

Owns: the envelope's shape and what it is bound to (provider, account, generation, file name), so that a flipped byte, a swapped file or an older copy
does not open as if nothing had happened. Pure: the key and the source of nonces come in. Where keys come from is `broker.store.keys`.

It must never seal twice with one nonce: each is 96 random bits, drawn anew for every write (NIST SP 800-38D section 8.2.2 allows 2^32 of them a key).
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from broker.model.account import AccountId
from broker.store import codec
from broker.store.codec import Fault, FaultKind, Parsed
from broker.store.reading import SEALED_KEY, Opened

KEY_BYTES = 32
NONCE_BYTES = 12
_VERSION = 1
_SHOWN = ("type", "email")  # readable outside, so that other programs can tell whose file it is


class AeadSeal:
    """Seals and opens with one key. Shows nothing of it."""

    def __init__(self, key: bytes, nonce: Callable[[int], bytes]) -> None:
        """Use `key` (32 bytes); `nonce` returns so many random bytes.

        Raises:
            ValueError: the key has another length.
        """
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self._aead = AESGCM(key)
        self._nonce = nonce
        self.key_id = key_id(key)

    def __repr__(self) -> str:
        return f"AeadSeal({self.key_id})"

    def close_file(
        self, data: bytes, outer: Parsed | None, account: AccountId, generation: int, file_name: str
    ) -> bytes:
        """Return the text of a sealed file holding `data` (a plain auth file); fields of `outer` that are not ours are kept."""
        nonce = self._nonce(NONCE_BYTES)
        bound = _file_binding(str(account), generation, file_name)
        envelope: dict[str, object] = {
            "v": _VERSION,
            "key": self.key_id,
            "account": str(account),
            "generation": generation,
            "nonce": _text(nonce),
            "data": _text(self._aead.encrypt(nonce, data, bound)),
        }
        if outer is not None:
            return codec.render(outer, {**outer.document, SEALED_KEY: envelope})
        inner = codec.parse(data)
        shown = (
            {key: inner.document[key] for key in _SHOWN if key in inner.document} if isinstance(inner, Parsed) else {}
        )
        return codec.encode({**shown, SEALED_KEY: envelope})

    def open_file(self, document: Mapping[str, object], file_name: str) -> Opened | Fault:
        """Return the plain bytes inside a sealed file, or why it does not open."""
        envelope = document.get(SEALED_KEY)
        if not isinstance(envelope, Mapping) or envelope.get("v") != _VERSION:
            return Fault(FaultKind.TAMPERED, "has a seal of a kind this version does not know")
        account, generation = envelope.get("account"), envelope.get("generation")
        if not isinstance(account, str) or not isinstance(generation, int) or isinstance(generation, bool):
            return Fault(FaultKind.TAMPERED, "has a damaged seal")
        if envelope.get("key") != self.key_id:
            return Fault(FaultKind.SEALED, "is sealed with another key than the one in use")
        try:
            nonce, data = _bytes(envelope.get("nonce")), _bytes(envelope.get("data"))
            plain = self._aead.decrypt(nonce, data, _file_binding(account, generation, file_name))
        except (InvalidTag, ValueError):
            return Fault(FaultKind.TAMPERED, "was changed after it was sealed, or belongs under another name")
        return Opened(plain, generation)

    def close_body(self, body: bytes, associated: bytes) -> bytes:
        """Return an answer's body encrypted, its nonce in front."""
        nonce = self._nonce(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, body, b"answer\n" + associated)

    def open_body(self, body: bytes, associated: bytes) -> bytes | None:
        """Return it in clear; None where it is not what was encrypted."""
        try:
            return self._aead.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], b"answer\n" + associated)
        except (InvalidTag, ValueError):
            return None


def key_id(key: bytes) -> str:
    """Return what tells one key from another and tells nothing of it: 16 hexadecimal digits."""
    return hashlib.sha256(b"ccs-broker key\n" + key).hexdigest()[:16]


def _file_binding(account: str, generation: int, file_name: str) -> bytes:
    return f"file\n{_VERSION}\n{account}\n{generation}\n{file_name}".encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not text")  # noqa: TRY004 - one kind of damage to the caller
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
