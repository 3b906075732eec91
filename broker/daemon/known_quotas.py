"""What was last read of each account's plan and limits.

Owns: the table. Pure: `now` is wall-clock seconds. It lives in memory and is filled by whoever asked: it must never be the reason to ask.
"""

import msgspec

from broker.ipc.schema import AccountQuota
from broker.model.account import AccountId


class KnownQuotas:
    """The last answers."""

    def __init__(self) -> None:
        """Start with none."""
        self._table: dict[AccountId, AccountQuota] = {}

    def remember(self, account: AccountId, quota: AccountQuota) -> None:
        """Take an answer in the place of an older one."""
        self._table[account] = quota

    def failed(self, account: AccountId, why: str, now: float) -> None:
        """Note that the provider did not tell: what was known stays, as old as it is."""
        known = self._table.get(account) or AccountQuota(account=str(account), read_at=now)
        self._table[account] = msgspec.structs.replace(known, notes=(why,))

    def forget(self, account: AccountId) -> None:
        """Drop an account that is gone."""
        self._table.pop(account, None)

    def of(self, account: AccountId, now: float) -> AccountQuota | None:
        """Return what is known and still true: a window that began anew since is left out."""
        known = self._table.get(account)
        if known is None:
            return None
        windows = tuple(each for each in known.windows if each.resets_at is None or each.resets_at > now)
        return known if len(windows) == len(known.windows) else msgspec.structs.replace(known, windows=windows)
