"""The sandbox's own paths, under `/sandbox/`: what it saw, and how to change what it does.

Owns: reading and answering them. They need no credentials: whoever reaches loopback may use them (docs/sandbox.md).
"""

from collections.abc import Iterable

import msgspec
from aiohttp import web

from broker.sandbox import wire
from broker.sandbox.faults import QueuedFault
from broker.sandbox.settings import changed
from broker.sandbox.world import World

_LAST = 50


class Control:
    """The handlers, over one world."""

    def __init__(self, world: World) -> None:
        """Serve `world`."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to an application."""
        return [
            web.get("/sandbox/stats", self.stats),
            web.delete("/sandbox/stats", self.reset),
            web.get("/sandbox/requests", self.requests),
            web.get("/sandbox/faults", self.faults),
            web.post("/sandbox/faults", self.add_faults),
            web.delete("/sandbox/faults", self.clear_faults),
            web.get("/sandbox/settings", self.settings),
            web.post("/sandbox/settings", self.change_settings),
            web.post("/sandbox/users/{user}/revoke", self.revoke_user),
        ]

    async def stats(self, _request: web.Request) -> web.Response:
        """Return the counts."""
        return wire.json_response(self._world.stats.snapshot())

    async def reset(self, _request: web.Request) -> web.Response:
        """Count from nought."""
        self._world.stats.reset()
        return web.Response(status=204)

    async def requests(self, request: web.Request) -> web.Response:
        """Return the last requests, `?last=` of them, the newest at the end, secrets masked."""
        last = request.query.get("last", str(_LAST))
        if not (last.isascii() and last.isdigit() and len(last) < 10):
            return _refuse("last: a number is expected")
        kept = list(self._world.stats.requests)
        return wire.json_response(kept[max(0, len(kept) - int(last)) :])

    async def faults(self, _request: web.Request) -> web.Response:
        """Return the faults that wait."""
        return wire.json_response(self._world.faults.waiting())

    async def add_faults(self, request: web.Request) -> web.Response:
        """Queue one fault, or a list of them."""
        try:
            given = await _read(request, QueuedFault | list[QueuedFault])
        except ValueError as error:
            return _refuse(str(error))
        for entry in given if isinstance(given, Iterable) else (given,):
            assert isinstance(entry, QueuedFault)
            self._world.faults.add_entry(entry)
        return wire.json_response(self._world.faults.waiting())

    async def clear_faults(self, _request: web.Request) -> web.Response:
        """Forget the faults that wait."""
        return wire.json_response({"cleared": self._world.faults.clear()})

    async def settings(self, _request: web.Request) -> web.Response:
        """Return the settings in force."""
        return wire.json_response(self._world.settings)

    async def change_settings(self, request: web.Request) -> web.Response:
        """Change the settings the body names, and return them all."""
        try:
            changes = await _read(request, dict[str, object])
            assert isinstance(changes, dict)
            self._world.apply(changed(self._world.settings, changes))
        except ValueError as error:
            return _refuse(str(error))
        return wire.json_response(self._world.settings)

    async def revoke_user(self, request: web.Request) -> web.Response:
        """Revoke all of a user's grants, as on a provider's account page."""
        return wire.json_response({"revoked": self._world.grants.revoke_user(request.match_info["user"])})


async def _read(request: web.Request, kind: object) -> object:
    # JSON only: a web page can post a form to any address without being asked, JSON it can not.
    if request.content_type != "application/json":
        raise ValueError("the body must be application/json")
    return msgspec.json.decode(await request.read(), type=kind)


def _refuse(why: str) -> web.Response:
    return wire.json_response({"error": "bad_request", "error_description": why}, 400)
