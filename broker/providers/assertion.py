"""The assertion a service account proves itself with (RFC 7523 section 2.1): a JWT signed RS256 with its private key.

Owns: the use of google-auth's signer. It must never read a clock: the claims come with their times. The library is imported on first use, as it costs a
twentieth of a second that only a service account's login pays.
"""

from collections.abc import Mapping

from broker.model.secret import Secret


def signed(claims: Mapping[str, object], key: Secret) -> Secret:
    """Return the assertion; the same claims and key make the same text.

    Raises:
        ValueError: the key is not the PEM of an RSA key without a passphrase. The text holds nothing of it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - see the module
    from google.auth import crypt, jwt  # noqa: PLC0415

    try:
        signer = crypt.RSASigner.from_string(key.reveal())  # type: ignore[no-untyped-call]
        made: bytes = jwt.encode(signer, dict(claims))  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        raise ValueError("private_key is not an RSA key in PEM without a passphrase") from None
    return Secret(made.decode())
