import pytest

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers import derived

T = 1_777_630_830.0  # 2026-05-01T10:20:30Z
NOW = Now(T, 1.0)
ORIGIN = Secret("fake-origin")
OF = ORIGIN.digest().text
TOKENS = Tokens(Secret("fake-access"), ORIGIN, expires_at=T + 60)


def test_what_is_put_is_read_again() -> None:
    made: dict[str, object] = {"type": "x"}
    derived.put(made, ORIGIN, TOKENS, NOW)
    assert made == {
        "type": "x",
        "ccs_broker": {
            "access_token": "fake-access",
            "expires_at": "2026-05-01T10:21:30Z",
            "last_refresh": "2026-05-01T10:20:30Z",
            "of": OF,
        },
    }
    assert derived.read(made, ORIGIN) == Tokens(Secret("fake-access"), ORIGIN, expires_at=T + 60, last_refresh=T)


def test_a_token_of_another_secret_is_not_read() -> None:
    made: dict[str, object] = {}
    derived.put(made, ORIGIN, TOKENS, NOW)
    assert derived.read(made, Secret("fake-newer")) == Tokens(None, Secret("fake-newer"))


@pytest.mark.parametrize(
    "kept",
    [None, "text", [], {}, {"access_token": ""}, {"access_token": 5, "of": OF}, {"access_token": "fake"}],
)
def test_what_is_no_token_is_none(kept: object) -> None:
    assert derived.read({"ccs_broker": kept}, ORIGIN) == Tokens(None, ORIGIN)


def test_a_token_whose_end_is_not_told_has_ended() -> None:
    found = derived.read({"ccs_broker": {"access_token": "fake", "of": OF, "expires_at": None}}, ORIGIN)
    assert (found.access_token, found.expires_at, found.last_refresh) == (Secret("fake"), 0.0, None)


def test_what_others_put_there_is_kept_and_what_is_no_object_gives_way() -> None:
    made: dict[str, object] = {"ccs_broker": {"mine": 1, "access_token": "fake-old"}}
    derived.put(made, ORIGIN, Tokens(Secret("fake-new")), NOW)
    kept = made["ccs_broker"]
    assert isinstance(kept, dict)
    assert (kept["mine"], kept["access_token"], kept["expires_at"]) == (1, "fake-new", None)
    made = {"ccs_broker": 7}
    derived.put(made, ORIGIN, TOKENS, NOW)
    assert derived.read(made, ORIGIN).access_token


@pytest.mark.parametrize(("origin", "tokens"), [(None, TOKENS), (ORIGIN, Tokens(None, ORIGIN))])
def test_nothing_is_put_without_a_token_or_its_origin(origin: Secret | None, tokens: Tokens) -> None:
    made: dict[str, object] = {"a": 1}
    derived.put(made, origin, tokens, NOW)
    assert made == {"a": 1}
