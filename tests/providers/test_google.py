"""Finding an installed app's client secret. Secrets and ids are put together here, so that no scanner takes them for real."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.secret import Secret
from broker.providers.google import secret_in_binary, secret_in_document, secret_in_source

OURS = "111111111111-" + "a" * 32 + ".apps.googleusercontent.com"
OTHER = "222222222222-" + "b" * 32 + ".apps.googleusercontent.com"
GOOD = "GOC" + "SPX-" + "g" * 28
WRONG = "GOC" + "SPX-" + "w" * 28
FAR = "/* " + "-" * 700 + " */"


def source(*parts: str) -> str:
    return "".join(f"\nvar x{i} = {part};" if not part.startswith("/*") else part for i, part in enumerate(parts))


def q(text: str, quote: str = '"') -> str:
    return f"{quote}{text}{quote}"


@pytest.mark.parametrize("quote", ['"', "'", "`"])
def test_a_secret_after_our_id_is_ours(quote: str) -> None:
    assert secret_in_source(source(q(OURS, quote), q(GOOD, quote)), OURS) == Secret(GOOD)


def test_a_secret_before_our_id_is_ours_where_no_id_is_before_it() -> None:
    assert secret_in_source(source(q(GOOD), q(OURS)), OURS) == Secret(GOOD)


def test_each_id_has_its_own() -> None:
    text = source(q(OURS), q(GOOD), q(OTHER), q(WRONG))
    assert secret_in_source(text, OURS) == Secret(GOOD)
    assert secret_in_source(text, OTHER) == Secret(WRONG)


def test_the_same_pair_twice_is_one() -> None:
    assert secret_in_source(source(q(OURS), q(GOOD), q(OURS), q(GOOD)), OURS) == Secret(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        source(q(GOOD)),
        source(q(OURS)),
        source(q(OTHER), q(WRONG)),
        source(q(OTHER), q(WRONG), FAR, q(OURS)),
        source(q(OURS), FAR, q(GOOD)),
        source(q(GOOD), FAR, q(OURS)),
        source(q(OURS), q(GOOD), q(OURS), q(WRONG)),
        source(q(GOOD), q(OURS), q(WRONG), q(OTHER)),
        f"{OURS} {GOOD}",
        source(q(OURS), q(GOOD + "x")),
        source(q(OURS), q(GOOD[:-1])),
    ],
)
def test_where_it_is_not_clear_nothing_is_taken(text: str) -> None:
    assert secret_in_source(text, OURS) is None


def test_a_secret_that_stands_between_two_others_belongs_to_nobody() -> None:
    assert secret_in_source(source(q(OURS), q(GOOD), q(WRONG)), OURS) == Secret(GOOD)


def test_a_client_id_of_another_form_works_too() -> None:
    assert secret_in_source(source(q("my.app"), q(GOOD)), "my.app") == Secret(GOOD)


@pytest.mark.parametrize("place", ["token", "installed", "web", None])
def test_a_document_gives_the_secret_beside_our_id(place: str | None) -> None:
    pair = {"client_id": OURS, "client_secret": "fake-secret"}
    assert secret_in_document(json.dumps({place: pair} if place else pair), OURS) == Secret("fake-secret")


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "5", "{}", "[" * 100_000, '{"token": 5}', '{"client_id": 5, "client_secret": "fake"}',
        json.dumps({"token": {"client_id": OTHER, "client_secret": "fake"}}),
        json.dumps({"token": {"client_id": OURS}}),
        json.dumps({"token": {"client_id": OURS}, "client_secret": "fake"}),
        json.dumps({"token": {"client_id": OURS, "client_secret": 5}}),
    ],
)  # fmt: skip
def test_other_documents_give_none(text: str) -> None:
    assert secret_in_document(text, OURS) is None


@given(st.text(max_size=200))
def test_no_text_makes_it_crash(text: str) -> None:
    assert secret_in_document(text, OURS) is None
    assert secret_in_source(text, OURS) is None


# --- compiled programs ---


@pytest.mark.parametrize(
    "text",
    [
        f"\0{OURS}\0xyz\0{GOOD}\0",
        f"{GOOD}{'.' * 5000}{OURS}",
        f"{OURS}\0{GOOD}\0{OTHER}\0{WRONG}",
        f"{GOOD}\0{OURS}\0{WRONG}\0{OTHER}",
        f"{OTHER}\0{WRONG}{'.' * 200}{OURS}{GOOD}",
        f"{OURS}\0{GOOD}{'.' * 900}{OURS}\0{GOOD}",
    ],
)
def test_a_program_gives_the_secret_that_is_surely_ours(text: str) -> None:
    assert secret_in_binary(text, OURS) == Secret(GOOD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        OURS,
        f"{OTHER}\0{WRONG}",
        f"{OURS}{OTHER}\0{GOOD}{WRONG}",  # strings sorted by length, as Go's linker lays them
        f"{OTHER}{OURS}\0{WRONG}{GOOD}",
        f"{OURS}\0{GOOD}\0{WRONG}",
        f"{OURS}\0{GOOD}{'.' * 900}{OURS}\0{WRONG}",
        f"{OURS}{'.' * 900}{GOOD}{'.' * 900}{WRONG}",
    ],
)
def test_a_program_where_it_is_not_clear_gives_none(text: str) -> None:
    assert secret_in_binary(text, OURS) is None
