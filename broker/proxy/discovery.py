"""Asks accounts which models they have, when somebody wants to know.

Owns: the asking, one task an account, and the waiting for it with a limit, so that nobody's list hangs on a slow API. What is asked `upstreams.lists` decides,
what was said `learnt` keeps. A token goes where the account's requests go and nowhere else; an account that cannot be asked is told in the log, and sets
nothing aside.
"""

import asyncio
import logging
from typing import Final

import msgspec

from broker.ipc.schema import Lease, WatchAccount
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.logs import log_id
from broker.observe.tasks import spawn
from broker.proxy.choose import judge, usable
from broker.proxy.headers import overlaid
from broker.proxy.learnt import Found, Learnt
from broker.proxy.shop import Shop
from broker.proxy.upstreams.lists import LISTERS, listing
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from broker.proxy.wire.client import UpstreamConnection, UpstreamError
from broker.proxy.wire.heads import ResponseHead, request_head
from broker.proxy.wire.pool import Origin, Pool

_log = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 4.0
"""How long a client's question waits for accounts' answers; what comes later is in the next list."""

_ANSWER_SECONDS: Final = 15.0
_MAX_BYTES: Final = 8 << 20


class Discovery:
    """The asking of one worker; `learnt` is what came of it."""

    def __init__(self) -> None:
        """Ask nobody yet."""
        self.learnt = Learnt()
        self._asking: dict[str, asyncio.Task[None]] = {}

    def due(self, shop: Shop, *, anew: bool = False) -> tuple[WatchAccount, ...]:
        """Return the accounts whose lists are not known or too old; with `anew` also those that still hold. What a file says needs no asking."""
        now, asks = shop.clock.now().wall, shop.discovers
        able = {
            each.view.account: each
            for each in shop.table.accounts()
            if _can_be_asked(each, now) and (asks or _declared(each))
        }
        declared = {name: _declared(each) for name, each in able.items()}
        return tuple(able[name] for name in self.learnt.due(declared, shop.ticker.time(), anew=anew))

    async def learn(self, shop: Shop, *, anew: bool = False) -> None:
        """Ask all that are due at once, and wait for them for a moment."""
        self.learnt.keep([each.view.account for each in shop.table.accounts()])
        waiting = []
        for account in self.due(shop, anew=anew):
            if declared := _declared(account):
                self.learnt.declare(account.view.account, account.view.provider, declared)
            else:
                waiting.append(self._task(shop, account))
        if waiting:
            await asyncio.wait(waiting, timeout=PATIENCE_SECONDS)

    def close(self) -> None:
        """Ask no more."""
        for task in self._asking.values():
            task.cancel()

    def _task(self, shop: Shop, account: WatchAccount) -> asyncio.Task[None]:
        name = account.view.account
        task = self._asking.get(name)
        if task is None:
            task = self._asking[name] = spawn(self._ask(shop, account), name="proxy-models")
            task.add_done_callback(lambda _: self._asking.pop(name, None))
        return task

    async def _ask(self, shop: Shop, account: WatchAccount) -> None:
        view, models = account.view, None
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                models = await _fetched(shop, account)
        except (BrokerError, UpstreamError, ValueError, RecursionError, TimeoutError) as error:
            reason = str(error) or f"no answer within {_ANSWER_SECONDS:g} s"
            _log.warning(
                "list of models not had", extra={"account": log_id(AccountId.parse(view.account)), "reason": reason}
            )
        self.learnt.put(view.account, view.provider, models, shop.ticker.time())


def _declared(account: WatchAccount) -> str:
    """Return what the file of a key says of its models: their names, with commas between."""
    return account.lease.facts.get("models", "") if account.lease is not None else ""


def _can_be_asked(account: WatchAccount, now: float) -> bool:
    kind = PROVIDERS.get(account.view.provider)
    return kind in LISTERS and judge(account, "", now) is None


async def _fetched(shop: Shop, account: WatchAccount) -> tuple[Found, ...] | None:
    """Ask an account's API.

    Raises:
        BrokerError: there is no token, or nowhere to send it.
        UpstreamError: there was no answer.
        ValueError: the answer is no list; RecursionError where it is nested too deeply.
    """
    lease = account.lease
    if lease is None or not usable(lease, shop.clock.now().wall):
        lease = await _borrowed(shop, account)
    upstream = UPSTREAMS[PROVIDERS[lease.provider]]
    sent = listing(upstream, lease)
    assert sent is not None  # only what has a list is asked
    origin, path = shop.origin(shop.homes(upstream, lease, ())[0], lease)
    headers = overlaid(sent.headers, shop.headers.get(upstream.kind, ()))
    lister = LISTERS[upstream.kind]
    length = None if lister.body is None else len(sent.body)
    head = request_head(lister.method.encode(), path + sent.target, origin.authority, headers, length)
    return lister.read(await _answer(shop.pool, origin, _Question(lister.method, head, sent.body)))


async def _borrowed(shop: Shop, account: WatchAccount) -> Lease:
    leased = await shop.table.borrow(account.view.account)
    if leased.lease is None:
        raise BrokerError(ErrorCode.REFRESH_FAILED, leased.text, hint="")
    return leased.lease


class _Question(msgspec.Struct, frozen=True):
    method: str
    head: bytes
    body: bytes


async def _answer(pool: Pool, origin: Origin, asked: _Question) -> bytes:
    kept = pool.take(origin)
    if kept is not None:
        try:
            return await _Answer().over(kept, asked)
        except UpstreamError as error:
            if not error.stale:
                raise
    return await _Answer().over(await pool.connect(origin), asked)


class _Answer:
    """Takes one answer as a whole (see `wire.client.Receiver`)."""

    def __init__(self) -> None:
        self._done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._body = bytearray()
        self._status = 0
        self._over = False

    async def over(self, connection: UpstreamConnection, asked: _Question) -> bytes:
        """Ask over a connection; raises UpstreamError where it fails, ValueError for anything but a whole answer of status 200."""
        connection.send(self, asked.method, asked.head, asked.body)
        try:
            return await self._done
        finally:
            if not self._over:  # else it is somebody else's already
                connection.cancel()

    def on_response(self, head: ResponseHead) -> None:
        self._status = head.status

    def on_data(self, parts: list[bytes]) -> None:
        for part in parts:
            self._body += part
        if len(self._body) > _MAX_BYTES:
            self._fail(ValueError(f"it answered with more than {_MAX_BYTES} bytes"))

    def on_done(self, parts: list[bytes]) -> None:
        self._over = True
        self.on_data(parts)
        if self._status != 200:
            self._fail(ValueError(f"it answered {self._status}"))
        elif not self._done.done():
            self._done.set_result(bytes(self._body))

    def on_failed(self, failure: UpstreamError) -> None:
        self._over = True
        self._fail(failure)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)
