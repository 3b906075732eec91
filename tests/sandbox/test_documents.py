"""The shapes of what the authorization server sends."""

import base64
import json

import pytest

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.sandbox import documents
from broker.sandbox.devices import DeviceStart
from broker.sandbox.grants import Alive, Issued
from broker.sandbox.settings import AnswerShape

NOW = Now(1_750_000_000.0, 100.0)


def answer(*, refresh: str | None = None, scopes: tuple[str, ...] = (), left: float = 60.9, **more: object):
    issued = Issued(
        "a@example.com", "app", scopes, 0, Secret("fake-access"), Secret(refresh) if refresh else None, NOW.boot + left
    )
    given = {"issuer": "http://127.0.0.1:1", "shape": AnswerShape.GOOGLE, "presented": None} | more
    return documents.token_answer(issued, NOW, **given)


def test_token_answers():
    assert answer() == {"access_token": "fake-access", "expires_in": 60, "scope": "", "token_type": "Bearer"}
    assert answer(refresh="fake-refresh", presented="old")["refresh_token"] == "fake-refresh"
    assert "refresh_token" not in answer(presented="old")
    assert answer(presented="old", shape=AnswerShape.STANDARD)["refresh_token"] == "old"
    assert "refresh_token" not in answer(shape=AnswerShape.STANDARD)


def test_approvals():
    assert documents.approval(Secret("fake-code"), ("a", "b")) == {"code": "fake-code", "scope": "a b"}


@pytest.mark.parametrize(("left", "told"), [(3600, 3600), (1.99, 1), (0.25, 0.25), (-3, 0)])
def test_a_life_is_never_overstated(left, told):
    assert answer(left=left)["expires_in"] == pytest.approx(told)


@pytest.mark.parametrize("scope", ["openid", "https://www.googleapis.com/auth/userinfo.email"])
def test_id_tokens_are_well_formed_and_unsigned(scope):
    header, claims, signature = answer(scopes=(scope,), left=0.5)["id_token"].split(".")
    read = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, claims)]
    assert read[0]["alg"] == "none"
    assert read[1]["email"] == "a@example.com"
    assert read[1]["aud"] == "app"
    assert read[1]["sub"] == documents.subject_of("a@example.com")
    assert read[1]["exp"] == read[1]["iat"] + 1
    assert base64.urlsafe_b64decode(signature + "==") == b"sandbox-no-signature"


def test_user_info_and_subjects():
    info = documents.user_info(Alive("ann@example.com", "app", (), 1.0))
    assert (info["email"], info["verified_email"], info["name"]) == ("ann@example.com", True, "Ann")
    assert len(info["id"]) == 21
    assert info["id"].isdigit()
    assert info["id"] != documents.subject_of("bob@example.com")


def test_metadata_and_devices():
    data = documents.metadata("http://h")
    assert data["issuer"] == "http://h"
    assert all(str(url).startswith("http://h/") for name, url in data.items() if name.endswith("_endpoint"))
    start = DeviceStart(Secret("fake-device"), "ABCD-EFGH", 5.0, 300.0)
    told = documents.device_answer(start, "http://h")
    assert told["verification_uri_complete"] == "http://h/device?user_code=ABCD-EFGH"
    assert (told["interval"], told["expires_in"], told["device_code"]) == (5, 300, "fake-device")


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, "server_error"), (503, "temporarily_unavailable"), (401, "invalid_client"), (400, "invalid_request")],
)
def test_errors_for_statuses(status, error):
    assert documents.oauth_error_for_status(status).error == error
    assert documents.error_answer("x", "y") == {"error": "x", "error_description": "y"}


def test_pages_escape_what_they_are_given():
    evil = '"><script>'
    for text in (
        documents.consent_page({"state": evil, evil: "v"}, [evil], [evil]),
        documents.consent_page({}, [], []),
        documents.device_page(evil, [evil]),
        documents.page(evil, ""),
    ):
        assert "<script>" not in text
        assert text.startswith("<!doctype html>")
