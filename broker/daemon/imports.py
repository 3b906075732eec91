"""Taking over logins that other programs left on disk.

Owns: what becomes of each login found: a new account, a newer grant for one there is, a link, or nothing and why. The files are read by
`broker.login.adopt`; what is written goes through the store's door. An older grant never takes the place of a newer one.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace as _with

from broker.daemon.accounts import Accounts
from broker.daemon.later import Later
from broker.daemon.work import Work
from broker.ipc.schema import ImportAnswer, ImportedLogin, ImportRequest
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.audit import Audit, Event
from broker.observe.logs import log_id
from broker.providers.native.base import Login, Refused
from broker.store.base import Entry, Origin
from broker.store.link import Link, Verdict, compare, link_of, unlinked
from broker.store.linked import LinkedStore
from broker.store.table import same_login

if TYPE_CHECKING:
    from broker.login.adopt import Adoptable, Adopter, Discovery

_log = logging.getLogger(__name__)

_LOCK_WAIT_SECONDS = 20.0
_COPY, _LINKED = "copy", "linked"


class Action(StrEnum):
    """What was, or would be, done with a login that was found."""

    ADDED = "added"  # a new account
    UPDATED = "updated"  # a newer grant for an account there is
    LINKED = "linked"  # an account there is goes on sharing its login
    UNLINKED = "unlinked"  # and no longer does
    PRESENT = "present"  # all is as it should be
    SKIPPED = "skipped"  # it could be taken over, but was not
    REFUSED = "refused"  # it cannot be taken over


class _Plan(msgspec.Struct, frozen=True):
    """What is to be done, with which account, and why."""

    action: Action
    known: Entry | None = None
    reason: str | None = None


class Imports(msgspec.Struct, frozen=True):
    """The use case. `env` is the daemon's own environment; a caller's variables come before it."""

    accounts: Accounts
    store: LinkedStore
    adopter: "Later[Adopter]"
    audit: Audit
    work: Work
    env: Mapping[str, str]

    async def run(self, request: ImportRequest) -> ImportAnswer:
        """Take over what is found, or with `dry_run` say what would be done.

        Raises:
            BrokerError: `bad_request` for a mode, program or file that cannot be.
        """
        await self.adopter.get()
        from broker.login.adopt import discover  # noqa: PLC0415 - loaded with the adopter

        if request.mode not in (None, _COPY, _LINKED):
            raise BrokerError(ErrorCode.BAD_REQUEST, f"the mode is copy or linked, not {request.mode[:40]!r}")
        path = Path(request.path) if request.path is not None else None
        env = {**self.env, **request.variables}
        found = await asyncio.to_thread(discover, request.tool, path, env)
        # One after the other: the second file of one login must find the account the first one became.
        logins = [await self._one(each, request) for each in found]
        taken = (Action.ADDED, Action.UPDATED, Action.LINKED)
        return ImportAnswer(
            adopted=()
            if request.dry_run
            else tuple(dict.fromkeys(each.account for each in logins if each.action in taken and each.account)),
            refused={f"{each.tool} {each.path}": each.reason or "" for each in logins if each.action == Action.REFUSED},
            logins=tuple(logins),
            dry_run=request.dry_run,
        )

    async def _one(self, discovery: "Discovery", request: ImportRequest) -> ImportedLogin:
        native = discovery.native
        told = ImportedLogin(
            tool=native.tool, title=native.title, path=str(discovery.path), provider=native.provider, action=Action.REFUSED.value,
        )  # fmt: skip
        ready = await (await self.adopter.get()).adopt(discovery, online=not request.dry_run)
        if isinstance(ready, Refused):
            return _with(told, reason=f"{discovery.path.name} {ready.reason}")
        link, why_not = await self._link(discovery, ready)
        told = _with(
            told,
            provider=ready.provider.name,
            account=str(ready.record.account),
            email=ready.record.email,
            linkable=link is not None,
            rotates=ready.provider.policy.rotates and ready.record.tokens.refresh_token is not None,
            notes=ready.notes,
        )
        if request.mode == _LINKED and link is None:
            return _with(told, action=Action.SKIPPED.value, reason=f"can only be copied: {why_not}")
        plan = self._plan(ready, link if request.mode == _LINKED else None, request.mode)
        if plan.known is not None:
            told = _with(told, account=str(plan.known.account))
        told = _with(
            told,
            action=plan.action.value,
            reason=plan.reason,
            notes=(*told.notes, *_warnings(told, plan, request.mode, discovery)),
        )
        if request.dry_run or plan.action in (Action.PRESENT, Action.SKIPPED, Action.REFUSED):
            return told
        try:
            account = await self.work.finish(
                self._do(plan, ready, link if request.mode == _LINKED else None, discovery), name="import-login"
            )
        except BrokerError as error:
            return _with(told, action=Action.REFUSED.value, reason=error.detail)
        return _with(told, account=str(account))

    async def _link(self, discovery: "Discovery", ready: "Adoptable") -> tuple[Link | None, str | None]:
        """Return how a login could be linked, or why it cannot."""
        native, found = discovery.native, discovery.found
        if native.unlinked or not isinstance(found, Login):
            return None, native.unlinked
        if not ready.record.tokens.refresh_token:
            return None, "it cannot be renewed"
        link = Link(native.tool, await asyncio.to_thread(os.path.realpath, discovery.path), found.key)
        problem = await self.store.refusal(link)
        return (None, problem) if problem else (link, None)

    def _plan(self, ready: "Adoptable", link: Link | None, mode: str | None) -> _Plan:
        """Decide. Without a link it is a copy."""
        known = self._known(ready)
        if known is None:
            return _Plan(Action.ADDED)
        verdict = compare(known.record.tokens, ready.record.tokens, known.link.spent if known.link else ())
        newer = verdict is Verdict.ADOPT or (verdict is Verdict.HOLD and known.terminal is not None)
        if newer:
            return _Plan(Action.UPDATED, known)
        if link is not None:
            linked = known.link is not None and replace(known.link, spent=()) == link
            return _Plan(Action.PRESENT if linked else Action.LINKED, known)
        if mode == _COPY and known.link is not None:
            return _Plan(Action.UNLINKED, known)
        if verdict is Verdict.SAME:
            return _Plan(Action.PRESENT, known)
        return _Plan(Action.SKIPPED, known, "the account here has a newer grant")

    def _known(self, ready: "Adoptable") -> Entry | None:
        """Return the account that is the same login: the same person's, or the same refresh token."""
        record, digest = ready.record, ready.record.tokens.refresh_digest()
        entries = [each for each in self.store.entries().values() if each.account.provider == record.account.provider]
        same = (each for each in entries if digest is not None and each.record.tokens.refresh_digest() == digest)
        like = (each for each in entries if same_login(each.record, record))
        return next(same, None) or next(like, None)

    async def _do(self, plan: _Plan, ready: "Adoptable", link: Link | None, discovery: "Discovery") -> AccountId:
        record, known = ready.record, plan.known
        if known is not None and plan.action is not Action.UPDATED:
            # Theirs is behind ours: known to be, it is brought up to ours.
            digest = record.tokens.refresh_digest()
            behind = (digest,) if digest is not None and digest != known.record.tokens.refresh_digest() else ()
            async with self.store.lock(known.account, _LOCK_WAIT_SECONDS) as lock:
                await self.store.set_link(lock, replace(link, spent=behind) if link else None)
            entry = known
        else:
            name = discovery.path.name if ready.document is not None else ""
            # A mark in a file that comes from elsewhere would share the login with a program nobody named here.
            document = unlinked(ready.document) if ready.document and link_of(ready.document) else ready.document
            origin = Origin(link, document, name)
            account = known.account if known else record.account
            entry = await self.store.add(
                replace(record, account=account), ready.client, self.accounts.clock.now(), origin
            )
        self.audit.record(Event.IMPORTED, entry.account, tool=discovery.native.tool, action=plan.action.value)
        _log.info("login taken over", extra={"account": log_id(entry.account), "tool": discovery.native.tool})
        return entry.account


def _warnings(told: ImportedLogin, plan: _Plan, mode: str | None, discovery: "Discovery") -> tuple[str, ...]:
    title = discovery.native.title
    if plan.action in (Action.REFUSED, Action.SKIPPED):
        return ()
    if mode == _LINKED:
        if told.rotates and discovery.native.lock is None:
            return (
                f"No lock of {title}'s is known: should both renew within the same second, one of the two is logged out.",
            )
        return ()
    linked = plan.known is not None and plan.known.link is not None and plan.action is not Action.UNLINKED
    if not told.rotates or linked:
        return ()
    advice = " To avoid that, import it linked." if told.linkable else ""
    return (
        f"{title} and ccs-broker now both renew this login: at the next renewal one of the two will be logged out.{advice}",
    )
