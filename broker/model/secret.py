"""The one type that may hold a secret.

Owns: hiding. A `Secret` shows nothing through `repr`, `str`, `format`, pickling or JSON; `.reveal()` is the only
way out, and tests/architecture/test_secrets.py lists the modules that may call it. It must never grow a second way out.

It does not wipe memory: Python cannot promise that (docs/architecture.md, "What is not promised").
"""

import hashlib
import hmac
from typing import NoReturn, final

__all__ = ["Digest", "Secret"]

_HIDDEN = "Secret(…)"


@final
class Digest:
    """A fingerprint of a secret that may be stored and logged: 32 hex digits of SHA-256.

    128 bits are enough to tell two high-entropy tokens apart and useless for finding one.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Wrap an existing digest.

        Raises:
            ValueError: `text` is not 32 lower-case hexadecimal digits.
        """
        if len(text) != 32 or text.strip("0123456789abcdef"):
            raise ValueError("a digest is 32 lower-case hexadecimal digits")
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Digest) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Digest({self.text[:8]}…)"


@final
class Secret:
    """Text that must not be seen: a token, a client secret, a PKCE verifier, an API key.

    Compared in constant time. Falsy when empty.
    """

    __slots__ = ("_digest", "_value")

    def __init__(self, value: str) -> None:
        """Wrap `value`; nothing is validated."""
        self._value = value
        self._digest: Digest | None = None

    def reveal(self) -> str:
        """Return the text. Every caller stands in the list of tests/architecture/test_secrets.py."""
        return self._value

    def digest(self) -> Digest:
        """Return a fingerprint that may be stored and logged; worked out once.

        Raises UnicodeEncodeError where the text holds what UTF-8 cannot (a lone surrogate).
        """
        made = self._digest
        if made is None:
            made = Digest.__new__(Digest)  # hexdigest is what `Digest` would check, on a path that every request takes
            made.text = hashlib.sha256(self._value.encode()).hexdigest()[:32]
            self._digest = made
        return made

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return _HIDDEN

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return _HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
