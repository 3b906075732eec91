"""Signatures of other vendors in the `thoughtSignature` of Gemini's parts.

Owns: packing them, and telling them when the client sends them back. A Gemini client returns a part with the signature it came with; but of thoughts it returns
the text or nothing at all (the Gemini CLI leaves them out). So what a vendor signed, and the words it signed, travel in the signature of the next
part that was said: the text, image or call the thinking led to.

A signature is bytes to Google's SDKs: it must be base64, and may come back in the other alphabet.
"""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from broker.translate.gemini_request import UNSIGNED
from broker.translate.google_json import standard_base64
from broker.translate.ir import Thinking
from broker.translate.signers import of_google

_MARK: Final = b"ccsb01"
_MARKED: Final = base64.b64encode(
    _MARK
).decode()  # six bytes are eight whole letters: what follows does not change them


class _Packed(msgspec.Struct, array_like=True):
    own: str | None
    thoughts: list[tuple[str, str | None, str | None]]


_PACKED: Final = msgspec.json.Decoder(_Packed)


def pack(own: str | None, thoughts: Sequence[Thinking]) -> str | None:
    """Return the signature of a part that has this one of its own and comes after these thoughts; None where there is nothing to prove."""
    if not thoughts and (own is None or of_google(own) is not None):
        return own
    told = _Packed(own, [(each.text, each.signature, each.redacted) for each in thoughts])
    return base64.b64encode(_MARK + msgspec.json.encode(told)).decode()


def read(signature: str | None) -> tuple[str | None, tuple[Thinking, ...]]:
    """Return the part's own signature and the thoughts before it. What stands for a lost one, or was broken on its way, proves nothing."""
    if not signature or signature == UNSIGNED:
        return None, ()
    if not signature.startswith(_MARKED):
        return signature, ()
    try:
        told = _PACKED.decode(base64.b64decode(standard_base64(signature), validate=True)[len(_MARK) :])
    except (ValueError, msgspec.MsgspecError):  # binascii.Error and UnicodeDecodeError are of the first
        return None, ()
    return told.own, tuple(Thinking(*each) for each in told.thoughts)
