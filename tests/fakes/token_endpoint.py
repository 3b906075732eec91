"""A token endpoint with strict rotation behind the transport interface: single use, and reuse ends the family."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.oauth.transport import AnswerLostError, NotSentError

Connected = Callable[[], Awaitable[None]] | None
Heard = Callable[[HttpResponse], None] | None


def answer(status: int = 200, **body: object) -> HttpResponse:
    return HttpResponse(status, {"content-type": "application/json"}, msgspec.json.encode(body))


@dataclass
class TokenEndpoint:
    """Implements `Transport`. `faults` are taken one a request: a response, "not-sent", "lost" (nothing done) or "lost-after" (rotated,
    answer dropped). `gate`, when set, holds every answer back until it is opened.
    """

    current: str = "fake-refresh-1"
    lifetime: float = 3600
    rotate: bool = True
    dead: bool = False
    posts: int = 0
    reused: int = 0
    faults: list[HttpResponse | str] = field(default_factory=list)
    gate: asyncio.Event | None = None
    on_post: Callable[[], None] | None = None
    forgotten: set[str] = field(default_factory=set)

    def on_behalf(self, provider: str, own: object = None) -> "TokenEndpoint":
        return self

    async def send(self, request: HttpRequest, *, connected: Connected = None, heard: Heard = None) -> HttpResponse:
        said = await self._answered(request, connected)
        if heard is not None:
            heard(said)
        return said

    async def _answered(self, request: HttpRequest, connected: Connected) -> HttpResponse:
        if connected is not None and self.faults[:1] != ["not-sent"]:
            await connected()
        self.posts += 1
        if self.on_post is not None:
            self.on_post()
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "not-sent":
            raise NotSentError("the connection was refused")
        if fault == "lost":
            raise AnswerLostError("the connection was cut before the answer")
        if isinstance(fault, HttpResponse):
            return fault
        said = self._grant(request)
        if fault == "lost-after":
            raise AnswerLostError("the connection was cut before the answer")
        return said

    def _grant(self, request: HttpRequest) -> HttpResponse:
        assert request.form is not None
        presented = request.form["refresh_token"]
        assert isinstance(presented, Secret)
        if self.dead or presented.reveal() != self.current:
            self.reused += presented.reveal() in self.forgotten
            self.dead = self.dead or presented.reveal() in self.forgotten
            return answer(400, error="invalid_grant", error_description="Token has been expired or revoked.")
        number = self.posts + 1
        body: dict[str, object] = {"access_token": f"fake-access-{number}", "expires_in": self.lifetime}
        if self.rotate:
            self.forgotten.add(self.current)
            self.current = f"fake-refresh-{number}"
            body["refresh_token"] = self.current
        return answer(**body)
