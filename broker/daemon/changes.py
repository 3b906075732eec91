"""What the user does to an account: renew, pause, resume, rename, choose as default, forget cool-downs, log out.

Owns: the order of steps, and writing them into the audit trail. A change goes through to its end even if whoever asked for it goes away
(`broker.daemon.work`). It must never remove a login but at the user's own word.
"""

import logging

import msgspec

from broker.daemon.accounts import Accounts
from broker.daemon.publisher import Publisher
from broker.daemon.work import Work
from broker.ipc.schema import AccountView, LogoutAnswer
from broker.model.account import AccountId, Unsaved
from broker.model.errors import BrokerError, ErrorCode
from broker.oauth.failures import FlowFailedError
from broker.oauth.revoke import revoked
from broker.oauth.transport import Transport, TransportError
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.providers.base import Client, Provider
from broker.refresh.attempt import ClientFinder
from broker.store.base import Entry

_log = logging.getLogger(__name__)

_LOCK_WAIT_SECONDS = 20.0
_AGAIN_SECONDS = 0.05


class Changes(msgspec.Struct, frozen=True):
    """The changes. Each returns the account as it is afterwards."""

    accounts: Accounts
    publisher: Publisher
    transport: Transport
    clients: ClientFinder
    audit: Audit
    work: Work

    async def refresh(self, account: AccountId, max_wait: float) -> AccountView:
        """Renew now. Raises as a lease does."""
        await self.accounts.engine.renew(self.accounts.entry(account).account, max_wait=max_wait)
        return self.accounts.view(account)

    async def set_paused(self, account: AccountId, *, paused: bool) -> AccountView:
        """Set aside, or serve again. Raises `unknown_account` or `storage_unwritable`."""
        self.accounts.entry(account)
        await self.work.finish(self._set_paused(account, paused), name="pause" if paused else "resume")
        return self.accounts.view(account)

    async def _set_paused(self, account: AccountId, paused: bool) -> None:
        await self.accounts.store.set_paused(account, paused)
        self.audit.record(Event.PAUSED if paused else Event.RESUMED, account)
        _log.info("account paused" if paused else "account resumed", extra={"account": log_id(account)})

    def clear_cooldown(self, account: AccountId) -> AccountView:
        """Forget cool-downs. Raises `unknown_account`."""
        self.accounts.entry(account)
        if self.accounts.cooldowns.clear(account):
            self.audit.record(Event.COOLDOWN_CLEARED, account)
            self.publisher.touch(account)
        return self.accounts.view(account)

    async def set_default(self, account: AccountId) -> AccountView:
        """Make it what its provider's name alone means. Raises `unknown_account` or `storage_unwritable`."""
        self.accounts.entry(account)
        await self.work.finish(self._set_default(account), name="set-default")
        return self.accounts.view(account)

    async def _set_default(self, account: AccountId) -> None:
        try:
            await self.accounts.store.set_default(account)
        finally:
            self.publisher.touch(account)
        self.audit.record(Event.DEFAULT_CHOSEN, account)
        _log.info("default account chosen", extra={"account": log_id(account)})

    async def rename(self, account: AccountId, label: str) -> AccountView:
        """Give an account another label; its cool-downs stay, and that its provider's name means it.

        Raises:
            BrokerError: `unknown_account`; `bad_request` for a label that cannot be or is taken; `unsupported`; `deadline_exceeded` where a refresh holds
                the account too long; `storage_unwritable`.
        """
        self.accounts.entry(account)
        return self.accounts.view(await self.work.finish(self._rename(account, label), name="rename"))

    async def _rename(self, account: AccountId, label: str) -> AccountId:
        kept = self.accounts.cooldowns.of(account, self.accounts.clock.now().wall)
        default = self.accounts.store.default_of(account.provider)
        entry = await self._renamed(account, label)
        if default == account != self.accounts.store.default_of(account.provider):
            # It was the first of its provider; by its new name it may not be.
            await self.accounts.store.set_default(entry.account)
        if entry.account != account:
            self.accounts.cooldowns.move(kept, entry.account)
            self.publisher.touch(entry.account)
            self.audit.record(Event.RENAMED, entry.account, before=str(account))
            _log.info("account renamed", extra={"account": log_id(entry.account), "before": log_id(account)})
        return entry.account

    async def _renamed(self, account: AccountId, label: str) -> Entry:
        """Rename under the lock, in a moment when no refresh is under way: its result would find nobody of its account's name."""
        store, engine, clock = self.accounts.store, self.accounts.engine, self.accounts.clock
        deadline = clock.now().boot + _LOCK_WAIT_SECONDS
        while True:
            async with store.lock(account, max(deadline - clock.now().boot, 0.0)) as lock:
                if isinstance(engine.state(account), Unsaved):
                    detail = f"{account} has a grant that could not be saved yet"
                    raise BrokerError(ErrorCode.STORAGE_UNWRITABLE, detail, account=str(account))
                if not engine.flying(account):
                    return await store.rename(lock, label)
            if clock.now().boot >= deadline:
                detail = f"{account} is being renewed all the time"
                raise BrokerError(ErrorCode.DEADLINE_EXCEEDED, detail, account=str(account))
            await clock.sleep(_AGAIN_SECONDS)

    async def logout(self, account: AccountId, *, keep_remote: bool = False) -> LogoutAnswer:
        """Revoke at the provider where it can be done, then remove the file; a provider that cannot be reached does not keep a user logged in here.

        With `keep_remote` nothing is revoked: another program may go on using the login.

        Raises:
            BrokerError: `unknown_account`; `deadline_exceeded` where a refresh holds the account too long; `storage_unwritable`.
        """
        return await self.work.finish(self._logout(self.accounts.entry(account), keep_remote), name="logout")

    async def _logout(self, entry: Entry, keep_remote: bool) -> LogoutAnswer:
        account = entry.account
        problem: str | None = "left as it is at the provider, as you asked"
        if entry.link is not None and not keep_remote:
            problem = f"left as it is at the provider, as {entry.link.tool} goes on using it; log out there too"
        elif not keep_remote:
            # Under the lock: a refresh under way would leave us revoking a token that is already replaced.
            async with self.accounts.store.lock(account, _LOCK_WAIT_SECONDS) as lock:
                problem = await self._revoke(await self.accounts.store.reread(lock) or entry)
        await self.accounts.store.remove(account)
        await self.accounts.engine.forget(account)
        self.accounts.cooldowns.clear(account)
        self.audit.record(Event.LOGOUT, account, revoked=problem is None, reason=problem)
        _log.info("logged out", extra={"account": log_id(account), "revoked": problem is None})
        return LogoutAnswer(account=str(account), revoked=problem is None, detail=problem)

    async def _revoke(self, entry: Entry) -> str | None:
        """Revoke (RFC 7009); return why it was not done, None where it was."""
        try:
            provider = await self.clients.resolve(self.accounts.registry.get(entry.account.provider))
            # Asked first: a registration that is not there must not be the reason where nothing could be done with one.
            able = provider.endpoints.revoke_url is not None
            request = provider.revoke(entry.record, await self._registration(provider, entry)) if able else None
            if request is None:
                return f"{provider.title} has no way to revoke it; end it in your account there"
            transport = self.transport.on_behalf(entry.account.provider, entry.record.routing.proxy_url)
            answer = await transport.send(request)
        except (BrokerError, FlowFailedError, TransportError) as error:
            return str(error)
        return None if revoked(answer) else f"the provider answered {answer.status}"

    async def _registration(self, provider: Provider, entry: Entry) -> Client:
        if provider.revokes_alone:
            return entry.client or Client(provider.client_id)
        return await self.clients.find(provider, entry.client)
