import pytest

from broker.providers.native.vertex import FORMAT
from tests.fakes.native import golden, login, refused


def test_a_key_becomes_an_auth_file() -> None:
    key = golden("vertex", "key.json")
    email = "robot@my-project.iam.gserviceaccount.com"
    assert login(FORMAT, key).document == {
        "service_account": key, "project_id": "my-project", "email": email, "location": "us-central1", "type": "vertex",
        "label": f"my-project ({email})", "disabled": False,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["project_id", "client_email", "private_key"])
def test_a_key_without(name: str) -> None:
    assert refused(FORMAT, {**golden("vertex", "key.json"), name: " "}).reason == f"has no {name}"


def test_no_key() -> None:
    assert refused(FORMAT, {"type": "authorized_user"}).reason == "is no service account's key"
