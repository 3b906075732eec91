"""Whatever comes in whatever order over one connection: the short way changes nothing that anybody could see."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.config import RoutingConfig
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.two_ways import Rig, both
from tests.fakes.upstream import Peer, Script, Taken, chunked
from tests.proxy.test_faulty_upstreams import (
    closed,
    cut_after_head,
    cut_in_body,
    good,
    html_as_answer,
    moved,
    refused,
    script,
    trickle,
)
from tests.proxy.test_trail import NAMES

PLAYS: dict[str, Script] = {
    "good": script(good),
    "good, then closed": b"",
    "a byte at a time": script(trickle),
    "closed": script(closed),
    "cut after its head": script(cut_after_head),
    "cut in its body": script(cut_in_body),
    "400": script(refused(400)),
    "401": script(refused(401)),
    "429": script(refused(429)),
    "429 for a minute": script(refused(429, "Retry-After: 60")),
    "503": script(refused(503)),
    "a page": script(html_as_answer),
    "302": script(moved),
    "chunked": chunked(b"{", b"}", headers=("Content-Type: application/json",)),
}


async def _then_closed(peer: Peer, taken: Taken) -> None:
    await script(good)(peer, taken)
    peer.writer.close()


PLAYS["good, then closed"] = _then_closed


class Ask(msgspec.Struct, frozen=True):
    """A request, and what the upstream does with it; whatever it is asked further is good."""

    play: str = "good"
    model: str = "gpt-5"
    stream: bool = False
    blanks: int = 0
    own: str = ""


class Happens(msgspec.Struct, frozen=True):
    """Something that is not a request."""

    what: str


FIRST = [Ask(), Ask(blanks=1)]
ASKS = st.builds(
    Ask,
    st.sampled_from(["good", "good", "good", *PLAYS]),
    st.sampled_from(["gpt-5", "gpt-5", "gpt-5", "gpt-4o", "claude-sonnet-4-5", "nonesuch", ""]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([0, 1, 100]),
    st.sampled_from(["", "", "", "x"]),
)
HAPPENS = st.sampled_from(
    [
        Happens(what)
        for what in (
            "renewed",
            "paused",
            "resumed",
            "second",
            "second gone",
            "settings",
            "alias",
            "minute",
            "limits",
            "again",
        )
    ]
)


@settings(max_examples=40)
@given(st.lists(ASKS | ASKS | HAPPENS, min_size=1, max_size=10))
async def test_any_sequence_is_told_the_same(steps: list[Ask | Happens]) -> None:
    def daemon() -> FakeDaemon:
        made = FakeDaemon()
        made.put(*(account(name, lease(name)) for name in ("openai-api/a", "anthropic-api/a")))
        made.renew = lambda name: lease(name, "fake-access-9", 9)
        return made

    async def scenario(p: Rig) -> None:
        for number, step in enumerate([*FIRST, *steps, Ask()]):
            if isinstance(step, Ask):
                await _ask(p, step)
            else:
                await _happen(p, step.what, number)

    p = await both(scenario, daemon, NAMES, PLAYS["good"])
    assert "Shortcut" in p.front.opened


async def _ask(p: Rig, step: Ask) -> None:
    p.stage.play(PLAYS[step.play], PLAYS["good"])
    said = {"model": step.model, "stream": step.stream, "messages": [{"role": "user", "content": "hi"}]}
    await p.ask(
        "/v1/chat/completions",
        json.dumps(said).encode() + b" " * step.blanks,
        **({"x-own": step.own} if step.own else {}),
    )


async def _happen(p: Rig, what: str, number: int) -> None:
    name, before = "openai-api/a", p.worker.table.accounts()
    match what:
        case "renewed":
            p.daemon.put(account(name, lease(name, f"fake-access-{10 + number}", 10 + number)))
        case "paused":
            p.daemon.put(account(name, lease(name), paused=True))
        case "resumed":
            p.daemon.put(account(name, lease(name)))
        case "second":
            p.daemon.put(account("openai-api/b", lease("openai-api/b", "fake-access-b")))
        case "second gone" if "openai-api/b" in p.daemon.accounts:
            p.daemon.remove("openai-api/b")
        case "settings":
            p.apply()
            return
        case "alias":
            p.apply(routing=RoutingConfig(discover_models=False, aliases={"gpt-4o": "gpt-5"}))
            return
        case "limits":
            p.apply(proxy={"max_body_bytes": 150})
            return
        case "minute":
            p.clock.advance(60)
            return
        case _:
            return
    await p.until(lambda: p.worker.table.accounts() is not before)
