"""Transcripts: what comes in on the left, what is done on the right."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.ipc.schema import Lease
from broker.model.secret import Secret
from broker.proxy import attempts
from broker.proxy.attempts import (
    MAX_SENDS,
    MAX_SENDS_OF_CHAIN,
    Action,
    Answered,
    Borrow,
    Broken,
    ClientGone,
    Close,
    Cut,
    Event,
    GiveUp,
    Leased,
    Limit,
    Overdue,
    PassBack,
    Patience,
    Reject,
    Relay,
    Send,
    State,
    begin,
    cooldown_seconds,
    step,
)
from broker.proxy.choose import Candidate
from broker.proxy.failures import failure

LOST = failure(502, "the connection broke")


def lease(account: str, generation: int = 1) -> Lease:
    return Lease(account=account, provider="gemini", generation=generation, access_token=Secret("fake-access-1"))


def held(*names: str) -> tuple[Candidate, ...]:
    return tuple(Candidate(name, "gemini", lease(name)) for name in names)


def answered(status: int, **fields: float | str) -> Answered:
    return Answered(status, None if status < 300 else failure(status, f"says {status}", **fields))  # type: ignore[arg-type]


def told(action: Action) -> str:
    match action:
        case Send(account, held_lease, delay, home, model):
            place = (f" for {model}" if model else "") + (f" home {home}" if home else "")
            return f"send {account}@{held_lease.generation}{place}" + (f" after {delay}" if delay else "")
        case Borrow(account, delay):
            return f"borrow {account}" + (f" after {delay}" if delay else "")
        case Reject(account, generation):
            return f"reject {account}@{generation}"
        case Limit(account, _, seconds, reason, model):
            return f"limit {account} {seconds} {reason}" + (f" for {model}" if model else "")
        case Relay():
            return "relay"
        case PassBack(passed):
            return f"pass back {passed.status}"
        case GiveUp(tried):
            return "give up " + ", ".join(f"{each.account}: {each.text}" for each in tried)
        case Cut(passed):
            return f"cut {passed.status}"
        case Close():
            return "close"


TWO_ROUNDS = Patience(2)


def play(candidates: tuple[Candidate, ...], *events: Event, patience: Patience = TWO_ROUNDS) -> list[str]:
    state, actions = begin(candidates, patience)
    out = [told(action) for action in actions]
    for event in events:
        state, actions = step(state, event)
        out += [told(action) for action in actions]
    return out


def test_a_good_answer_is_relayed() -> None:
    assert play(held("a", "b"), answered(200)) == ["send a@1", "relay"]


def elsewhere(status: int, **fields: float | str) -> Answered:
    return msgspec.structs.replace(answered(status, **fields), elsewhere=True)


@pytest.mark.parametrize(
    "event", [elsewhere(404), elsewhere(408), elsewhere(429), elsewhere(503), Broken(LOST, elsewhere=True)]
)
def test_the_next_host_is_asked_with_the_same_account(event: Event) -> None:
    assert play(held("a", "b"), event, answered(200)) == ["send a@1", "send a@1 home 1", "relay"]


@pytest.mark.parametrize("status", [400, 402, 403])
def test_another_host_would_say_the_same(status: int) -> None:
    assert "home" not in " ".join(play(held("a", "b"), elsewhere(status)))


def test_the_next_account_begins_at_the_first_host() -> None:
    assert play(held("a", "b"), elsewhere(500), answered(500), answered(200)) == [
        "send a@1",
        "send a@1 home 1",
        "send b@1",
        "relay",
    ]


def test_a_replay_goes_to_the_host_that_rejected_the_token() -> None:
    assert play(held("a"), elsewhere(500), answered(401), Leased(lease("a", 2)), answered(200)) == [
        "send a@1",
        "send a@1 home 1",
        "reject a@1",
        "send a@2 home 1",
        "relay",
    ]


@pytest.mark.parametrize("last", [answered(404), answered(503), Broken(LOST)])
def test_a_limit_one_host_told_is_kept_where_the_last_one_fails_otherwise(last: Event) -> None:
    assert play(held("a", "b"), elsewhere(429, retry_after=60.0), last) == [
        "send a@1",
        "send a@1 home 1",
        "limit a 60.0 says 429",
        "send b@1",
    ]


def test_the_last_host_s_limit_counts() -> None:
    told = play(held("a"), elsewhere(429, retry_after=60.0), answered(429, retry_after=5.0))
    assert told[:3] == ["send a@1", "send a@1 home 1", "limit a 5.0 says 429"]


def test_hosts_take_no_account_s_turn() -> None:
    names = [f"a{number}" for number in range(MAX_SENDS)]
    told = play(held(*names), *[elsewhere(429), answered(429)] * (MAX_SENDS - 1), elsewhere(429), answered(200))
    assert told[-2:] == [f"send {names[-1]}@1 home 1", "relay"]
    told = play(held("a"), *[elsewhere(503)] * 100)
    assert sum(each.startswith("send") for each in told) == MAX_SENDS_OF_CHAIN
    assert told[-1].startswith("give up")


def test_nobody_to_ask() -> None:
    assert play(()) == ["give up "]


def test_401_is_reported_and_replayed_once_with_the_next_lease() -> None:
    assert play(held("a", "b"), answered(401), Leased(lease("a", 2)), answered(200)) == [
        "send a@1",
        "reject a@1",
        "send a@2",
        "relay",
    ]
    assert play(
        held("a", "b"),
        answered(401),
        Leased(lease("a", 2)),
        answered(401),
        answered(401),
        Leased(None, "needs a login"),
    ) == [
        "send a@1",
        "reject a@1",
        "send a@2",
        "send b@1",
        "reject b@1",
        "give up a: says 401, b: needs a login",
    ]


def test_a_lease_that_did_not_change_is_not_replayed() -> None:
    assert play(held("a"), answered(401), Leased(lease("a", 1))) == [
        "send a@1",
        "reject a@1",
        "give up a: the provider rejects its token",
    ]


def test_429_cools_and_moves_on() -> None:
    limited = answered(429, retry_after=7.0), answered(429, reason="QUOTA_EXHAUSTED")
    assert play(held("a", "b"), *limited, patience=Patience(1)) == [
        "send a@1",
        "limit a 7.0 says 429",
        "send b@1",
        "limit b None QUOTA_EXHAUSTED",
        "give up a: says 429, b: says 429",
    ]


def test_403_sets_aside_only_where_another_may_serve() -> None:
    assert play(held("a", "b"), answered(403), answered(403)) == [
        "send a@1",
        "limit a 300.0 says 403",
        "send b@1",
        "give up a: says 403, b: says 403",
    ]
    assert play(held("a"), answered(402)) == ["send a@1", "give up a: says 402"]


def test_404_moves_on_without_a_cool_down() -> None:
    assert play(held("a", "b"), answered(404), answered(200)) == ["send a@1", "send b@1", "relay"]


@pytest.mark.parametrize("status", [400, 405, 409, 413, 415, 422, 451])
def test_the_request_s_own_fault_goes_straight_back(status: int) -> None:
    assert play(held("a", "b"), answered(status)) == ["send a@1", f"pass back {status}"]


@pytest.mark.parametrize("event", [answered(408), answered(500), answered(503), answered(529), Broken(LOST)])
def test_passing_faults_move_on_and_get_a_second_round(event: Event) -> None:
    assert play(held("a", "b"), event, event, answered(200)) == ["send a@1", "send b@1", "send a@1 after 0.5", "relay"]
    out = play(held("a"), event, event)
    assert out[:2] == ["send a@1", "send a@1 after 0.5"]
    assert out[2].startswith("give up a: ")


def test_only_what_may_pass_soon_gets_a_second_round() -> None:
    assert play(held("a", "b"), answered(429, retry_after=60.0), answered(503), answered(503)) == [
        "send a@1",
        "limit a 60.0 says 429",
        "send b@1",
        "send b@1 after 0.5",
        "give up a: says 429, b: says 503",
    ]


def test_who_was_waited_for_in_vain_is_not_asked_again() -> None:
    slow = Broken(LOST, slow=True)
    assert play(held("a", "b"), slow, slow, patience=Patience(3)) == [
        "send a@1",
        "send b@1",
        "give up a: the connection broke, b: the connection broke",
    ]
    assert play(held("a"), msgspec.structs.replace(slow, elsewhere=True), slow) == [
        "send a@1",
        "send a@1 home 1",
        "give up a: the connection broke",
    ]


def test_each_round_is_waited_for_longer() -> None:
    out = play(held("a"), *[answered(503)] * 9, patience=Patience(4))
    assert out[:-1] == ["send a@1", "send a@1 after 0.5", "send a@1 after 1.0", "send a@1 after 2.0"]
    assert out[-1] == "give up a: says 503"


def test_one_round_is_no_second_one() -> None:
    assert play(held("a"), answered(503), patience=Patience(1)) == ["send a@1", "give up a: says 503"]


def test_a_short_limit_is_waited_for() -> None:
    assert play(held("a"), answered(429, retry_after=2.0), answered(200)) == [
        "send a@1",
        "limit a 2.0 says 429",
        "send a@1 after 2.0",
        "relay",
    ]
    out = play(held("a"), answered(429), answered(429), answered(200), patience=Patience(3))
    assert [each for each in out if each.startswith("send")] == ["send a@1", "send a@1 after 1.0", "send a@1 after 2.0"]


@pytest.mark.parametrize("status", [429, 503])
def test_a_longer_wait_than_one_has_patience_for_is_none(status: int) -> None:
    told = play(held("a"), answered(status, retry_after=3.0), patience=Patience(3, 2.0))
    assert [each for each in told if not each.startswith("limit")] == ["send a@1", f"give up a: says {status}"]


def test_a_server_that_names_its_pause_gets_it() -> None:
    assert play(held("a"), answered(503, retry_after=4.0), answered(200))[1] == "send a@1 after 4.0"


def test_patience_of_no_seconds_still_has_its_rounds() -> None:
    assert play(held("a"), answered(503), answered(200), patience=Patience(2, 0.0))[1] == "send a@1 after 0.5"


def test_whoever_is_ready_first_is_asked_first() -> None:
    assert play(
        held("a", "b"),
        answered(429, retry_after=2.0),
        answered(503),
        answered(503),
        answered(503),
        patience=Patience(4),
    ) == [
        "send a@1",
        "limit a 2.0 says 429",
        "send b@1",
        "send b@1 after 0.5",
        "send b@1 after 1.0",
        "send a@1 after 0.5",
    ]


def test_accounts_that_cool_are_waited_for_where_there_is_no_other() -> None:
    cooling = tuple(
        msgspec.structs.replace(each, pause=pause) for each, pause in zip(held("a", "b"), (3.0, 1.5), strict=True)
    )
    assert play(cooling, answered(200)) == ["send b@1 after 1.5", "relay"]
    assert play(cooling, answered(400)) == ["send b@1 after 1.5", "pass back 400"]
    assert play(cooling, answered(404), answered(200), patience=Patience(3)) == [
        "send b@1 after 1.5",
        "send a@1 after 1.5",
        "relay",
    ]


def test_a_second_round_uses_the_renewed_lease() -> None:
    assert play(held("a"), answered(401), Leased(lease("a", 2)), answered(503)) == [
        "send a@1",
        "reject a@1",
        "send a@2",
        "send a@2 after 0.5",
    ]


def test_tokens_not_at_hand_are_borrowed() -> None:
    empty = (Candidate("a", "gemini", None), *held("b"))
    assert play(empty, Leased(lease("a", 5)), answered(200)) == ["borrow a", "send a@5", "relay"]
    assert play(empty, Leased(None, "backing off"), answered(503), answered(503)) == [
        "borrow a",
        "send b@1",
        "send b@1 after 0.5",
        "give up a: backing off, b: says 503",
    ]


def test_nothing_is_retried_after_the_first_byte() -> None:
    assert play(held("a", "b"), answered(200), Broken(LOST)) == ["send a@1", "relay", "cut 502"]


def test_a_client_that_left_stops_everything() -> None:
    assert play(held("a", "b"), ClientGone(), answered(429), Broken(LOST)) == ["send a@1", "close"]
    assert play(held("a", "b"), answered(200), ClientGone()) == ["send a@1", "relay", "close"]


def test_time_that_is_up_ends_everything() -> None:
    assert play(held("a", "b"), Overdue(LOST), answered(200)) == ["send a@1", "pass back 502"]
    assert play(held("a", "b"), answered(200), Overdue(LOST)) == ["send a@1", "relay", "cut 502"]


def test_sends_are_bounded() -> None:
    names = [f"a{number:02}" for number in range(30)]
    out = play(held(*names), *[answered(429)] * 40)
    assert sum(line.startswith("send") for line in out) == MAX_SENDS
    assert out[-1].startswith("give up")


@pytest.mark.parametrize(
    ("hint", "strikes", "seconds"),
    [
        (7.5, 0, 7.5),
        (0.0, 3, 1.0),
        (18 * 86400.0, 0, 3600.0),
        (None, 0, 1.0),
        (None, 3, 8.0),
        (None, 11, 1800.0),
        (None, 10_000, 1800.0),
    ],
)
def test_cool_downs(hint: float | None, strikes: int, seconds: float) -> None:
    assert cooldown_seconds(hint, strikes) == seconds


EVENTS = st.one_of(
    st.sampled_from([200, 400, 401, 403, 404, 408, 429, 500, 503]).map(answered),
    st.sampled_from([404, 429, 503]).map(elsewhere),
    st.builds(Broken, st.just(LOST), slow=st.booleans()),
    st.one_of(st.none(), st.integers(1, 4).map(lambda number: lease("a", number))).map(Leased),
    st.just(ClientGone()),
    st.just(Overdue(LOST)),
)


@given(st.integers(0, 5), st.lists(EVENTS, max_size=40))
def test_every_run_ends_once_and_asks_one_thing_at_a_time(size: int, events: list[Event]) -> None:
    state, actions = begin(held(*[f"a{number}" for number in range(size)]), Patience())
    sends = ends = 0
    for event in [None, *events]:
        if event is not None:
            if not _fits(event, actions):
                continue
            state, actions = step(state, event)
        waiting = [action for action in actions if isinstance(action, Send | Borrow | Reject | Relay)]
        assert len(waiting) <= 1
        sends += sum(isinstance(action, Send) and not action.home for action in actions)
        ends += sum(isinstance(action, GiveUp | PassBack | Cut | Close) for action in actions)
        assert bool(waiting) or not actions or ends == 1
    assert sends <= MAX_SENDS + size + 1
    assert ends <= 1
    assert isinstance(state, State)
    assert attempts.step(state, ClientGone())[0].over


def _fits(event: Event, actions: tuple[Action, ...]) -> bool:
    last = actions[-1] if actions else None
    match event:
        case Leased():
            return isinstance(last, Borrow | Reject)
        case Answered():
            return isinstance(last, Send)
        case Broken():
            return isinstance(last, Send | Relay)
        case ClientGone() | Overdue():
            return True


# --- chains of models ---


def chain(*steps: tuple[str, str]) -> tuple[Candidate, ...]:
    goals = list(dict.fromkeys(model for _, model in steps))
    return tuple(Candidate(name, "gemini", lease(name), model, goals.index(model)) for name, model in steps)


def test_the_next_model_of_a_chain_is_asked_when_no_account_serves_the_first() -> None:
    assert play(
        chain(("a", "m"), ("b", "m"), ("a", "n")), answered(429, reason="quota"), answered(404), answered(200)
    ) == ["send a@1 for m", "limit a None quota for m", "send b@1 for m", "send a@1 for n", "relay"]


def test_the_request_s_own_fault_ends_a_chain() -> None:
    assert play(chain(("a", "m"), ("a", "n")), answered(400)) == ["send a@1 for m", "pass back 400"]


def test_a_model_with_many_accounts_leaves_something_for_the_next() -> None:
    crowd = [(f"a{n}", "m") for n in range(MAX_SENDS + 3)]
    out = play(chain(*crowd, ("z", "n")), *[answered(500)] * MAX_SENDS, answered(200))
    assert out[-3:] == [f"send a{MAX_SENDS - 1}@1 for m", "send z@1 for n", "relay"]


def test_a_chain_as_a_whole_is_bounded() -> None:
    steps = [(f"a{n}", f"m{n % 10}") for n in range(100)]
    ordered = chain(*sorted(steps, key=lambda step: step[1]))
    out = play(ordered, *[answered(500)] * 200)
    assert sum(line.startswith("send") for line in out) == MAX_SENDS_OF_CHAIN
    assert out[-1].startswith("give up")


def test_the_second_round_of_a_chain_begins_with_its_first_model() -> None:
    out = play(chain(("a", "m"), ("b", "n")), answered(500), answered(500), answered(500), answered(200))
    assert out == ["send a@1 for m", "send b@1 for n", "send a@1 for m after 0.5", "send b@1 for n", "relay"]
