"""What the sandbox's authorization server knows and decides: clients, codes, tokens, families.

Owns: the rules of RFC 6749, RFC 7636 (S256), RFC 7009 and refresh-token rotation with reuse detection (RFC 9700 section 4.14.2).
It must never read a clock (`now` is passed in) or speak HTTP. Tokens are kept as digests: this side needs no clear text, except
for the answers a grace period repeats, which stay `Secret`.
"""

import base64
import hashlib
import hmac
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from broker.model.clock import Chance, Now
from broker.model.secret import Digest, Secret

_TOKEN_BYTES = 24  # 192 bits: cannot be guessed, still readable in a test's output of digests
_FORGET_EXPIRED_AFTER_SECONDS = 3600.0  # until then an expired access token is told apart from an unknown one
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Rotation(StrEnum):
    """What happens to a refresh token when it is used.

    `off`: it stays and no new one is sent. `on`: a new one comes, the old one is refused from then on. `strict`: as `on`, and
    presenting a spent one revokes every token of the family.
    """

    OFF = "off"
    ON = "on"
    STRICT = "strict"


class RefreshGiven(StrEnum):
    """When a code exchange yields a refresh token.

    `always`; or `offline`, Google's rule: only where the authorization asked for `access_type=offline`, and only at the user's
    first consent to that client unless it also asked for `prompt=consent`.
    """

    ALWAYS = "always"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Policy:
    """How the server behaves. All times are seconds."""

    access_lifetime: float = 3600.0
    rotate: Rotation = Rotation.STRICT
    grace_seconds: float = 0.0
    code_lifetime: float = 60.0
    require_pkce: bool = False
    refresh_given: RefreshGiven = RefreshGiven.ALWAYS


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client. `secret` is None for a public one, which must use PKCE.

    `redirect_uris` are accepted literally, besides any http URL on a loopback host with any port (RFC 8252 section 7.3).
    """

    client_id: str
    secret: Secret | None = None
    redirect_uris: tuple[str, ...] = ()


class GrantError(Exception):
    """A refusal. `error` is the code of RFC 6749 section 5.2 or RFC 8628 section 3.5; `reuse` marks a spent token presented again."""

    def __init__(self, error: str, description: str, *, reuse: bool = False) -> None:
        """Carry the code and one sentence."""
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.reuse = reuse

    @property
    def status(self) -> int:
        """The HTTP status of the answer."""
        return 401 if self.error == "invalid_client" else 400


@dataclass(frozen=True, slots=True)
class Issued:
    """A successful answer. `refresh_token` is None where none was made. `expires_at` is boot-clock seconds."""

    user: str
    client_id: str
    scopes: tuple[str, ...]
    family: int
    access_token: Secret
    refresh_token: Secret | None
    expires_at: float


class Death(StrEnum):
    """Why an access token is not accepted."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Alive:
    """An access token that is good for `expires_in` more seconds, and whose it is."""

    user: str
    client_id: str
    scopes: tuple[str, ...]
    expires_in: float


@dataclass(slots=True)
class _Family:
    user: str
    client_id: str
    scopes: tuple[str, ...]
    revoked: str | None = None


@dataclass(slots=True)
class _Code:
    client_id: str
    redirect_uri: str
    user: str
    scopes: tuple[str, ...]
    challenge: str | None
    wants_refresh: bool
    expires_at: float
    family: int | None = None


@dataclass(slots=True)
class _Refresh:
    family: int
    spent_at: float | None = None
    answer: Issued | None = None


@dataclass(slots=True)
class _Access:
    family: int
    expires_at: float
    revoked: bool = False
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What the user approved at the authorization endpoint."""

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ()
    challenge: str | None = None
    offline: bool = False
    prompt_consent: bool = False


@dataclass(slots=True)
class Grants:
    """The state machine. Not thread-safe: one event loop uses it."""

    policy: Policy
    chance: Chance
    _clients: dict[str, Client] = field(default_factory=dict)
    _families: list[_Family] = field(default_factory=list)
    _codes: dict[Digest, _Code] = field(default_factory=dict)
    _refresh: dict[Digest, _Refresh] = field(default_factory=dict)
    _access: dict[Digest, _Access] = field(default_factory=dict)
    _access_by_age: deque[tuple[float, Digest]] = field(default_factory=deque)
    _consented: set[tuple[str, str]] = field(default_factory=set)

    def add_client(self, client: Client) -> None:
        """Register a client, or replace the one with its id."""
        self._clients[client.client_id] = client

    def client(self, client_id: str) -> Client:
        """Return a registered client.

        Raises:
            GrantError: `invalid_client`.
        """
        found = self._clients.get(client_id)
        if found is None:
            raise GrantError("invalid_client", "The OAuth client was not found.")
        return found

    def authenticate(self, client_id: str, secret: Secret | None) -> Client:
        """Check a client's credentials (RFC 6749 section 2.3).

        Raises:
            GrantError: `invalid_client` where it is unknown, the secret is missing or wrong, or a public client sends one.
        """
        client = self.client(client_id)
        if client.secret != secret:
            raise GrantError("invalid_client", "The provided client secret is invalid.")
        return client

    def check_authorization(self, request: AuthorizationRequest) -> None:
        """Check what may be told to the client by a redirect; `check_redirect` comes first.

        Raises:
            GrantError: `invalid_request` where PKCE is due and missing, or the challenge is no S256 challenge.
        """
        client = self.client(request.client_id)
        if request.challenge is None:
            if self.policy.require_pkce or client.secret is None:
                raise GrantError("invalid_request", "A code_challenge is required.")
        elif len(request.challenge) != 43:  # SHA-256 as unpadded base64url
            raise GrantError("invalid_request", "The code_challenge is not a SHA-256 digest.")

    def check_redirect(self, client_id: str, redirect_uri: str) -> None:
        """Refuse a redirect URI that is neither registered nor on loopback: nothing may ever be sent there.

        Raises:
            GrantError: `invalid_client` or `invalid_request`.
        """
        client = self.client(client_id)
        if redirect_uri not in client.redirect_uris and not _is_loopback(redirect_uri):
            raise GrantError("invalid_request", "The redirect_uri is not registered.")

    def authorize(self, request: AuthorizationRequest, user: str, now: Now) -> Secret:
        """Turn an approval into a code: single use, bound to client, redirect URI and challenge.

        Raises:
            GrantError: as `check_redirect` and `check_authorization`.
        """
        self.check_redirect(request.client_id, request.redirect_uri)
        self.check_authorization(request)
        code = self._new("code")
        self._codes[code.digest()] = _Code(
            client_id=request.client_id,
            redirect_uri=request.redirect_uri,
            user=user,
            scopes=request.scopes,
            challenge=request.challenge,
            wants_refresh=self._wants_refresh(request, user),
            expires_at=now.boot + self.policy.code_lifetime,
        )
        self._consented.add((user, request.client_id))
        return code

    def exchange(self, client: Client, code: Secret, redirect_uri: str, verifier: Secret | None, now: Now) -> Issued:
        """Redeem a code (RFC 6749 section 4.1.3, RFC 7636 section 4.6). A refused attempt does not spend it.

        Raises:
            GrantError: `invalid_grant`; for a code redeemed before, with `reuse`, after revoking what came of it.
        """
        known = self._codes.get(code.digest())
        if known is None or known.client_id != client.client_id:
            raise GrantError("invalid_grant", "Malformed auth code.")
        if known.family is not None:
            self._revoke_family(known.family, "the code was used twice")
            raise GrantError("invalid_grant", "The code was already redeemed.", reuse=True)
        if now.boot >= known.expires_at:
            raise GrantError("invalid_grant", "The code has expired.")
        if redirect_uri != known.redirect_uri:
            raise GrantError("invalid_grant", "The redirect_uri differs from the one authorized.")
        _check_verifier(known.challenge, verifier)
        issued = self.issue(client.client_id, known.user, known.scopes, now, with_refresh=known.wants_refresh)
        known.family = issued.family
        return issued

    def issue(
        self, client_id: str, user: str, scopes: tuple[str, ...], now: Now, *, with_refresh: bool = True
    ) -> Issued:
        """Start a family, as after a login; tests use it to plant one."""
        self._families.append(_Family(user, client_id, scopes))
        return self._tokens(len(self._families) - 1, scopes, now, with_refresh=with_refresh)

    def refresh(self, client: Client, token: Secret, now: Now, scopes: tuple[str, ...] = ()) -> Issued:
        """Use a refresh token (RFC 6749 section 6). `scopes` may narrow the grant.

        Raises:
            GrantError: `invalid_grant` (unknown, another client's, revoked, spent; `reuse` where it was spent), `invalid_scope`.
        """
        known = self._refresh.get(token.digest())
        if known is None or self._families[known.family].client_id != client.client_id:
            raise _dead()
        family = self._families[known.family]
        if family.revoked is not None:
            raise _dead(reuse=known.spent_at is not None)
        if known.spent_at is not None:
            return self._again(known, now)
        if not set(scopes) <= set(family.scopes):
            raise GrantError("invalid_scope", "The scope exceeds what was granted.")
        rotates = self.policy.rotate is not Rotation.OFF
        issued = self._tokens(known.family, scopes or family.scopes, now, with_refresh=rotates)
        if rotates:
            known.spent_at, known.answer = now.boot, issued
        return issued

    def revoke(self, token: Secret) -> bool:
        """Revoke (RFC 7009): a refresh token takes its family along, an access token only itself. Tell whether it was known."""
        digest = token.digest()
        if known := self._refresh.get(digest):
            self._revoke_family(known.family, "revoked")
            return True
        if access := self._access.get(digest):
            access.revoked = True
            return True
        return False

    def revoke_user(self, user: str) -> int:
        """Revoke every family of a user, as the account page of a provider does; return how many were alive."""
        alive = [i for i, f in enumerate(self._families) if f.user == user and f.revoked is None]
        for index in alive:
            self._revoke_family(index, "revoked by the user")
        return len(alive)

    def introspect(self, token: Secret, now: Now) -> Alive | Death:
        """Tell whether an access token is good, and whose it is."""
        known = self._access.get(token.digest())
        if known is None:
            return Death.UNKNOWN
        family = self._families[known.family]
        if known.revoked or family.revoked is not None:
            return Death.REVOKED
        if now.boot >= known.expires_at:
            return Death.EXPIRED
        return Alive(family.user, family.client_id, known.scopes, known.expires_at - now.boot)

    def accepts(self, refresh_token: Secret) -> bool:
        """Tell whether a refresh token is current: known, not spent, not revoked. Changes nothing."""
        known = self._refresh.get(refresh_token.digest())
        if known is None or known.spent_at is not None:
            return False
        return self._families[known.family].revoked is None

    def owner(self, token: Secret) -> str | None:
        """Return the user a refresh token, access token or code belongs to, dead or alive; None where it is unknown."""
        digest = token.digest()
        if code := self._codes.get(digest):
            return code.user
        known = self._refresh.get(digest) or self._access.get(digest)
        return None if known is None else self._families[known.family].user

    def families(self, user: str) -> tuple[str | None, ...]:
        """Return, for each family of a user from the oldest on, why it was revoked; None where it is alive."""
        return tuple(f.revoked for f in self._families if f.user == user)

    def _again(self, known: _Refresh, now: Now) -> Issued:
        # A spent token: the same answer within the grace period, else refused, and in strict mode fatal.
        assert known.spent_at is not None
        if known.answer is not None and now.boot - known.spent_at < self.policy.grace_seconds:
            return known.answer
        if self.policy.rotate is Rotation.STRICT:
            self._revoke_family(known.family, "a refresh token was used twice")
        raise _dead(reuse=True)

    def _tokens(self, family: int, scopes: tuple[str, ...], now: Now, *, with_refresh: bool) -> Issued:
        self._forget(now)
        access = self._new("access")
        expires_at = now.boot + self.policy.access_lifetime
        self._access[access.digest()] = _Access(family, expires_at, scopes=scopes)
        self._access_by_age.append((expires_at, access.digest()))
        refresh = self._new("refresh") if with_refresh else None
        if refresh is not None:
            self._refresh[refresh.digest()] = _Refresh(family)
        owner = self._families[family]
        return Issued(owner.user, owner.client_id, scopes, family, access, refresh, expires_at)

    def _forget(self, now: Now) -> None:
        # Keeps a long run's memory flat. The queue is in order while the lifetime stays; a changed one only delays forgetting.
        while self._access_by_age and self._access_by_age[0][0] + _FORGET_EXPIRED_AFTER_SECONDS <= now.boot:
            _, digest = self._access_by_age.popleft()
            del self._access[digest]

    def _wants_refresh(self, request: AuthorizationRequest, user: str) -> bool:
        if self.policy.refresh_given is RefreshGiven.ALWAYS:
            return True
        first = (user, request.client_id) not in self._consented
        return request.offline and (first or request.prompt_consent)

    def _revoke_family(self, family: int, why: str) -> None:
        if self._families[family].revoked is None:
            self._families[family].revoked = why

    def _new(self, kind: str) -> Secret:
        # The prefix makes a leaked one easy to find: grep for "sandbox-refresh-".
        return Secret(f"sandbox-{kind}-{self.chance.token(_TOKEN_BYTES)}")


def s256(verifier: str) -> str:
    """Return the S256 challenge of a verifier (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _check_verifier(challenge: str | None, verifier: Secret | None) -> None:
    if challenge is None:
        if verifier is not None:  # RFC 9700 section 2.1.1: otherwise an attacker could strip the challenge
            raise GrantError("invalid_grant", "A code_verifier came for a code that has no challenge.")
        return
    if verifier is None or not hmac.compare_digest(s256(verifier.reveal()).encode(), challenge.encode()):
        raise GrantError("invalid_grant", "The code_verifier does not fit the challenge.")


def _dead(*, reuse: bool = False) -> GrantError:
    return GrantError("invalid_grant", "Token has been expired or revoked.", reuse=reuse)


def _is_loopback(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname in _LOOPBACK_HOSTS and not parts.username and port != 0
