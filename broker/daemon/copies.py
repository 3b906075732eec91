"""Warnings about logins that two programs hold.

Owns: knowing which refresh tokens other programs' login files hold, as fingerprints, and the sentence for an account that is a copy of one. The
files are looked at when accounts are asked for, at most once a minute, and never on the event loop.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from broker.model.clock import Clock
from broker.model.errors import BrokerError
from broker.model.secret import Digest
from broker.observe.tasks import spawn
from broker.providers.native.base import Login
from broker.providers.registry import Registry
from broker.store.base import Entry
from broker.store.linked import LinkedStore

if TYPE_CHECKING:
    from broker.login.adopt import Discovery

_KNOWN_SECONDS = 60.0


class Copies:
    """What other programs hold. One event loop uses it."""

    def __init__(
        self, find: "Callable[[], Iterable[Discovery]]", store: LinkedStore, registry: Registry, clock: Clock
    ) -> None:
        """Look by `find`, which blocks."""
        self._find = find
        self._store = store
        self._registry = registry
        self._clock = clock
        self._known: Mapping[Digest, Discovery] = {}
        self._looked: float | None = None
        self._looking: asyncio.Task[None] | None = None

    def warnings(self, entry: Entry) -> tuple[str, ...]:
        """Return what to tell about an account, as last seen."""
        self._look_again()
        if entry.link is not None:
            problem = self._store.problem_of(entry.account)
            return (problem,) if problem else ()
        digest = entry.record.tokens.refresh_digest()
        found = self._known.get(digest) if digest is not None else None
        if found is None or not self._registry.get(entry.account.provider).policy.rotates:
            return ()
        who = found.native
        text = f"{who.title} holds the same login ({found.path}) and renews it too: at the next renewal one of the two is logged out."
        return (text if who.unlinked else f"{text} Run: ccs-broker import {who.tool} --linked",)

    async def close(self) -> None:
        """Wait until nothing is looked at any more."""
        if self._looking is not None:
            await asyncio.wait([self._looking])

    def _look_again(self) -> None:
        now = self._clock.now().boot
        if (self._looked is None or now - self._looked > _KNOWN_SECONDS) and (
            self._looking is None or self._looking.done()
        ):
            self._looked = now
            self._looking = spawn(self._look(), name="look-for-copies")

    async def _look(self) -> None:
        self._known = await asyncio.to_thread(self._scan)

    def _scan(self) -> "Mapping[Digest, Discovery]":
        known: dict[Digest, Discovery] = {}
        for discovery in self._find():
            digest = self._digest(discovery)
            if digest is not None:
                known.setdefault(digest, discovery)
        return known

    def _digest(self, discovery: "Discovery") -> Digest | None:
        login = discovery.found
        if not isinstance(login, Login):
            return None
        if login.document is None:
            return login.tokens.refresh_digest()
        provider = self._registry.of_document(login.document)
        try:
            return provider.read(login.document, discovery.path.name).tokens.refresh_digest() if provider else None
        except (BrokerError, ValueError):
            return None
