"""What can be read: accounts, the default of a provider, what goes on the push stream.

Owns: looking names up, and gathering what store, engine and cool-downs know into one picture. It must never change anything.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from broker.daemon.cooldowns import Cooldowns
from broker.daemon.known_quotas import KnownQuotas
from broker.daemon.views import account_view, lease_of
from broker.ipc.schema import AccountList, AccountQuota, AccountView, WatchAccount
from broker.model.account import AccountId, State, state_name
from broker.model.clock import Clock
from broker.model.commands import way_in
from broker.model.errors import BrokerError, ErrorCode
from broker.providers.registry import Registry
from broker.refresh.engine import Engine
from broker.refresh.grant import Grant
from broker.store.base import Entry, Store


def _none(_entry: Entry) -> tuple[str, ...]:
    """Have nothing to warn of."""
    return ()


@dataclass(frozen=True, slots=True)
class Accounts:
    """The picture of all accounts."""

    store: Store
    engine: Engine
    registry: Registry
    cooldowns: Cooldowns
    clock: Clock
    quotas: KnownQuotas = field(default_factory=KnownQuotas)
    warnings: Callable[[Entry], tuple[str, ...]] = _none

    def list(self) -> AccountList:
        """Return all views, sorted by account."""
        # Once a provider, not once an account: the store looks at all accounts to answer.
        defaults = {name: self.store.default_of(name) for name in {each.provider for each in self.store.entries()}}
        found = [self.find(each) for each in sorted(self.store.entries())]
        return AccountList(
            tuple(
                self._view(*each, defaults[each[0].account.provider], *self._told(each[0].account))
                for each in found
                if each is not None
            )
        )

    def view(self, account: AccountId) -> AccountView:
        """Return one view; raises `unknown_account`."""
        default = self.store.default_of(account.provider)
        return self._view(self.entry(account), self.engine.state(account), default, *self._told(account))

    def watched(self, account: AccountId, default: AccountId | None) -> WatchAccount | None:
        """Return what the push stream says of an account, `default` being its provider's; None where it is gone."""
        found = self.find(account)
        if found is None:
            return None
        grant = self.engine.peek(account)
        lease = lease_of(grant.entry, grant.tokens, short=grant.short) if grant else None
        return WatchAccount(self._view(*found, default, grant), lease)

    def find(self, account: AccountId) -> tuple[Entry, State] | None:
        """Return what is known of an account; None where there is none.

        When a file goes, the engine may notice before the store is sure; what one of the two no longer has is gone.
        """
        entry = self.store.get(account)
        return self.state_of(entry) if entry is not None else None

    def state_of(self, entry: Entry) -> tuple[Entry, State] | None:
        """Return what is known of an account whose entry is at hand; None where the engine has it no more."""
        try:
            return entry, self.engine.state(entry.record.account)
        except BrokerError:
            return None

    def entry(self, account: AccountId) -> Entry:
        """Return what the store holds of an account.

        Raises:
            BrokerError: `unknown_account`, listing the provider's accounts.
        """
        found = self.find(account)
        if found is None:
            listed = ", ".join(str(each) for each in self.of_provider(account.provider)) or "none"
            detail = f"no account {account}; there are: {listed}"
            raise BrokerError(ErrorCode.UNKNOWN_ACCOUNT, detail, account=str(account))
        return found[0]

    def named(self, provider: str, label: str | None) -> AccountId:
        """Return the account a name means; without a label, the provider's default.

        Raises:
            BrokerError: `unknown_provider`, `unknown_account`, `no_account`, or `bad_request` for what cannot be a name.
        """
        self.registry.get(provider)
        if label is not None:
            return self.entry(AccountId(provider, label)).account
        # One that cannot be served now is still better than "no account": its own error says why.
        found = self.store.default_of(provider) or next(iter(self.of_provider(provider)), None)
        if found is None:
            raise BrokerError(
                ErrorCode.NO_ACCOUNT, f"no account of {provider} is logged in", hint=f"Run: {way_in(provider)}"
            )
        return found

    def of_provider(self, provider: str) -> tuple[AccountId, ...]:
        """Return a provider's accounts, sorted."""
        return tuple(sorted(each for each in self.store.entries() if each.provider == provider))

    def states(self) -> Mapping[tuple[str, str], int]:
        """Count accounts by provider and state name."""
        found = [(each, self.find(each)) for each in self.store.entries()]
        return Counter((account.provider, state_name(known[1]).value) for account, known in found if known)

    def _told(self, account: AccountId) -> tuple[Grant | None, AccountQuota | None]:
        return self.engine.peek(account), self.quotas.of(account, self.clock.now().wall)

    def _view(
        self,
        entry: Entry,
        state: State,
        default: AccountId | None,
        grant: Grant | None,
        quota: AccountQuota | None = None,
    ) -> AccountView:
        account = entry.account
        upcoming = self.engine.next_refresh(account)
        return account_view(
            entry,
            state,
            grant.tokens if grant else replace(entry.record.tokens, access_token=None),
            last_refresh=self.engine.last_refresh(account),
            next_refresh=None if upcoming is None else round(upcoming, 3),
            cooldowns=self.cooldowns.of(account, self.clock.now().wall),
            default=default == account,
            quota=quota,
            warnings=self.warnings(entry),
        )
