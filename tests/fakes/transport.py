"""A transport that answers from a script: responses and faults in order, requests kept for looking at."""

from dataclasses import dataclass, field

from broker.oauth.messages import HttpRequest, HttpResponse


@dataclass
class ScriptedTransport:
    """Implements `broker.oauth.transport.Transport`."""

    script: list[HttpResponse | Exception] = field(default_factory=list)
    asked: list[HttpRequest] = field(default_factory=list)

    def on_behalf(self, provider: str, own: object = None) -> "ScriptedTransport":
        return self

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request)
        if not self.script:
            raise AssertionError(f"one request too many: {request.method} {request.url}")
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
