"""One request of a client: let in or not, answered at once where that is possible, else given to a job.

Owns: `ClientCall`, one a request. Who gets in `access` decides, what is asked for `routes`, what a worker serves its `gateway`; it must never touch a token.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, assert_never

import msgspec

from broker import __version__
from broker.model.errors import BrokerError, ErrorCode
from broker.observe.tasks import spawn
from broker.proxy import meters, models, pages
from broker.proxy.access import Peer
from broker.proxy.choose import Candidate
from broker.proxy.failures import failure, refusal
from broker.proxy.gateway import Gateway
from broker.proxy.headers import Headers
from broker.proxy.job import Job
from broker.proxy.keys import Holder
from broker.proxy.making import work_of
from broker.proxy.peers import same_user
from broker.proxy.porter import Admission
from broker.proxy.reqlog.log import Recording
from broker.proxy.routes import (
    ChatCompletions,
    Compact,
    CountMessages,
    CountTokens,
    Docs,
    Embeddings,
    Generate,
    Health,
    Images,
    Messages,
    Metrics,
    Models,
    Responses,
    Root,
    Route,
    Unknown,
    Voice,
    route,
)
from broker.proxy.shop import Shop
from broker.proxy.trail import Trail, left_by
from broker.proxy.usage_table import CONFIG, INTERNAL
from broker.proxy.verdict import Asked
from broker.proxy.way import Sending
from broker.proxy.wire.exchange import Exchange
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.witness import Both, Witness
from broker.proxy.works import Work
from broker.translate.failures import failure_of
from broker.translate.ir import Failure, FailureKind

_log = logging.getLogger(__name__)

_JSON: Final = (b"content-type", b"application/json")


class _Root(msgspec.Struct, frozen=True):
    name: str = "ccs-broker proxy"
    version: str = __version__
    docs: str = "/docs"


TakingOver = Callable[[Gateway, Exchange, Trail, Sending, str, ResponseHead, Witness], bool]
"""Asked to give on the answer with this head of a request that was sent as the trail has it, and to tell the witness; False where it will not."""


class ClientCall:
    """One request (see `wire.exchange.Call`)."""

    __slots__ = (
        "_asked_around",
        "_exchange",
        "_found",
        "_gateway",
        "_holder",
        "_internal",
        "_job",
        "_recording",
        "_route",
        "_taking_over",
        "_waiting",
        "request_id",
    )

    def __init__(
        self,
        gateway: Gateway,
        exchange: Exchange,
        where: Route,
        request_id: str,
        found: tuple[Candidate, ...] | None = None,
        taking_over: TakingOver | None = None,
    ) -> None:
        """Belongs to `exchange`. `found` are the accounts to try, where they were chosen already; `taking_over` may spare a stream its job."""
        self._found = found
        self._taking_over = taking_over
        self._gateway = gateway
        self._exchange = exchange
        self._route = where
        self.request_id = request_id
        self._job: Job | None = None
        self._recording: Recording | None = None
        self._holder: Holder | None = None
        self._internal = False
        self._waiting: asyncio.Task[None] | None = None
        self._asked_around = False

    def on_head(self) -> None:
        """Refuse whoever may not come in before a body is read."""
        exchange, porter = self._exchange, self._gateway.porter
        admitted = exchange.head.made.get(Admission)
        if isinstance(admitted, Admission) and porter.stands_by(admitted):
            found, self._internal = porter.counted(admitted.holder), admitted.internal
        else:
            peer = Peer(exchange.peer[0], self._same_user)
            found = porter.check(exchange.head, peer, public=self._route.public)
            if not isinstance(found, Failure):
                # A head is known again only from the same address, and where the same is known of the peer: who it is stays the same.
                exchange.head.made[Admission] = porter.admission(found, internal=self._internal)
        if isinstance(found, Failure):
            self._refuse(found)
        else:
            self._holder = found

    def on_body(self, body: bytes) -> None:
        """Answer, or give the request to a job."""
        match self._route.target:
            case ChatCompletions() | Responses() | Messages() | CountMessages() | Generate() | CountTokens():
                self._serve(body)
            case Embeddings() | Images() | Compact():
                self._serve(body)
            case Models() as asked:
                self._ask_around(partial(self._models, asked), anew=asked.refresh)
            case Health():
                self._reply([_JSON, (b"cache-control", b"no-store")], self._gateway.health())
            case Docs():
                authority = (self._exchange.head.get(b"host") or b"127.0.0.1").decode("latin-1")
                self._reply(pages.HEADERS, pages.docs(authority, __version__))
            case Metrics():
                text = self._gateway.shop.meters.text(rows=self._holder is None)
                self._reply([(b"content-type", meters.CONTENT_TYPE.encode())], text)
            case Root():
                self._reply([_JSON], msgspec.json.encode(_Root()))
            case Unknown(text, allowed):
                extra = [] if allowed is None else [(b"allow", allowed.encode())]
                status, reason = (404, "not_found") if allowed is None else (405, "method_not_allowed")
                told = failure(status, text, reason=reason)
                if self._route.voice is Voice.OPENAI:
                    # To OpenAI's clients a 404 of the kind NOT_FOUND is a model that does not exist.
                    told = msgspec.structs.replace(told, kind=FailureKind.BAD_REQUEST)
                self._refuse(told, extra)
            case _:
                assert_never(self._route.target)

    def on_fault(self, status: int, text: str) -> None:
        """Say that the request could not be read, or served for a fault of ours; a job under way ends with that."""
        told = failure(status, text)
        if self._job is not None:
            self._job.fail(told)
        elif not self._exchange.ended:
            self._refuse(told)

    def on_blocked(self, blocked: bool) -> None:
        """Pass back-pressure on."""
        if self._job is not None:
            self._job.blocked(blocked)

    def on_gone(self) -> None:
        """The client left."""
        if self._job is not None:
            self._job.gone()
            return
        if self._waiting is not None:
            self._waiting.cancel()
        if self._recording is not None:
            self._recording.ended(499)
        self._done(499)

    def tick(self, now: float) -> None:
        """Keep the job's deadlines."""
        if self._job is not None:
            self._job.tick(now)

    def resume(self, trail: Trail, work: Work, sent: Sending, *, over: bool, witness: Witness | None = None) -> Job:
        """Return the job of a request that was let in and sent as `trail` has it; `over` where its connection has nothing more to say.

        `witness` is who saw it so far; None where nobody was told that it was sent.
        """
        self._holder, self._internal = trail.admission.holder, trail.admission.internal
        if witness is None and (witness := self._witness(work)) is not None:
            witness.sent(sent.attempt())
        job = self._job = self._made(trail.shop, work, trail.asked, witness)
        job.resume(sent, over=over)
        return job

    def _made(self, shop: Shop, work: Work, asked: Asked, witness: Witness | None) -> Job:
        return Job(shop, self._exchange, work, self.request_id, asked, self._done, witness)

    def _serve(self, body: bytes) -> None:
        gateway, head = self._gateway, self._exchange.head
        if gateway.request_log is not None and self._recording is None:
            name = type(self._route.target).__name__
            self._recording = gateway.request_log.begin(self._exchange, body, self.request_id, name)
        try:
            context = gateway.context(self.request_id, self._route.provider)
            work = work_of(self._route.target, head, body, context)
        except BrokerError as error:
            if error.code is ErrorCode.NOT_FOUND and self._may_learn():
                self._ask_around(partial(self._serve, body))
                return
            told = failure_of(error)
            if error.code is ErrorCode.NOT_FOUND:
                told = failure(404, error.detail, reason="model_not_found", param="model")
            self._refuse(told)
            return
        wanted, table = work.wanted, gateway.shop.table
        if table.providers().isdisjoint(wanted.providers) and self._may_learn():
            self._ask_around(partial(self._serve, body))
            return
        if self._holder is not None and self._holder.limited:
            refused = self._narrow(work, self._holder)
            if refused is not None:
                self._refuse(refused)
                return
        agent = head.get(b"user-agent") or b""
        repeats = agent.startswith((b"claude-cli/", b"claude-code/"))
        asked = Asked(work.wanted.name, work.wanted.providers, repeats, table.away, table.providers())
        self._job = job = self._made(gateway.shop, work, asked, self._witness(work))
        job.run(self._found)
        trail = left_by(job.straight(), work, gateway, self._route, context, asked, head)
        if trail is not None:
            head.made[Trail] = trail
            if self._taking_over is not None and self._recording is None:
                job.successor = partial(self._taken_over, self._taking_over, trail)

    def _taken_over(
        self, taking_over: TakingOver, trail: Trail, sent: Sending, head: ResponseHead, witness: Witness
    ) -> bool:
        taken = taking_over(self._gateway, self._exchange, trail, sent, self.request_id, head, witness)
        if taken:
            self._job = None  # as in `_done`
        return taken

    def _narrow(self, work: Work, holder: Holder) -> Failure | None:
        """Leave of what is wanted what the key opens; say so where that is nothing."""
        narrowed = holder.narrowed(work.asked, work.wanted)
        if narrowed is None:
            return forbidden(holder, work.asked)
        work.wanted = narrowed
        return None

    def _ask_around(self, then: Callable[[], None], *, anew: bool = False) -> None:
        """Go on once it is known which models accounts have, or too long in coming."""
        shop, discovery = self._gateway.shop, self._gateway.discovery

        async def learn() -> None:
            await discovery.learn(shop, anew=anew)
            self._waiting = None
            self._exchange.guard(then)

        if discovery.due(shop, anew=anew):
            self._waiting = spawn(learn(), name="proxy-ask-around")
        else:
            then()

    def _may_learn(self) -> bool:
        """Tell, once a request, whether asking around could find somebody who serves it."""
        first, self._asked_around = not self._asked_around, True
        return first and bool(self._gateway.discovery.due(self._gateway.shop))

    def _witness(self, work: Work) -> Witness | None:
        usage, key = self._gateway.usage, self._holder.key if self._holder is not None else None
        name = key.name if key is not None else INTERNAL if self._internal else CONFIG
        since, recording = self._exchange.since, self._recording
        counting = (
            usage.witness(name, key, work.wanted.name, since, work.session, free=self._route.free)
            if usage is not None
            else None
        )
        if recording is None:
            return counting
        recording.asked(work.asked, name)
        return recording if counting is None else Both(counting, recording)

    def _models(self, asked: Models) -> None:
        gateway, name = self._gateway, asked.name
        served = gateway.served_models()
        if self._holder is not None and self._holder.limited:
            served = tuple(each for each in served if gateway.offers(each.id, self._holder))
        if asked.codex:
            self._reply([_JSON], gateway.codex_list(served))
            return
        if name is None:
            self._reply([_JSON], models.listed(served, self._route.voice))
            return
        model = gateway.model(name, served, self._holder)
        if model is None:
            text = f"no such model: {name[:100]!r}; GET /v1/models lists what is served"
            self._refuse(failure(404, text, reason="model_not_found", param="model"))
        else:
            self._reply([_JSON], models.described(model, self._route.voice))

    def _reply(self, headers: Headers, body: bytes) -> None:
        self._exchange.reply(200, [*headers, (b"x-request-id", self.request_id.encode())], body)
        self._done(200)

    def _refuse(self, told: Failure, extra: Headers | None = None) -> None:
        headers, body = refusal(told, self._route.voice, self.request_id)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("refused", extra={"request_id": self.request_id, "status": told.status, "reason": told.reason})
        headers = [*headers, *(extra or [])]
        self._exchange.reply(told.status, headers, body)
        if self._recording is not None:
            self._recording.refused(told.status, headers, body)
        self._done(told.status)

    def _done(self, status: int) -> None:
        self._job = None  # it knows this call: by way of each other they would stay, with the body, until a collection
        seconds = self._gateway.shop.ticker.time() - self._exchange.since
        self._gateway.answered(self.request_id, self._route.name, status, seconds)

    def _same_user(self) -> bool | None:
        # Asked once a connection, and only where the internal key is shown: a question to the kernel costs some microseconds.
        self._internal = True  # the one key that needs it
        line = self._exchange.connection
        if line.trusted is None:
            line.trusted = same_user(self._exchange.peer, self._exchange.local)
        return line.trusted


def route_of(head: RequestHead) -> Route:
    """Return what a head asks for."""
    return route(head.method, head.path, head.query, head.get)


def forbidden(holder: Holder, model: str) -> Failure:
    """Say that a key does not open a model, and which it does."""
    listed = ", ".join(holder.key.models)
    text = f"the API key {holder.key.name!r} does not open the model {model[:100]!r}; it opens: {listed}"
    return failure(403, text, reason="model_not_allowed", param="model")
