"""Taking in API keys.

Owns: making an account of a key someone hands over, and writing it into the audit trail. It must never tell the key.
"""

import logging

import msgspec

from broker.daemon.accounts import Accounts
from broker.daemon.work import Work
from broker.ipc.schema import AccountView, KeyAdd
from broker.model.account import Record
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.providers.api_key import ApiKey
from broker.providers.base import Client
from broker.store.base import Entry

_log = logging.getLogger(__name__)


class Keys(msgspec.Struct, frozen=True):
    """The keys that come in."""

    accounts: Accounts
    audit: Audit
    work: Work

    async def add(self, asked: KeyAdd) -> AccountView:
        """Put a key away; an account of its name gets the new key, and keeps what is not said anew.

        Raises:
            BrokerError: `unknown_provider`; `unsupported` where the provider takes no keys; `bad_request`, naming what cannot be; `deadline_exceeded`
                where something else holds the account too long; `storage_unwritable`.
        """
        entry = await self.work.finish(self._add(self._record(asked)), name="add-key")
        return self.accounts.view(entry.account)

    def _record(self, asked: KeyAdd) -> Record:
        provider = self.accounts.registry.get(asked.provider)
        if not isinstance(provider, ApiKey):
            raise BrokerError(
                ErrorCode.UNSUPPORTED,
                f"{provider.name} takes no API keys",
                hint=f"Run: ccs-broker login {provider.name}",
            )
        account = provider.account(asked.label, asked.base_url)
        known = self.accounts.store.get(account)
        facts = known.record.facts if known else {}
        models = asked.models or tuple(name for name in facts.get("models", "").split(",") if name)
        return provider.record(
            account, asked.key, asked.base_url or facts.get("base_url"), asked.header or facts.get("header"), models
        )

    async def _add(self, record: Record) -> Entry:
        store = self.accounts.store
        entry = await store.add(record, Client(""), self.accounts.clock.now())
        self.audit.record(Event.KEY_ADDED, entry.account)
        _log.info("key stored", extra={"account": log_id(entry.account)})
        return entry
