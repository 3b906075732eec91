"""What the user does to an account: renew, pause, resume, forget cool-downs, log out.

Owns: the order of steps, and writing them into the audit trail. A change goes through to its end even if whoever asked for it goes away
(`broker.daemon.work`). It must never remove a login but at the user's own word.
"""

import logging
from dataclasses import dataclass

from broker.daemon.accounts import Accounts
from broker.daemon.publisher import Publisher
from broker.daemon.work import Work
from broker.ipc.schema import AccountView, LogoutAnswer
from broker.model.account import AccountId
from broker.model.errors import BrokerError
from broker.oauth.failures import FlowFailedError
from broker.oauth.transport import Transport, TransportError
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.refresh.attempt import ClientFinder
from broker.store.base import Entry

_log = logging.getLogger(__name__)

_LOCK_WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Changes:
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

    async def logout(self, account: AccountId) -> LogoutAnswer:
        """Revoke at the provider where it can be done, then remove the file; a provider that cannot be reached does not keep a user logged in here.

        Raises:
            BrokerError: `unknown_account`; `deadline_exceeded` where a refresh holds the account too long; `storage_unwritable`.
        """
        return await self.work.finish(self._logout(self.accounts.entry(account)), name="logout")

    async def _logout(self, entry: Entry) -> LogoutAnswer:
        account = entry.account
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
            request = provider.revoke(entry.record, await self.clients.find(provider, entry.client))
            if request is None:
                return f"{provider.title} has no way to revoke a login; end it in your account there"
            answer = await self.transport.send(request)
        except (BrokerError, FlowFailedError, TransportError) as error:
            return f"not revoked: {error}"
        # RFC 7009 section 2.2: 200 also for tokens that were no longer valid. Google answers 400 for those.
        return None if answer.status == 200 else f"not revoked: the provider answered {answer.status}"
