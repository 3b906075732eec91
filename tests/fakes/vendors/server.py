"""The loopback server a vendor's fake is built on: it answers in that vendor's shapes, keeps what it was asked, and fails when told to."""

import json
import re
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """One request. `fields` are those of its body, form or JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    fields: Mapping[str, object]


@dataclass(frozen=True)
class Fault:
    """What is answered instead."""

    status: int
    body: str = ""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class VendorServer(ABC):
    """One vendor. A subclass says its routes and its config, and how a person approves there."""

    name: ClassVar[str]
    """The provider's name."""
    refresh_path: ClassVar[str]
    """Where a refresh goes."""
    exchange_path: ClassVar[str] = ""
    """Where a code is exchanged; empty where that is `refresh_path`."""
    poll_path: ClassVar[str] = ""
    """Where a device code is polled with; empty where that is `exchange_path`."""
    denial: ClassVar[int | None] = 400
    """The status with which a poll learns that the person said no; None where the vendor cannot tell."""
    any_port: bool = False
    """Whether a callback may be on any port, as tests that run beside each other need it."""
    rotates: ClassVar[bool] = True
    lifetime: float = 3600.0
    """Of the next access token, in seconds."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.url = ""
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._runner: web.AppRunner | None = None
        self._issued = 0

    # --- what a subclass says ---

    @abstractmethod
    def routes(self) -> Iterable[web.RouteDef]: ...

    @abstractmethod
    def config(self, folder: Path) -> str:
        """The TOML that points `[providers.NAME]` here; files it names go into `folder`."""

    def reject(self) -> None:
        """Answer the next refresh as the vendor does for a dead login."""
        self.fail(self.refresh_path, Fault(400, '{"error":"invalid_grant","error_description":"it is no more"}'))

    def knows(self, redirect: str, registered: str) -> bool:
        """Tell whether a callback is the registered one."""
        if self.any_port:
            redirect, registered = (re.sub(r":\d+/", "/", each) for each in (redirect, registered))
        return redirect == registered

    def stop_exchange(self, *faults: Fault) -> None:
        """Answer the next exchanges of a code with these."""
        self.fail(self.exchange_path or self.refresh_path, *faults)

    def stop_poll(self, *faults: Fault) -> None:
        """Answer the next polls with these."""
        self.fail(self.poll_path or self.exchange_path or self.refresh_path, *faults)

    async def approve(self, url: str) -> str:
        """Be the person at the authorization page; return what they paste."""
        async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=False) as answer:
            assert answer.status in {302, 303}, await answer.text()
            return answer.headers["Location"]

    async def approve_device(self, user_code: str) -> None:
        """Be the person at the device page; for vendors that have one."""
        raise AssertionError(f"{self.name} has no page for {user_code}")

    def imported(self) -> tuple[str, dict[str, object]]:
        """The name and document of an auth file, where that is the only way to have an account."""
        raise AssertionError(f"{self.name} is logged in to")

    # --- for tests ---

    def fail(self, path: str, *faults: Fault) -> None:
        """Answer the next requests to `path` with these."""
        self._faults[path].extend(faults)

    def asked(self, path: str) -> list[Seen]:
        return [each for each in self.seen if each.path == path]

    def fresh(self, kind: str) -> str:
        """A new fake token of this kind."""
        self._issued += 1
        return f"fake-{self.name}-{kind}-{self._issued}"

    # --- running ---

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._middleware])
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: object) -> web.StreamResponse:
        self.seen.append(
            Seen(request.method, request.path, dict(request.headers), dict(request.query), await body_fields(request))
        )
        if self._faults[request.path]:
            fault = self._faults[request.path].popleft()
            return web.Response(
                status=fault.status, text=fault.body, content_type=fault.content_type, headers=fault.headers
            )
        assert callable(handler)
        answer: web.StreamResponse = await handler(request)
        return answer


async def body_fields(request: web.Request) -> dict[str, object]:
    """The fields of a request's body, by its content type."""
    text = await request.text()
    if not text:
        return {}
    if request.content_type == "application/json":
        decoded = json.loads(text)
        return decoded if isinstance(decoded, dict) else {}
    return dict(parse_qsl(text, keep_blank_values=True))
