"""The grants machine: the rules one by one, and strict rotation under any order of use."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.sandbox.grants import (
    Alive,
    AuthorizationRequest,
    Client,
    Death,
    GrantError,
    Grants,
    Policy,
    RefreshGiven,
    Rotation,
    s256,
)
from tests.fakes.clock import FakeChance

ALICE = "alice@example.com"
REDIRECT = "http://localhost:9/cb"
CONFIDENTIAL = Client("app", Secret("fake-client-secret"))
PUBLIC = Client("cli")
VERIFIER = Secret("v" * 43)
T0 = Now(1_750_000_000.0, 100.0)


def later(seconds: float) -> Now:
    return Now(T0.wall + seconds, T0.boot + seconds)


def machine(**policy: object) -> Grants:
    grants = Grants(replace(Policy(), **policy), FakeChance())
    grants.add_client(CONFIDENTIAL)
    grants.add_client(PUBLIC)
    return grants


def request(**changes: object) -> AuthorizationRequest:
    made = AuthorizationRequest("app", REDIRECT, ("a", "b"), s256(VERIFIER.reveal()))
    return replace(made, **changes)


def refused(error: str, *, reuse: bool = False):
    return pytest.raises(GrantError, check=lambda e: e.error == error and e.reuse is reuse)


def planted(grants: Grants, client: str = "app") -> Secret:
    token = grants.issue(client, ALICE, ("a", "b"), T0).refresh_token
    assert token is not None
    return token


def test_s256_is_the_one_of_rfc_7636():
    assert s256("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_clients_authenticate():
    grants = machine()
    assert grants.authenticate("app", Secret("fake-client-secret")) == CONFIDENTIAL
    assert grants.authenticate("cli", None) == PUBLIC
    for client_id, secret in (("app", None), ("app", Secret("no")), ("cli", Secret("x")), ("nobody", None)):
        with refused("invalid_client") as caught:
            grants.authenticate(client_id, secret)
        assert caught.value.status == 401


def test_a_code_becomes_tokens():
    grants = machine()
    code = grants.authorize(request(), ALICE, T0)
    issued = grants.exchange(CONFIDENTIAL, code, REDIRECT, VERIFIER, later(59))
    assert (issued.user, issued.client_id, issued.scopes) == (ALICE, "app", ("a", "b"))
    assert issued.expires_at == later(59 + 3600).boot
    assert grants.introspect(issued.access_token, later(60)) == Alive(ALICE, "app", ("a", "b"), 3599)
    assert grants.owner(code) == grants.owner(issued.access_token) == grants.owner(issued.refresh_token) == ALICE
    assert grants.owner(Secret("unknown")) is None


@pytest.mark.parametrize(
    ("client", "redirect", "verifier", "seconds"),
    [
        (PUBLIC, REDIRECT, VERIFIER, 0),
        (CONFIDENTIAL, REDIRECT + "/", VERIFIER, 0),
        (CONFIDENTIAL, REDIRECT, Secret("w" * 43), 0),
        (CONFIDENTIAL, REDIRECT, None, 0),
        (CONFIDENTIAL, REDIRECT, VERIFIER, 60),
    ],
)
def test_a_code_is_bound_to_what_it_was_made_for(client, redirect, verifier, seconds):
    grants = machine()
    code = grants.authorize(request(), ALICE, T0)
    with refused("invalid_grant"):
        grants.exchange(client, code, redirect, verifier, later(seconds))
    assert grants.exchange(CONFIDENTIAL, code, REDIRECT, VERIFIER, T0).refresh_token is not None


def test_an_unknown_code_and_an_unasked_verifier():
    grants = machine()
    with refused("invalid_grant"):
        grants.exchange(CONFIDENTIAL, Secret("made-up"), REDIRECT, None, T0)
    code = grants.authorize(request(challenge=None), ALICE, T0)
    with refused("invalid_grant"):
        grants.exchange(CONFIDENTIAL, code, REDIRECT, VERIFIER, T0)
    assert grants.exchange(CONFIDENTIAL, code, REDIRECT, None, T0)


def test_a_code_used_twice_revokes_what_it_gave():
    grants = machine()
    code = grants.authorize(request(), ALICE, T0)
    issued = grants.exchange(CONFIDENTIAL, code, REDIRECT, VERIFIER, T0)
    with refused("invalid_grant", reuse=True):
        grants.exchange(CONFIDENTIAL, code, REDIRECT, VERIFIER, T0)
    assert grants.introspect(issued.access_token, T0) is Death.REVOKED
    assert not grants.accepts(issued.refresh_token)
    assert grants.families(ALICE) == ("the code was used twice",)


@pytest.mark.parametrize(
    ("client", "policy", "challenge", "fine"),
    [
        ("app", {}, None, True),
        ("app", {"require_pkce": True}, None, False),
        ("cli", {}, None, False),
        ("cli", {}, s256("x"), True),
        ("app", {}, "short", False),
    ],
)
def test_who_must_use_pkce(client, policy, challenge, fine):
    grants = machine(**policy)
    wish = request(client_id=client, challenge=challenge)
    if fine:
        assert grants.authorize(wish, ALICE, T0)
    else:
        with refused("invalid_request"):
            grants.authorize(wish, ALICE, T0)


@pytest.mark.parametrize(
    ("uri", "fine"),
    [
        ("http://127.0.0.1:1/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:8080/", True),
        ("https://app.example/cb", True),
        ("https://127.0.0.1:1/x", False),
        ("http://127.0.0.1.example/x", False),
        ("http://localhost:0/", False),
        ("http://localhost:notaport/", False),
        ("http://[::1/", False),
        ("", False),
    ],
)
def test_redirect_uris(uri, fine):
    grants = machine()
    grants.add_client(replace(CONFIDENTIAL, redirect_uris=("https://app.example/cb",)))
    if fine:
        grants.check_redirect("app", uri)
    else:
        with refused("invalid_request"):
            grants.check_redirect("app", uri)


def test_googles_rule_for_refresh_tokens():
    grants = machine(refresh_given=RefreshGiven.OFFLINE)

    def given(**wish: object) -> bool:
        code = grants.authorize(request(**wish), ALICE, T0)
        return grants.exchange(CONFIDENTIAL, code, REDIRECT, VERIFIER, T0).refresh_token is not None

    assert given(offline=True)
    assert not given(offline=True)
    assert given(offline=True, prompt_consent=True)
    assert not given(prompt_consent=True)


def test_without_rotation_a_refresh_token_stays():
    grants = machine(rotate=Rotation.OFF)
    token = planted(grants)
    for _ in range(3):
        assert grants.refresh(CONFIDENTIAL, token, T0).refresh_token is None
    assert grants.accepts(token)


def test_with_rotation_the_spent_one_is_refused_and_the_family_lives():
    grants = machine(rotate=Rotation.ON)
    token = planted(grants)
    second = grants.refresh(CONFIDENTIAL, token, T0)
    assert not grants.accepts(token)
    with refused("invalid_grant", reuse=True):
        grants.refresh(CONFIDENTIAL, token, T0)
    assert grants.accepts(second.refresh_token)
    assert isinstance(grants.introspect(second.access_token, T0), Alive)


def test_strict_rotation_kills_the_family():
    grants = machine()
    token = planted(grants)
    other = planted(grants)
    second = grants.refresh(CONFIDENTIAL, token, T0)
    with refused("invalid_grant", reuse=True):
        grants.refresh(CONFIDENTIAL, token, T0)
    with refused("invalid_grant"):
        grants.refresh(CONFIDENTIAL, second.refresh_token, T0)
    assert grants.introspect(second.access_token, T0) is Death.REVOKED
    assert grants.accepts(other)
    assert grants.families(ALICE) == ("a refresh token was used twice", None)


def test_within_grace_the_same_answer_comes_again():
    grants = machine(grace_seconds=10)
    token = planted(grants)
    first = grants.refresh(CONFIDENTIAL, token, T0)
    assert grants.refresh(CONFIDENTIAL, token, later(9.9)) == first
    with refused("invalid_grant", reuse=True):
        grants.refresh(CONFIDENTIAL, token, later(10))
    with refused("invalid_grant", reuse=True):  # the family is dead: no grace any more
        grants.refresh(CONFIDENTIAL, token, T0)


def test_a_refresh_token_is_bound_to_its_client_and_scopes():
    grants = machine()
    token = planted(grants)
    with refused("invalid_grant"):
        grants.refresh(PUBLIC, token, T0)
    with refused("invalid_grant"):
        grants.refresh(CONFIDENTIAL, Secret("made-up"), T0)
    with refused("invalid_scope"):
        grants.refresh(CONFIDENTIAL, token, T0, ("a", "c"))
    narrow = grants.refresh(CONFIDENTIAL, token, T0, ("a",))
    assert narrow.scopes == ("a",)
    assert grants.refresh(CONFIDENTIAL, narrow.refresh_token, T0).scopes == ("a", "b")


def test_revocation():
    grants = machine()
    issued = grants.issue("app", ALICE, (), T0)
    spare = grants.refresh(CONFIDENTIAL, issued.refresh_token, T0)
    assert grants.revoke(issued.access_token)
    assert grants.introspect(issued.access_token, T0) is Death.REVOKED
    assert isinstance(grants.introspect(spare.access_token, T0), Alive)
    assert grants.revoke(spare.refresh_token)
    assert grants.revoke(spare.refresh_token)
    assert grants.introspect(spare.access_token, T0) is Death.REVOKED
    assert not grants.revoke(Secret("unknown"))
    assert not grants.accepts(Secret("unknown"))


def test_revoking_a_user_leaves_others():
    grants = machine()
    token = planted(grants)
    bob = grants.issue("app", "bob@example.com", (), T0)
    assert grants.revoke_user(ALICE) == 1
    assert grants.revoke_user(ALICE) == 0
    assert not grants.accepts(token)
    assert grants.accepts(bob.refresh_token)


def test_access_tokens_end_and_are_forgotten():
    grants = machine(access_lifetime=10)
    issued = grants.issue("app", ALICE, (), T0, with_refresh=False)
    assert issued.refresh_token is None
    assert grants.introspect(issued.access_token, later(9.9)).expires_in == pytest.approx(0.1)
    assert grants.introspect(issued.access_token, later(10)) is Death.EXPIRED
    assert grants.introspect(Secret("x"), T0) is Death.UNKNOWN
    grants.issue("app", ALICE, (), later(3609))
    assert grants.introspect(issued.access_token, later(3609)) is Death.EXPIRED
    grants.issue("app", ALICE, (), later(3610))
    assert grants.introspect(issued.access_token, later(3610)) is Death.UNKNOWN


class StrictRotation(RuleBasedStateMachine):
    """Whatever is presented in whatever order: a refresh token is accepted at most once, and reuse ends its family."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.grants = machine()
        self.seconds = 0.0
        self.accepted: set[Secret] = set()
        self.family_of: dict[Secret, int] = {}
        self.dead: set[int] = set()
        self.access: list[tuple[int, Secret]] = []

    def keep(self, issued) -> Secret:
        self.family_of[issued.refresh_token] = issued.family
        self.access.append((issued.family, issued.access_token))
        return issued.refresh_token

    @rule(target=tokens)
    def login(self):
        return self.keep(self.grants.issue("app", ALICE, ("a",), later(self.seconds)))

    @rule(seconds=st.floats(0, 50))
    def wait(self, seconds):
        self.seconds += seconds

    @rule(target=tokens, token=tokens)
    def refresh(self, token):
        family = self.family_of[token]
        should = token not in self.accepted and family not in self.dead
        assert self.grants.accepts(token) is should
        if not should:
            with refused("invalid_grant", reuse=token in self.accepted):
                self.grants.refresh(CONFIDENTIAL, token, later(self.seconds))
            self.dead.add(family)
            return token
        issued = self.grants.refresh(CONFIDENTIAL, token, later(self.seconds))
        assert issued.family == family
        assert issued.refresh_token not in self.family_of
        self.accepted.add(token)
        return self.keep(issued)

    @rule(token=consumes(tokens))
    def revoke(self, token):
        self.grants.revoke(token)
        self.dead.add(self.family_of[token])

    @invariant()
    def dead_families_have_no_living_token(self):
        for family, token in self.access:
            standing = self.grants.introspect(token, T0)
            assert isinstance(standing, Alive) is (family not in self.dead)


StrictRotation.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestStrictRotation = StrictRotation.TestCase
