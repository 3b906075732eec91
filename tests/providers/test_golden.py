"""Auth files of every format and age: how each is read, and what a renewal makes of it.

`tests/golden/auth/VENDOR/CASE.json` is a file as a program left it, and `tests/golden/own/` has those of a provider of the user's own; `read/CASE.json` beside
it is what we make of it, `renewed/CASE.json` the same file after a renewal. The files are fakes written by hand.
"""

import json
from pathlib import Path

import pytest

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers.registry import BUILT_IN, build
from broker.settings.reading import parse

GOLDEN = Path(__file__).parents[1] / "golden"
BUILT_IN_CASES = sorted((GOLDEN / "auth").glob("*/*.json"))
CASES = [*BUILT_IN_CASES, *sorted((GOLDEN / "own").glob("*/*.json"))]
OWN = b'[providers.acme]\nkind = "oauth2"\nclient_id = "me"\ntoken_url = "https://id.acme.example/token"'
REGISTRY = build(parse(OWN).providers)
T = 1_777_636_800.0  # 2026-05-01T12:00:00Z
NEW = Tokens(Secret("fake-access-2"), Secret("fake-refresh-2"), expires_at=T + 3600, last_refresh=T)


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def read_as(path: Path) -> dict[str, object]:
    document = json.loads(path.read_text())
    [provider] = [each for each in REGISTRY if each.claims(document)]
    record = provider.read(document, path.name)
    client = provider.client_of(document)
    return {
        "account": str(record.account),
        "email": record.email,
        "facts": dict(record.facts),
        "disabled": record.disabled,
        "renewable": bool(record.tokens.refresh_token),
        "access_token": record.tokens.access_token == Secret("fake-access-1"),
        "expires_at": record.tokens.expires_at,
        "client_id": client.id if client else None,
    }


def renewed(path: Path) -> str:
    document = json.loads(path.read_text())
    [provider] = [each for each in REGISTRY if each.claims(document)]
    return json.dumps(provider.write(document, NEW, Now(T, 1.0)), indent=2) + "\n"


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_it_is_read_as_what_it_is(path: Path) -> None:
    assert read_as(path) == json.loads((path.parent / "read" / path.name).read_text())


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_a_renewal_changes_what_it_must_and_keeps_the_order(path: Path) -> None:
    assert renewed(path) == (path.parent / "renewed" / path.name).read_text()


@pytest.mark.parametrize("path", CASES, ids=name_of)
def test_a_renewal_loses_no_field(path: Path) -> None:
    before, after = json.loads(path.read_text()), json.loads(renewed(path))
    assert [name for name in after if name in before] == list(before)


def test_there_are_cases() -> None:
    assert {path.parent.name for path in BUILT_IN_CASES} == set(BUILT_IN)
    assert len(CASES) > len(BUILT_IN_CASES)
