"""The upstream: Gemini's public API, Code Assist, and the two Google services a Code Assist login asks.

Owns: their routes, who is let in, and putting faults in their way. `gemini_request` and `code_assist` read, `answers` answers, `companions` keeps
projects, `stream` sends.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from aiohttp import web

from broker.model.secret import Secret
from broker.sandbox import answers, code_assist, models, wire
from broker.sandbox.auth_server import bearer
from broker.sandbox.companions import SERVICE
from broker.sandbox.faults import (
    Cut,
    Drop,
    DropAfterGrant,
    ErrorEvent,
    ErrorStatus,
    Facts,
    Fault,
    Hang,
    RateLimit,
    Slow,
    Stall,
    Target,
    fault_name,
)
from broker.sandbox.gemini_request import GenerateRequest, read_generate
from broker.sandbox.grants import Alive
from broker.sandbox.rpc import RpcError, error_info, invalid, rate_limited, told_to_fail, unauthenticated
from broker.sandbox.stats import UpstreamCall
from broker.sandbox.stream import Stream, send
from broker.sandbox.world import World

API_KEY_USER = "api-key"
_DAY_SECONDS = 86400
_TARGETS = {
    "generateContent": Target.GENERATE,
    "streamGenerateContent": Target.GENERATE,
    "countTokens": Target.COUNT,
    "retrieveUserQuota": Target.QUOTA,
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request to the upstream, as far as it is understood before it is answered. `body` is decoded JSON.

    `framing` is how a streamed answer is sent: None for a whole one, else whether as server-sent events.
    """

    endpoint: str
    target: Target
    body: object = None
    model: str | None = None
    framing: bool | None = None


Work = Callable[[str], object]
"""Answers a call for a user: JSON to send, or a `Stream`; raises RpcError."""


class _Deferred(web.Response):
    """Stands for a stream that is to be sent once the faults before it are over."""

    stream: Stream


class Upstream:
    """The handlers, over one world."""

    def __init__(self, world: World) -> None:
        """Serve `world`."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        service = f"/v1/projects/{{project}}/services/{SERVICE}"
        both = ("/v1", "/v1beta")
        return [
            *(web.get(f"{version}/models", self.models) for version in both),
            *(web.get(f"{version}/models/{{model}}", self.model) for version in both),
            *(web.post(f"{version}/models/{{target}}", self.gemini) for version in both),
            web.post("/v1internal:{method}", self.code_assist),
            web.get("/v1internal/operations/{name}", self.operation),
            web.get("/v1/projects", self.projects),
            web.get(service, self.service),
            web.post(f"{service}:enable", self.enable),
        ]

    async def models(self, request: web.Request) -> web.StreamResponse:
        """List the models, in pages where `pageSize` asks for it."""
        known, query = self._world.settings.models, request.query

        def work(_user: str) -> object:
            return models.listed(known, query.get("pageSize"), query.get("pageToken"))

        return await self._answer(request, Call("models", Target.MODELS), work, api_key=True)

    async def model(self, request: web.Request) -> web.StreamResponse:
        """Describe one model."""
        name = request.match_info["model"]

        def work(_user: str) -> object:
            models.check(self._world.settings.models, name)
            return models.described(name)

        return await self._answer(request, Call("models", Target.MODELS, model=name), work, api_key=True)

    async def gemini(self, request: web.Request) -> web.StreamResponse:
        """Answer a method of the Gemini API."""
        name, _, method = request.match_info["target"].rpartition(":")
        call = await self._read(request, "gemini", method, name)

        def work(user: str) -> object:
            models.check(self._world.settings.models, name)
            if method == "countTokens":
                return code_assist.counted(_readable(call.body))
            if method not in _TARGETS:
                raise RpcError(404, f"Method {method} was not found.")
            asked = read_generate(_readable(call.body), name)
            made = self._generated(asked, call, name, lambda message: message)
            self._world.companions.count(user, name)
            return made

        return await self._answer(request, call, work, api_key=True)

    async def code_assist(self, request: web.Request) -> web.StreamResponse:
        """Answer a method of Code Assist."""
        method = request.match_info["method"]
        call = await self._read(request, "codeassist", method, None)

        def work(user: str) -> object:
            if call.target is Target.GENERATE:
                return self._enveloped(call, user)
            return code_assist.setup(self._world.companions, user, method, _readable(call.body), self._tomorrow())

        return await self._answer(request, call, work)

    async def operation(self, request: web.Request) -> web.StreamResponse:
        """Tell how an operation of Code Assist stands."""
        name = f"operations/{request.match_info['name']}"
        call = Call("codeassist:operations", Target.SETUP)
        return await self._answer(request, call, lambda user: self._world.companions.operation(user, name))

    async def projects(self, request: web.Request) -> web.StreamResponse:
        """List the user's projects (Cloud Resource Manager v1)."""
        return await self._answer(request, Call("projects", Target.SETUP), self._world.companions.projects)

    async def service(self, request: web.Request) -> web.StreamResponse:
        """Tell whether a project has the service on (Service Usage v1)."""
        project = request.match_info["project"]
        call = Call("services", Target.SETUP)
        return await self._answer(request, call, lambda user: self._world.companions.service(user, project))

    async def enable(self, request: web.Request) -> web.StreamResponse:
        """Switch the service on."""
        project = request.match_info["project"]
        call = Call("services:enable", Target.SETUP)
        return await self._answer(request, call, lambda user: self._world.companions.enable(user, project))

    async def _read(self, request: web.Request, api: str, method: str, model: str | None) -> Call:
        raw = await request.read()
        try:
            body: object = msgspec.json.decode(raw)
        except msgspec.MsgspecError:
            body = _Unreadable()
        if model is None and isinstance(body, dict) and isinstance(body.get("model"), str):
            model = body["model"]
        framing = request.query.get("alt") == "sse" if method == "streamGenerateContent" else None
        return Call(f"{api}:{method}", _TARGETS.get(method, Target.SETUP), body, model, framing)

    async def _answer(
        self, request: web.Request, call: Call, work: Work, *, api_key: bool = False
    ) -> web.StreamResponse:
        try:
            user = self._identify(request, api_key=api_key)
        except RpcError as error:
            wire.note(self._world, request, _noted(call), None)
            self._count(call, None, error.code, None)
            return _failed(error, call)
        wire.note(self._world, request, _noted(call), user)
        facts = Facts(user=user, model=call.model, stream=call.framing is not None)
        fault = self._world.faults.take(call.target, facts)
        unanswered = isinstance(fault, Drop | DropAfterGrant | Hang)
        if unanswered:  # now: a hanging request ends when nobody looks any more
            self._count(call, user, None, fault)
        # What strikes while a stream is sent is left to `send`.
        before = None if facts.stream and isinstance(fault, Cut | Slow | Stall | ErrorEvent) else fault
        response = await wire.under_fault(
            self._world, request, before, lambda: _worked(work, user, call), lambda told: _told(told, call)
        )
        if not unanswered:
            self._count(call, user, response.status, fault)
        return await send(self._world, request, response.stream, fault) if isinstance(response, _Deferred) else response

    def _identify(self, request: web.Request, *, api_key: bool) -> str:
        """Return the user of the access token, or `API_KEY_USER` for the key, in the header or in the URL."""
        token = bearer(request)
        if token is not None:
            standing = self._world.grants.introspect(token, self._world.clock.now())
            if not isinstance(standing, Alive):
                raise unauthenticated()
            return standing.user
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not api_key:
            raise unauthenticated()
        if not key:
            raise RpcError(
                403,
                "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity.",
            )
        if Secret(key) != self._world.api_key:
            message = "API key not valid. Please pass a valid API key."
            raise RpcError(400, message, details=[error_info("API_KEY_INVALID", {})])
        return API_KEY_USER

    def _enveloped(self, call: Call, user: str) -> object:
        envelope = code_assist.open_envelope(_readable(call.body))
        models.check(self._world.settings.models, envelope.model)
        asked = read_generate(envelope.request, envelope.model, enveloped=True)
        trace_id = f"trace-{self._world.response_id()}"
        made = self._generated(asked, call, envelope.model, lambda message: {"response": message, "traceId": trace_id})
        self._world.companions.admit(user, envelope.project, envelope.model)
        return made

    def _generated(self, request: GenerateRequest, call: Call, model: str, wrap: Callable[[object], object]) -> object:
        answer = answers.plan(request, model)
        response_id = self._world.response_id()
        if call.framing is None:
            return wrap(answers.whole(answer, response_id))
        return Stream(map(wrap, answers.chunks(answer, response_id)), answer.delay, call.framing, model)

    def _tomorrow(self) -> str:
        moment = datetime.fromtimestamp(self._world.clock.now().wall, UTC) + timedelta(seconds=_DAY_SECONDS)
        return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")

    def _count(self, call: Call, user: str | None, status: int | None, fault: Fault | None) -> None:
        name = None if fault is None else fault_name(fault)
        now = self._world.clock.now().wall
        self._world.stats.upstream_call(UpstreamCall(now, call.endpoint, call.model, user, status, name))


class _Unreadable:
    """Stands for a body that is not JSON, until somebody asks for it: authentication and faults come first."""


def _readable(body: object) -> object:
    if isinstance(body, _Unreadable):
        raise invalid("Invalid JSON payload received. Unexpected token.")
    return body


def _noted(call: Call) -> object:
    return "<not JSON>" if isinstance(call.body, _Unreadable) else call.body


def _worked(work: Work, user: str, call: Call) -> web.Response:
    try:
        result = work(user)
    except RpcError as error:
        return _failed(error, call)
    if not isinstance(result, Stream):
        return wire.json_response(result)
    deferred = _Deferred()
    deferred.stream = result
    return deferred


def _failed(error: RpcError, call: Call) -> web.Response:
    # A stream that is a JSON array gives its errors in an array too.
    body: object = [error.body()] if call.framing is False else error.body()
    return wire.json_response(body, error.code)


def _told(told: ErrorStatus | RateLimit, call: Call) -> web.Response:
    if isinstance(told, ErrorStatus):
        return _failed(told_to_fail(told.status, call.model), call)
    response = _failed(rate_limited(told.seconds, told.reason, call.model), call)
    if told.header:
        response.headers["Retry-After"] = f"{told.seconds:g}"
    return response
