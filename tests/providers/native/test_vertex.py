import pytest

from broker.providers.native.vertex import FORMAT
from tests.fakes.native import golden, login, refused
from tests.fakes.vendors.vertex import pem


def key_file(**changes: object) -> dict[str, object]:
    """The golden file with a key that is one."""
    return {**golden("vertex", "key.json"), "private_key": pem(), **changes}


def test_a_key_becomes_an_auth_file() -> None:
    email = "robot@my-project.iam.gserviceaccount.com"
    assert login(FORMAT, key_file()).document == {
        "service_account": key_file(), "project_id": "my-project", "email": email, "location": "us-central1", "type": "vertex",
        "label": f"my-project ({email})", "disabled": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["project_id", "client_email", "private_key"])
def test_a_key_without(name: str) -> None:
    assert refused(FORMAT, key_file(**{name: " "})).reason == f"has no {name}"


@pytest.mark.parametrize("text", ["fake-private-key", pem()[:300]])
def test_a_broken_key_is_refused_before_anything_is_made_of_it(text: str) -> None:
    reason = refused(FORMAT, key_file(private_key=text)).reason
    assert reason == "cannot be used: private_key is not an RSA key in PEM without a passphrase"


def test_no_key() -> None:
    assert refused(FORMAT, {"type": "authorized_user"}).reason == "is no service account's key"
