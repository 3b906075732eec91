import base64
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from broker.model.secret import Secret
from broker.providers.assertion import signed
from tests.fakes.vendors.vertex import pem, private_key

CLAIMS = {"iss": "a", "iat": 1, "exp": 2}


def test_the_claims_are_signed_and_nothing_is_added() -> None:
    made = signed(CLAIMS, Secret(pem()))
    head, payload, _ = made.reveal().split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"typ": "JWT", "alg": "RS256"}
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == CLAIMS
    assert "iss" not in repr(made)


def test_the_same_claims_give_the_same_text_whatever_form_the_key_has() -> None:
    assert signed(CLAIMS, Secret(pem())) == signed(CLAIMS, Secret(pem(traditional=True)))


def locked() -> str:
    way = serialization.BestAvailableEncryption(b"fake")
    made = private_key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, way)
    return made.decode()


def curve() -> str:
    form = serialization.PrivateFormat.PKCS8
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


@pytest.mark.parametrize("make", [lambda: "fake", lambda: pem()[:200], lambda: pem().replace("M", "!"), locked, curve])
def test_what_is_no_usable_key_is_told_without_its_text(make: object) -> None:
    assert callable(make)
    text = str(make())
    with pytest.raises(ValueError, match="private_key is not an RSA key") as caught:
        signed(CLAIMS, Secret(text))
    assert caught.value.__cause__ is None
    assert not text[30:60] or text[30:60] not in str(caught.value)
