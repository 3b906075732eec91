"""What an account looks like from outside.

Owns: the sentences about states, and the making of views and leases from what the store and the engine know. Pure. It must never put a token into a view.
"""

from collections.abc import Collection
from typing import assert_never

import msgspec

from broker.ipc.schema import AccountQuota, AccountView, Cooldown, Lease
from broker.model.account import (
    AccountId,
    Active,
    Ambiguous,
    Backoff,
    NeedsLogin,
    Paused,
    Record,
    Refreshing,
    State,
    Tokens,
    Unsaved,
    state_name,
)
from broker.model.commands import way_in
from broker.model.errors import TRAITS, ErrorCode
from broker.model.network import PROXY_HINT
from broker.model.secret import Secret
from broker.store.base import Entry


class Told(msgspec.Struct, frozen=True):
    """Why an account is as it is, what to do about it, and since when (wall-clock seconds)."""

    reason: str | None = None
    hint: str | None = None
    since: float | None = None


def account_view(
    entry: Entry,
    state: State,
    tokens: Tokens,
    *,
    last_refresh: float | None,
    next_refresh: float | None,
    cooldowns: tuple[Cooldown, ...],
    default: bool,
    quota: AccountQuota | None = None,
    warnings: tuple[str, ...] = (),
) -> AccountView:
    """Return the view of an account; `tokens` are those served, which a refused write may keep out of the entry."""
    record, told = entry.record, explain(entry, state)
    return AccountView(
        account=str(entry.account),
        provider=entry.account.provider,
        label=entry.account.label,
        state=state_name(state).value,
        generation=entry.generation,
        reason=told.reason,
        hint=told.hint,
        since=told.since,
        email=record.email,
        expires_at=tokens.expires_at,
        last_refresh=last_refresh,
        next_refresh=next_refresh,
        default=default,
        paused=entry.paused,
        disabled=record.disabled,
        renewable=record.tokens.refresh_token is not None,
        file=entry.file,
        cooldowns=cooldowns,
        facts=dict(record.facts),
        quota=quota,
        linked=entry.link.tool if entry.link else None,
        linked_file=entry.link.path if entry.link else None,
        warnings=warnings,
        prefix=record.routing.prefix or None,
        priority=record.routing.priority,
        weight=record.routing.weight,
        excluded_models=record.routing.excluded,
    )


def lease_of(entry: Entry, tokens: Tokens, *, short: bool) -> Lease:
    """Return the lease of a grant."""
    return Lease(
        account=str(entry.account),
        provider=entry.account.provider,
        generation=entry.generation,
        access_token=tokens.access_token or Secret(""),
        token_type=tokens.token_type,
        expires_at=tokens.expires_at,
        short=short,
        facts=dict(entry.record.facts),
        proxy_url=entry.record.routing.proxy_url,
    )


def explain(entry: Entry, state: State) -> Told:
    """Say in a sentence why an account is in its state, and what the person can do."""
    match state:
        case Active():
            return _of_active(entry.record, str(entry.account))
        case Refreshing():
            return Told("being renewed")
        case Paused():
            return Told("paused", f"Run: ccs-broker resume {entry.account}")
        case _:
            return _of_trouble(entry.account.provider, state)


def kept_notes(wanted: AccountId, entry: Entry, before: Collection[AccountId]) -> tuple[str, ...]:
    """Say what a person may not expect of the account a login became: `wanted` is what it would have been called, `before` were the accounts then."""
    account = entry.account
    notes: list[str] = []
    if account in before and account != wanted:
        told = f"This login was known already, as {account}, and was renewed there."
        notes.append(f"{told} To give it another name: ccs-broker rename {account} LABEL")
    elif account in before:
        notes.append("It replaces this account's former login.")
    elif account != wanted:
        notes.append(f"There is another login called {wanted}, so this one is {account}.")
    if entry.paused:
        notes.append(f"The account is paused, and not served. Run: ccs-broker resume {account}")
    if entry.record.disabled:
        notes.append("The account is disabled in its file, and not served.")
    return tuple(notes)


def _of_trouble(provider: str, state: Backoff | Ambiguous | NeedsLogin | Unsaved) -> Told:
    match state:
        case Backoff(reason=reason, code=code):
            return Told(reason, TRAITS[code].hint)
        case Ambiguous(since=since):
            return Told("a renewal was sent and its answer lost", TRAITS[ErrorCode.ANSWER_LOST].hint, since)
        case NeedsLogin(reason=reason, since=since):
            return Told(reason, f"Run: {way_in(provider)}", since)
        case Unsaved(reason=reason, since=since):
            why = f"renewed, but the new grant could not be saved: {reason}"
            return Told(why, TRAITS[ErrorCode.STORAGE_UNWRITABLE].hint, since)
        case _ as never:
            assert_never(never)


def _of_active(record: Record, account: str) -> Told:
    if record.disabled:
        return Told("disabled in its file", f'Set "disabled" to false in the file of {account}.')
    if record.routing.proxy_fault:
        return Told(f"not served: proxy_url in its file {record.routing.proxy_fault}", PROXY_HINT)
    return Told()
