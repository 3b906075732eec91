"""One refresh of one account, from the lock to the cleared journal.

Owns: the order of steps that keeps a login from being lost (docs/architecture.md, "A refresh, step by step"). What to do next is decided by the
pure modules beside it; when to try is the engine's. It must never send a refresh token before the storage is proven writable and
the journal record durable, and never let a parsed answer precede its bytes in the journal.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol

import msgspec

from broker.model.account import AccountId, NeedsLogin, Tokens
from broker.model.clock import Clock, Now
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Digest
from broker.oauth.failures import (
    AnswerLost,
    Failure,
    FlowFailedError,
    Misconfigured,
    Permanent,
    Transient,
    refuses_client,
)
from broker.oauth.messages import PAUSED, HttpRequest, HttpResponse, PacedFlow, Pause
from broker.oauth.transport import AnswerLostError, NotSentError, Transport
from broker.oauth.waits import http_date
from broker.providers.base import Client, Provider
from broker.refresh import life, plan
from broker.refresh.plan import Known
from broker.store.base import (
    Entry,
    Lock,
    LockTimeoutError,
    PendingRotation,
    Rotation,
    StorageError,
    Store,
    SupersededError,
)

_log = logging.getLogger(__name__)

LOCK_WAIT_SECONDS = 30.0


class Providers(Protocol):
    """Where vendors are looked up (`broker.providers.registry.Registry` in the program)."""

    def get(self, name: str) -> Provider:
        """Return the provider; raises `unknown_provider`."""
        ...


class ClientFinder(Protocol):
    """Where client registrations come from."""

    async def find(self, provider: Provider, carried: Client | None) -> Client:
        """Return the registration to use; `carried` is the one in the account's file. Raises `misconfigured`."""
        ...

    async def resolve(self, provider: Provider) -> Provider:
        """Return the provider with its endpoints known (discovery done where the config gives an issuer only)."""
        ...

    def forget(self, provider: str) -> None:
        """Look again next time: the token endpoint refused the registration."""
        ...


class Renewed(msgspec.Struct, frozen=True):
    """A new grant, durable in its file. `received` is the reading its expiry was computed from."""

    entry: Entry
    received: Now


class Adopted(msgspec.Struct, frozen=True):
    """Nothing was sent: the file already holds a better grant, ours from before a crash or somebody else's."""

    entry: Entry


class Failed(msgspec.Struct, frozen=True):
    """The provider, the network or the registration said no. The file is as it was."""

    failure: Failure


class Unwritable(msgspec.Struct, frozen=True):
    """Storage refused before anything was sent."""

    reason: str


class Stranded(msgspec.Struct, frozen=True):
    """A new grant that storage refused: only memory, and perhaps the journal, has it."""

    tokens: Tokens
    entry: Entry
    received: Now
    reason: str


class Vanished(msgspec.Struct, frozen=True):
    """The account's file is gone."""


Result = Renewed | Adopted | Failed | Unwritable | Stranded | Vanished

KnownOf = Callable[[Entry], Known]


class Attempt(msgspec.Struct, frozen=True):
    """Everything one refresh needs. `expect` is told of a new grant before it is published, with the reading its expiry is from."""

    store: Store
    providers: Providers
    clients: ClientFinder
    transport: Transport
    clock: Clock
    expect: Callable[[AccountId, Tokens, Now], None]
    learn_skew: Callable[[str, float], None]

    async def renew(self, account: AccountId, decided_on: Digest | None, known_of: KnownOf) -> Result:
        """Renew the account unless that turns out to be done; `decided_on` as in `plan.settled`."""

        async def step(lock: Lock, entry: Entry) -> Result:
            now = self.clock.now()
            if plan.settled(known_of(entry), now, decided_on):
                return Adopted(entry)
            return await self._spend(lock, entry)

        return await self._locked(account, known_of, step)

    async def recover(self, account: AccountId, known_of: KnownOf) -> Result:
        """Bring an interrupted rotation to its end as far as that can be done without presenting a refresh token again."""

        async def step(_lock: Lock, entry: Entry) -> Result:
            return Adopted(entry)

        return await self._locked(account, known_of, step, may_spend=False)

    async def save(self, account: AccountId, tokens: Tokens, base: Entry, received: Now) -> Result:
        """Offer a stranded grant to storage again."""
        try:
            async with self.store.lock(account, LOCK_WAIT_SECONDS) as lock:
                return await self._keep(lock, base, tokens, received, boot_known=True)
        except (StorageError, LockTimeoutError) as error:
            return Stranded(tokens, base, received, error.detail)

    async def _locked(
        self,
        account: AccountId,
        known_of: KnownOf,
        step: Callable[[Lock, Entry], Awaitable[Result]],
        *,
        may_spend: bool = True,
    ) -> Result:
        try:
            async with self.store.lock(account, LOCK_WAIT_SECONDS) as lock:
                entry = await self.store.reread(lock)
                if entry is None:
                    return Vanished()
                pending = await self.store.pending_rotation(lock)
                if pending is not None:
                    ended = await self._finish(lock, entry, pending, known_of, may_spend=may_spend)
                    if ended is not None:
                        return ended
                return await step(lock, entry)
        except LockTimeoutError as error:
            return Failed(Transient(error.detail))
        except StorageError as error:
            return Unwritable(error.detail)

    async def _finish(
        self, lock: Lock, entry: Entry, pending: PendingRotation, known_of: KnownOf, *, may_spend: bool
    ) -> Result | None:
        """Deal with the record an interrupted refresh left; None where the way is free for a new one."""
        if entry.record.tokens.refresh_digest() != pending.digest:
            # The file moved on: by our own write just before the end, or by a newer grant.
            await self.store.clear_rotation(lock)
            return None
        if pending.answer is not None:
            return await self._replay(lock, entry, pending, pending.answer)
        if not pending.presented:
            await self.store.clear_rotation(lock)  # interrupted before anything went out
            return None
        if may_spend and plan.may_spend(known_of(entry), self.clock.now()):
            return None
        return Failed(AnswerLost("an earlier refresh was interrupted before its answer was recorded"))

    async def _replay(self, lock: Lock, entry: Entry, pending: PendingRotation, answer: HttpResponse) -> Result:
        """Take up a recorded answer as if it had just arrived."""
        _log.info("recovering a recorded answer", extra={"provider": entry.account.provider})
        then = Now(pending.since, self.clock.now().boot)
        recorded = _Recorded(answer)
        try:
            provider, client = await self._prepare(entry)
            flow = provider.refresh(entry.record, client, then)
            tokens = await self._converse(flow, recorded.say, self._transport(entry))
        except (FlowFailedError, NotSentError, AnswerLostError, BrokerError) as error:
            if not recorded.heard:
                # It could not be judged yet (the network is down at start, say): it must not be lost for that.
                return Failed(_passing(_failure_of(error)))
            return await self._refused(lock, entry, _failure_of(error))
        received = life.received(tokens, pending.since, self.clock.now())
        return await self._keep(lock, entry, tokens, received, boot_known=False)

    async def _spend(self, lock: Lock, entry: Entry) -> Result:
        """Present the refresh token."""
        try:
            provider, client = await self._prepare(entry)
        except (BrokerError, FlowFailedError, NotSentError, AnswerLostError) as error:
            return Failed(_passing(_failure_of(error)))
        before = self.clock.now()
        rotation = await self.store.begin_rotation(lock, entry, before)
        try:
            flow = provider.refresh(entry.record, client, before)
            transport = self._transport(entry)
            tokens = await self._converse(flow, partial(self._ask, transport, provider.name, rotation), transport)
        except StorageError:
            # That the token is about to go out could not be noted for good: it did not go, and the note must not say that it may have.
            await self._clear(lock)
            raise
        except (FlowFailedError, NotSentError, AnswerLostError) as error:
            return await self._refused(lock, entry, _failure_of(error))
        await self._sync(rotation)
        return await self._keep(lock, entry, tokens, before, boot_known=True)

    async def _prepare(self, entry: Entry) -> tuple[Provider, Client]:
        provider = await self.clients.resolve(self.providers.get(entry.account.provider))
        return provider, await self.clients.find(provider, entry.client)

    def _transport(self, entry: Entry) -> Transport:
        return self.transport.on_behalf(entry.account.provider, entry.record.routing.proxy_url)

    async def _converse(
        self,
        flow: PacedFlow[Tokens],
        spend: Callable[[HttpRequest], Awaitable[HttpResponse]],
        transport: Transport,
    ) -> Tokens:
        """Run a flow; `spend` answers the requests that carry the refresh token."""
        try:
            step = next(flow)
            while True:
                if isinstance(step, Pause):
                    await self.clock.sleep(step.seconds)
                    step = flow.send(PAUSED)
                elif step.spends:
                    step = flow.send(await spend(step))
                else:
                    said = await self._ask_beside(transport, step)
                    step = flow.send(said) if isinstance(said, HttpResponse) else flow.throw(said)
        except StopIteration as ended:
            tokens: Tokens = ended.value
            return tokens

    async def _ask_beside(self, transport: Transport, request: HttpRequest) -> HttpResponse | FlowFailedError:
        """Send what spends nothing. A network that fails is the flow's to judge: it may hold a grant that must not be lost with it."""
        try:
            return await transport.send(request)
        except (NotSentError, AnswerLostError) as error:
            return FlowFailedError(Transient(str(error)))

    async def _ask(self, transport: Transport, provider: str, rotation: Rotation, request: HttpRequest) -> HttpResponse:
        """Send what spends the refresh token; the answer goes into the journal in the step in which it arrives, before anything parses it."""
        answer = await transport.send(request, connected=rotation.present, heard=partial(_journal, rotation))
        self._learn(provider, answer.headers)
        return answer

    def _learn(self, provider: str, headers: Mapping[str, str]) -> None:
        """Note how far the provider's clock is ahead of ours (RFC 9110 section 6.6.1)."""
        told = http_date(headers.get("date", ""))
        if told is not None:
            self.learn_skew(provider, told - self.clock.now().wall)

    async def _keep(self, lock: Lock, entry: Entry, tokens: Tokens, received: Now, *, boot_known: bool) -> Result:
        """Store a new grant; durable before visible."""
        if boot_known:
            self.expect(entry.account, tokens, received)
        try:
            stored = await self.store.put(lock, tokens, entry.generation, received)
        except SupersededError:
            newer = await self.store.reread(lock)
            await self._clear(lock)
            return Adopted(newer) if newer else Vanished()
        except StorageError as error:
            return Stranded(tokens, entry, received, error.detail)
        await self._clear(lock)
        return Renewed(stored, received) if boot_known else Adopted(stored)

    async def _refused(self, lock: Lock, entry: Entry, failure: Failure) -> Result:
        """Believe a refusal only after looking again at the file; keep the journal record where the answer was lost."""
        if isinstance(failure, AnswerLost):
            return Failed(failure)
        await self._clear(lock)
        if refuses_client(failure):
            self.clients.forget(entry.account.provider)
        if not isinstance(failure, Permanent):
            return Failed(failure)
        newer = await self.store.reread(lock)
        presented = entry.record.tokens.refresh_digest()
        if newer is None:
            return Vanished()
        if newer.record.tokens.refresh_digest() != presented:
            return Adopted(newer)
        verdict = NeedsLogin(failure.reason, self.clock.now().wall, presented)
        try:
            await self.store.mark_terminal(lock, verdict)
        except StorageError as error:
            _log.warning("the verdict could not be stored: %s", error.detail)
        return Failed(failure)

    async def _clear(self, lock: Lock) -> None:
        try:
            await self.store.clear_rotation(lock)
        except StorageError as error:
            # Harmless: the digest in the record no longer matches the file, or the next refresh finds it under the lock.
            _log.warning("the journal record could not be removed: %s", error.detail)

    async def _sync(self, rotation: Rotation) -> None:
        try:
            await rotation.sync()
        except StorageError as error:
            _log.error("the journal could not be synced: %s", error.detail)


def _journal(rotation: Rotation, answer: HttpResponse) -> None:
    try:
        rotation.record_answer(answer)
    except StorageError as error:
        _log.error("the answer could not be journalled; it lives in memory until it is stored: %s", error.detail)


class _Recorded(msgspec.Struct):
    """An answer from the journal. `heard`: a flow has judged it."""

    answer: HttpResponse
    heard: bool = False

    async def say(self, _request: HttpRequest) -> HttpResponse:
        """Answer for the token endpoint."""
        self.heard = True
        return self.answer


def _passing(failure: Failure) -> Failure:
    """Return the failure of a request that carried no refresh token (discovery): losing its answer loses nothing, and nothing it says ends a login."""
    return Transient(failure.reason) if isinstance(failure, AnswerLost | Permanent) else failure


def _failure_of(error: Exception) -> Failure:
    match error:
        case FlowFailedError(failure=failure):
            return failure
        case NotSentError():
            return Transient(str(error))
        case AnswerLostError():
            return AnswerLost(str(error))
        case BrokerError(code=ErrorCode.MISCONFIGURED | ErrorCode.UNKNOWN_PROVIDER, detail=detail, hint=hint):
            return Misconfigured("client", f"{detail}. {hint}")
        case _:
            return Transient(str(error))
