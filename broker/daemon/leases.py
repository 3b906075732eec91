"""Lending tokens.

Owns: which account a lease is of, counting, and the bytes of a lease, built once a grant. It must never lend what the engine did not grant.
"""

import msgspec

from broker.daemon.accounts import Accounts
from broker.daemon.views import lease_of
from broker.ipc.schema import encode
from broker.model.account import AccountId, Tokens
from broker.model.errors import BrokerError
from broker.observe.metrics import Metrics
from broker.refresh.grant import Grant
from broker.store.base import Entry


class _Built(msgspec.Struct, frozen=True):
    entry: Entry
    tokens: Tokens
    short: bool
    data: bytes


class Leases(msgspec.Struct):
    """Lends. `max_wait` seconds bound every wait a client asks for; may be replaced at any time."""

    accounts: Accounts
    metrics: Metrics
    max_wait: float
    _built: dict[AccountId, _Built] = msgspec.field(default_factory=dict)

    async def lend(
        self, provider: str, label: str | None, *, min_validity: float, max_wait: float, waited: float = 0.0
    ) -> Grant:
        """Return a grant good for `min_validity` seconds; without a label, of the provider's default account.

        `waited` seconds of `max_wait` are over.

        Raises:
            BrokerError: a name that means nothing, or why there is no token by the deadline.
        """
        known = provider if provider in self.accounts.registry else "unknown"  # a label of the metric: a closed set
        try:
            account = self.accounts.named(provider, label)
            grant = await self.accounts.engine.lease(
                account, min_validity=min_validity, max_wait=min(max_wait, self.max_wait), waited=waited
            )
        except BrokerError as error:
            self.metrics.leased(known, error.code.value)
            raise
        self.metrics.leased(known, "served")
        return grant

    def at_hand(self, provider: str, account: AccountId | None, min_validity: float) -> bytes | None:
        """Return the lease of an account (None: the provider's default) as JSON, where it needs no waiting and no renewing.

        None where `lend` has to say what is.
        """
        store = self.accounts.store
        account = account or store.default_of(provider)
        if account is None or store.get(account) is None:
            return None
        grant = self.accounts.engine.at_hand(account, min_validity)
        if grant is None:
            return None
        self.metrics.leased(provider, "served")
        return self.data(grant)

    def data(self, grant: Grant) -> bytes:
        """Return the lease of a grant as JSON. Times in it are absolute, so the bytes stay true until the grant changes."""
        account = grant.entry.account
        built = self._built.get(account)
        if (
            built is not None
            and built.entry is grant.entry
            and built.short == grant.short
            and (built.tokens is grant.tokens or built.tokens == grant.tokens)
        ):
            return built.data
        data = encode(lease_of(grant.entry, grant.tokens, short=grant.short))
        self._built[account] = _Built(grant.entry, grant.tokens, grant.short, data)
        return data

    def forget(self, account: AccountId) -> None:
        """Drop the bytes of an account that is gone."""
        self._built.pop(account, None)
