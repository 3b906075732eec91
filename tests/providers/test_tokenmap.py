from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers.tokenmap import merge, read_grant, replace_grant, with_known_end

T = 1_777_630_830.0
NOW = Now(T, 1.0)
NEW = Tokens(Secret("fake-a2"), Secret("fake-r2"), Secret("fake.i.2"), expires_at=T + 3600, scopes=("x", "y"))


def test_a_grant_is_read_by_any_spelling() -> None:
    assert read_grant(
        {
            "accessToken": "fake-a1", "refresh-token": "fake-r1", "id_token": "fake.i.1", "tokenType": "DPoP",
            "expires_at": T, "scope": "x y", "lastRefresh": T - 9,
        }
    ) == Tokens(Secret("fake-a1"), Secret("fake-r1"), Secret("fake.i.1"), "DPoP", T, ("x", "y"), T - 9)  # fmt: skip


def test_an_empty_object_has_an_empty_grant() -> None:
    assert read_grant({}) == Tokens(None)


def test_the_canonical_side_counts_and_the_mirror_fills() -> None:
    canonical = Tokens(Secret("fake-a1"), None, expires_at=None, scopes=())
    mirror = Tokens(Secret("fake-a0"), Secret("fake-r0"), Secret("fake.i.0"), "DPoP", T, ("x",), 5.0)
    assert merge(canonical, mirror) == Tokens(
        Secret("fake-a1"), Secret("fake-r0"), Secret("fake.i.0"), "Bearer", T, ("x",), 5.0
    )


def test_an_access_token_and_its_end_come_from_the_same_side() -> None:
    canonical = Tokens(None, Secret("fake-r1"), expires_at=T)
    mirror = Tokens(Secret("fake-a0"), expires_at=T + 5)
    assert merge(canonical, mirror).expires_at == T + 5
    assert merge(canonical, Tokens(None)).expires_at == T


def test_an_end_that_is_not_known_counts_as_over_where_the_grant_can_be_renewed() -> None:
    known = Tokens(Secret("fake-a"), Secret("fake-r"), expires_at=T)
    assert with_known_end(known) is known
    assert with_known_end(Tokens(Secret("fake-a"), Secret("fake-r"))).expires_at == 0.0
    assert with_known_end(Tokens(Secret("fake-a"))).expires_at is None
    assert with_known_end(Tokens(None, Secret("fake-r"))).expires_at is None


def test_a_replaced_grant_keeps_order_spelling_and_the_unknown() -> None:
    old = {
        "x": 1,
        "refreshToken": "fake-r1",
        "expires": 1_777_630_000,
        "accessToken": "fake-a1",
        "z": {"deep": [1]},
        "last_refresh": 5_000,
    }
    made = replace_grant(old, NEW, NOW, canonical=True)
    assert list(made.items()) == [
        ("x", 1),
        ("refreshToken", "fake-r2"),
        ("expires", 1_777_634_430),
        ("accessToken", "fake-a2"),
        ("z", {"deep": [1]}),
        ("last_refresh", 1_777_630_830),
    ]
    assert old["refreshToken"] == "fake-r1"


def test_a_canonical_object_gets_what_it_lacks_and_a_mirror_does_not() -> None:
    assert replace_grant({}, NEW, NOW, canonical=True) == {
        "access_token": "fake-a2", "refresh_token": "fake-r2", "expired": "2026-05-01T11:20:30Z",
    }  # fmt: skip
    assert replace_grant({"a": 1}, NEW, NOW, canonical=False) == {"a": 1}
    assert replace_grant({}, NEW, NOW, canonical=True, expiry_key="expiry")["expiry"] == "2026-05-01T11:20:30Z"


def test_a_lifetime_beside_the_end_is_kept_in_step() -> None:
    assert replace_grant({"expires_in": 1}, NEW, NOW, canonical=False) == {"expires_in": 3600}
    assert replace_grant({"expiresIn": "1"}, NEW, NOW, canonical=False) == {"expiresIn": "3600"}
    ended = Tokens(Secret("fake-a2"), expires_at=T - 5)
    assert replace_grant({"expires_in": 1}, ended, NOW, canonical=False) == {"expires_in": 0}
    unknown = Tokens(Secret("fake-a2"))
    assert replace_grant({"expires_in": 1}, unknown, NOW, canonical=False) == {"expires_in": 1}


def test_scopes_change_only_where_they_differ_and_keep_their_form() -> None:
    assert replace_grant({"scope": "y x"}, NEW, NOW, canonical=False) == {"scope": "y x"}
    assert replace_grant({"scope": "a"}, NEW, NOW, canonical=False) == {"scope": "x y"}
    assert replace_grant({"scopes": ["a"]}, NEW, NOW, canonical=False) == {"scopes": ["x", "y"]}
    none = Tokens(Secret("fake-a2"))
    assert replace_grant({"scopes": ["a"]}, none, NOW, canonical=False) == {"scopes": ["a"]}
