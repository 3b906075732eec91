from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.account import AccountId, Record, Tokens
from broker.model.secret import Digest, Secret
from broker.providers.base import Identity
from broker.store.link import MARK, Link, Verdict, compare, link_of, linked, of_another, succeeded, unlinked

LINK = Link("claude-code", "/home/ann/.claude/.credentials.json")


def digest(number: int) -> Digest:
    return Secret(f"fake-refresh-{number}").digest()


def tokens(number: int, *, access: int | None = None, ends: float | None = None, seen: float | None = None) -> Tokens:
    held = Secret(f"fake-access-{number if access is None else access}")
    return Tokens(held, Secret(f"fake-refresh-{number}"), expires_at=ends, last_refresh=seen)


def test_a_link_is_written_and_read() -> None:
    document = {"type": "claude", "x_mine": 1}
    assert link_of(document) is None
    made = linked(document, LINK)
    assert made == {**document, MARK: {"linked": {"tool": LINK.tool, "path": LINK.path, "spent": []}}}
    assert link_of(made) == LINK
    keyed = replace(LINK, key="issuer::client", spent=(digest(1),))
    assert link_of(linked(document, keyed)) == keyed


def test_what_else_is_ours_stays() -> None:
    document = {"type": "claude", MARK: {"access_token": "fake-access"}}
    made = linked(document, LINK)
    assert made[MARK] == {"access_token": "fake-access", "linked": {"tool": LINK.tool, "path": LINK.path, "spent": []}}
    assert unlinked(made) == document
    assert unlinked(linked({"type": "claude"}, LINK)) == {"type": "claude"}
    assert unlinked({"type": "claude", MARK: 7}) == {"type": "claude"}
    assert linked({MARK: 7}, LINK) == linked({}, LINK)


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {"tool": "codex"},
        {"tool": "codex", "path": "relative"},
        {"tool": "", "path": "/x"},
        {"tool": "codex", "path": "/x", "key": 1},
        {"tool": 1, "path": "/x"},
    ],
)
def test_a_link_that_makes_no_sense_is_none(entry: object) -> None:
    assert link_of({MARK: {"linked": entry}}) is None


def test_what_is_known_to_be_spent_grows_and_is_bounded() -> None:
    document: dict[str, object] = linked({}, LINK)
    for number in range(40):
        document = succeeded(document, digest(number), digest(number + 1))
    link = link_of(document)
    assert link is not None
    assert link.spent == tuple(digest(number) for number in range(24, 40))
    again = link_of(linked(document, replace(LINK, spent=(digest(99),))))
    assert again is not None
    assert again.spent[-2:] == (digest(39), digest(99))


def test_a_token_that_came_back_is_no_longer_behind() -> None:
    document = succeeded(linked({}, LINK), digest(1), digest(2))
    link = link_of(succeeded(document, digest(2), digest(1)))
    assert link is not None
    assert link.spent == (digest(2),)


def test_nothing_is_noted_where_nothing_changed() -> None:
    assert succeeded({"a": 1}, digest(1), digest(2)) == {"a": 1}
    document = linked({}, LINK)
    assert succeeded(document, digest(1), digest(1)) == document
    assert succeeded(document, None, digest(1)) == document


def test_fingerprints_that_are_none_are_passed_over() -> None:
    entry = {"tool": "codex", "path": "/x", "spent": ["no", 7, digest(1).text]}
    link = link_of({MARK: {"linked": entry}})
    assert link is not None
    assert link.spent == (digest(1),)
    unlisted = link_of({MARK: {"linked": {**entry, "spent": "no"}}})
    assert unlisted is not None
    assert unlisted.spent == ()


@pytest.mark.parametrize(
    ("ours", "theirs", "spent", "verdict"),
    [
        (tokens(2), tokens(2), (), Verdict.SAME),
        (tokens(2, ends=100), tokens(1, ends=900), (1,), Verdict.PUSH),  # a fingerprint counts more than any time
        (tokens(2, ends=100), tokens(3, ends=200), (1,), Verdict.ADOPT),
        (tokens(2, ends=100), tokens(3, ends=100), (), Verdict.ADOPT),
        (tokens(2, ends=100), tokens(3, ends=50), (), Verdict.HOLD),
        (tokens(2, seen=100), tokens(3, seen=50), (), Verdict.HOLD),
        (tokens(2), tokens(3), (), Verdict.ADOPT),
        (Tokens(Secret("fake-access")), tokens(3), (), Verdict.ADOPT),
        # a refresh token that stays, as Google's: the access token that lives longer
        (tokens(2, access=1, ends=100), tokens(2, access=2, ends=200), (), Verdict.ADOPT),
        (tokens(2, access=1, ends=200), tokens(2, access=2, ends=100), (), Verdict.PUSH),
        (tokens(2, access=1, ends=100), tokens(2, access=2, ends=100), (), Verdict.SAME),
        (tokens(2, access=1), replace(tokens(2), access_token=None), (), Verdict.SAME),
        (replace(tokens(2), access_token=None), tokens(2, access=1), (), Verdict.ADOPT),
    ],
)
def test_the_newer_grant(ours: Tokens, theirs: Tokens, spent: tuple[int, ...], verdict: Verdict) -> None:
    assert compare(ours, theirs, {digest(number) for number in spent}) is verdict


grants = st.builds(
    lambda number, access, ends: tokens(number, access=access, ends=ends),
    st.integers(0, 3), st.integers(0, 3), st.none() | st.floats(0, 1e9),
)  # fmt: skip


@given(grants, grants, st.frozensets(st.integers(0, 3)))
def test_of_two_grants_never_both_are_written_over(one: Tokens, other: Tokens, spent: frozenset[int]) -> None:
    known = {digest(number) for number in spent}
    verdict = compare(one, other, known)
    if one.refresh_digest() != other.refresh_digest() and other.refresh_digest() in known:
        assert verdict is Verdict.PUSH
    if verdict is Verdict.PUSH and one.refresh_digest() != other.refresh_digest():
        assert other.refresh_digest() in known, "only a token that was ours before is ever written over"
    back = compare(other, one, ())
    assert not (verdict is Verdict.PUSH and back is Verdict.PUSH)


def test_somebody_elses_login_is_told() -> None:
    mine = Record(AccountId("claude", "ann"), tokens(1), "ann@example.com", "uuid-1", {"account_uuid": "uuid-1"})
    assert not of_another(mine, Identity())
    assert not of_another(mine, Identity("Ann@Example.com"))
    assert of_another(mine, Identity("bob@example.com"))
    assert of_another(mine, Identity(None, "uuid-2"))
    assert of_another(mine, Identity(facts={"account_uuid": "uuid-2"}))
    assert not of_another(mine, Identity(facts={"organization_uuid": "org"}))
