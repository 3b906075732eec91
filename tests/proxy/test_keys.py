import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.keys import (
    MAX_KEYS,
    PREFIX,
    Holder,
    LocalKey,
    Ring,
    decode,
    digest_of,
    encode,
    free_slot,
    spend,
)
from broker.proxy.naming import Goal, Wanted

DIGEST = digest_of(f"{PREFIX}fake")
KEY = LocalKey(name="ci", sha256=DIGEST, slot=0, created=1_700_000_000)


def key(name: str = "ci", slot: int = 0, **more: object) -> LocalKey:
    return LocalKey(name=name, sha256=digest_of(name), slot=slot, created=1, **more)  # type: ignore[arg-type]


def holder(*globs: str) -> Holder:
    return Holder(key(models=globs))


def test_a_key_is_found_by_its_digest_alone() -> None:
    ring = Ring([key("one"), key("two", 1)])
    found = ring.find(digest_of("two"))
    assert found is not None
    assert found.key.name == "two"
    assert len(ring) == 2
    for other in (digest_of("three"), "", digest_of("two")[:32], digest_of("two").upper(), "two"):
        assert ring.find(other) is None
    assert not len(Ring())


def test_a_digest_is_all_of_sha256() -> None:
    assert digest_of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_expiry() -> None:
    assert not Holder(KEY).expired(1e12)
    ends = Holder(key(expires=1000))
    assert not ends.expired(999.9)
    assert ends.expired(1000.0)


WANTED = Wanted("fast", (Goal("gemini-2.5-pro", ("gemini", "gemini-api")),))


@pytest.mark.parametrize(
    ("globs", "asked", "providers"),
    [
        ((), "gemini-2.5-pro", ("gemini", "gemini-api")),
        (("gemini-*",), "gemini-2.5-pro", ("gemini", "gemini-api")),
        (("claude-*", "*-pro"), "gemini-2.5-pro", ("gemini", "gemini-api")),
        (("gemini-2.5-pro",), "models/gemini-2.5-pro", ("gemini", "gemini-api")),
        (("fast",), "fast", ("gemini", "gemini-api")),
        (("gemini/*",), "gemini/gemini-2.5-pro", ("gemini", "gemini-api")),
        (("gemini-?.5-pro",), "fast", ("gemini", "gemini-api")),
        (("gemini-api/*",), "gemini-2.5-pro", ("gemini-api",)),
        (("*/gemini-*",), "gemini-2.5-pro", ("gemini", "gemini-api")),
        (("gemini-2.5",), "gemini-2.5-pro", None),
        (("pro",), "gemini-2.5-pro", None),
        (("Gemini-*",), "gemini-2.5-pro", None),
        (("claude/*", "claude-*"), "gemini-2.5-pro", None),
        (("gemini-*\n",), "gemini-2.5-pro", None),
    ],
)
def test_models(globs: tuple[str, ...], asked: str, providers: tuple[str, ...] | None) -> None:
    left = holder(*globs).narrowed(asked, WANTED)
    assert (None if left is None else left.providers) == providers
    assert left is None or [goal.model for goal in left.goals] == ["gemini-2.5-pro"]
    assert holder(*globs).limited is bool(globs)


def test_of_a_chain_a_key_opens_the_models_it_names() -> None:
    wanted = Wanted("best", (Goal("a", ("gemini",)), Goal("b", ("claude", "codex")), Goal("c", ("claude",))))
    left = holder("c", "claude/b").narrowed("best", wanted)
    assert left is not None
    assert left.goals == (Goal("b", ("claude",)), Goal("c", ("claude",)))
    assert holder("d").narrowed("best", wanted) is None
    assert holder("best").narrowed("best", wanted) is wanted


@given(
    st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("[]!-*?\\^"), max_size=12), st.text(max_size=12)
)
def test_any_text_is_a_glob_and_one_without_signs_matches_itself_only(glob: str, name: str) -> None:
    left = holder(glob).narrowed(name, Wanted("", (Goal("\0", ()),)))
    if not set(glob) & set("[*?") and not name.startswith("models/"):
        assert (left is not None) is (glob == name) or glob == "\0"


def test_the_text_of_the_file_survives() -> None:
    keys = (KEY, key("laptop", 7, models=("gemini-*", "claude/*"), rpm=60, expires=1_800_000_000))
    data = encode(keys)
    assert decode(data) == keys
    assert data.endswith(b"}\n")
    assert json.loads(data)["keys"][0] == {"name": "ci", "sha256": DIGEST, "slot": 0, "created": 1_700_000_000}
    assert decode(encode(())) == ()


def text(*keys: dict[str, object], version: int = 1) -> bytes:
    return json.dumps({"version": version, "keys": list(keys)}).encode()


ONE: dict[str, object] = {"name": "ci", "sha256": DIGEST, "slot": 0, "created": 1}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "not a file of local keys"),
        (b"{", "not a file of local keys"),
        (b"[]", "not a file of local keys"),
        (text({**ONE, "limit": 3}), "unknown field `limit`"),
        (text({"name": "ci"}), "missing required field `sha256`"),
        (text(ONE, version=2), "of version 2"),
        (text({**ONE, "name": "a b"}), "'a b' is no name"),
        (text({**ONE, "name": "x" * 65}), "is no name"),
        (text({**ONE, "sha256": DIGEST[:32]}), "64 lower-case hexadecimal digits"),
        (text({**ONE, "sha256": DIGEST.upper()}), "64 lower-case hexadecimal digits"),
        (text({**ONE, "slot": MAX_KEYS}), "slot is not from 0"),
        (text({**ONE, "slot": -1}), "slot is not from 0"),
        (text({**ONE, "rpm": 0}), "rpm must be greater"),
        (text(ONE, {**ONE, "sha256": digest_of("x"), "slot": 1}), "same name"),
        (text(ONE, {**ONE, "name": "b", "slot": 1}), "same sha256"),
        (text(ONE, {**ONE, "name": "b", "sha256": digest_of("x")}), "same slot"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_as_a_whole(data: bytes, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decode(data)


def test_slots() -> None:
    assert free_slot([]) == 0
    assert free_slot([key("a", 0), key("b", 2)]) == 1
    assert free_slot([key(f"k{each}", each) for each in range(MAX_KEYS)]) is None


def test_a_bucket_holds_a_minute_s_worth_and_fills_up_evenly() -> None:
    now, until = 5000.0, 0.0
    for _ in range(6):
        until, wait = spend(until, 6, now)
        assert wait == 0.0
    until, wait = spend(until, 6, now)
    assert wait == pytest.approx(10.0)
    assert spend(until, 6, now + 4) == (until, pytest.approx(6.0))
    until, wait = spend(until, 6, now + 10)
    assert wait == 0.0
    assert spend(until, 6, now + 10)[1] == pytest.approx(10.0)


def test_a_refusal_costs_nothing_and_a_changed_rate_counts_at_once() -> None:
    until, _ = spend(0.0, 1, 100.0)
    assert spend(until, 1, 101.0) == (until, pytest.approx(59.0))
    # Whatever stands in the record, nobody waits longer than for one request.
    assert spend(1e9, 60, 100.0)[1] == pytest.approx(1.0)


@given(st.integers(1, 300), st.lists(st.floats(0, 20), max_size=60))
def test_no_minute_sees_more_than_was_saved_up_and_came_in(rpm: int, pauses: list[float]) -> None:
    now, until = 1000.0, 0.0
    taken: list[float] = []
    for pause in [*pauses, *[0.0] * 20]:
        now += pause
        until, wait = spend(until, rpm, now)
        if wait == 0.0:
            taken.append(now)
        else:
            assert wait <= 60 / rpm + 1e-6
            # Whoever waits as long as told is served.
            assert spend(until, rpm, now + wait)[1] == 0.0
    for index, first in enumerate(taken):
        within = [each for each in taken[index:] if each - first <= 60]
        assert len(within) <= 2 * rpm + 1
        assert len(within) <= rpm + (within[-1] - first) * rpm / 60 + 1e-3 + 1
