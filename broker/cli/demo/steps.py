"""The demo's steps: each does one thing on the stage and says in a sentence what was seen.

Owns: what is shown, and the checks that make a step fail. A step returns its sentence or raises DemoFailedError.
"""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from broker.cli.demo.stage import DemoFailedError, Stage, headers, mode_of
from broker.ipc.schema import LoginStart
from broker.observe.tasks import spawn

TOKEN_SECONDS = 4.0
LEASES = 200
_LONG_SECONDS = 3600.0
_MODEL = "gemini-2.5-flash"
_IMAGE_MODEL = "gemini-3-pro-image-preview"
_STREAM_CHUNKS = 60
_STREAM_DELAY = 0.1

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `act` gets the stage and a way to show progress."""

    title: str
    act: Callable[[Stage, Say], Awaitable[str]]


async def sandbox(stage: Stage, _say: Say) -> str:
    """Start the stand-in for the provider."""
    # Everybody has a project already: to have one made takes five seconds, at Google and in the sandbox.
    await stage.start_sandbox(TOKEN_SECONDS, onboarded=True)
    return f"OAuth server (single-use refresh tokens) and upstream on {stage.sandbox_url}"


async def daemon(stage: Stage, _say: Say) -> str:
    """Start the daemon."""
    await stage.start_daemon()
    folder = stage.token_socket.parent
    modes = f"folder {mode_of(folder)}, token.sock {mode_of(stage.token_socket)}"
    _expect(modes == "folder 0700, token.sock 0600", f"the sockets are {modes}")
    return f"pid {stage.processes['daemon'].pid}; {modes}"


async def proxy(stage: Stage, _say: Say) -> str:
    """Start the proxy."""
    await stage.start_proxy()
    return f"pid {stage.processes['proxy'].pid}; {stage.proxy_url}"


async def login(stage: Stage, say: Say) -> str:
    """Log in with code and PKCE; the sandbox approves in the place of a person."""
    async with stage.client() as client:
        view = await client.start_login(LoginStart(provider="gemini"))
        _expect(view.url is not None, "the daemon gave no URL")
        say(f"opening {str(view.url).split('?')[0]} …")
        async with aiohttp.ClientSession() as browser, browser.get(str(view.url)) as page:
            text = await page.text()
            _expect(page.status == 200, f"the callback page answered {page.status}")
            _expect("code=" not in text, "the callback page shows the code")
        while view.state in {"waiting", "finishing"}:
            view = await client.login(view.id, wait=10)
        _expect(view.state == "done", f"the login ended as {view.state}: {view.problem and view.problem.detail}")
        return f"{view.account}, callback at {view.redirect_uri!s}"


async def auth_file(stage: Stage, _say: Say) -> str:
    """Show the file that was written."""
    files = sorted(stage.auth_dir.glob("*.json"))
    _expect(len(files) == 1, f"there are {len(files)} auth files")
    document = json.loads(await asyncio.to_thread(files[0].read_text))
    mode = mode_of(files[0])
    _expect(mode == "0600", f"its mode is {mode}")
    return f"{files[0].name}, mode {mode}, type {document['type']!r}, project {document['project_id']!r}"


async def lease(stage: Stage, _say: Say) -> str:
    """Lease a token over the data-plane socket."""
    async with stage.client() as client:
        got = await client.lease("gemini", min_validity=1)
    left = (got.expires_at or 0) - stage.clock.now().wall
    _expect(bool(got.access_token), "the lease holds no token")
    return f"{got.account}, generation {got.generation}, good for {left:.1f} s, project {got.facts.get('project_id')}"


async def expiry(stage: Stage, say: Say) -> str:
    """Let the token really end, then ask for it many times at once."""
    async with stage.client() as client:
        ends = (await client.accounts())[0].expires_at or 0.0
        while (left := ends + 0.2 - stage.clock.now().wall) > 0:
            say(f"the token ends in {left:.0f} s")
            await stage.clock.sleep(min(left, 1.0))
        await _settings(stage, access_lifetime=_LONG_SECONDS)
        before = await _refresh_posts(stage)
        say(f"asking {LEASES} times at once")
        leases = await asyncio.gather(*(client.lease("gemini", max_wait=20) for _ in range(LEASES)))
    posts = await _refresh_posts(stage) - before
    _expect(posts == 1, f"{LEASES} leases caused {posts} refresh POSTs")
    _expect(len({got.generation for got in leases}) == 1, "the leases differ")
    return f"{LEASES} concurrent leases, {posts} refresh POST at the server"


async def chat(stage: Stage, _say: Say) -> str:
    """Send a chat completion, whole."""
    answer = await _chat(stage, "Say hello to the demo.")
    return f"{answer.text[:60]!r}, {answer.tokens} tokens"


async def stream(stage: Stage, _say: Say) -> str:
    """Send a chat completion, streamed."""
    pieces = [piece async for piece in _stream(stage, "Say hello. [[chunks=8 delay=0.02]]")]
    _expect(len(pieces) > 1, f"the stream had {len(pieces)} pieces")
    return f"{len(pieces)} pieces of text, [DONE]"


async def image(stage: Stage, _say: Say) -> str:
    """Make an image with the command a user would type."""
    folder = stage.home / "images"
    code, written = await stage.run(
        "image", "a cute cat", "--model", _IMAGE_MODEL, "--aspect-ratio", "16:9", "--out", str(folder)
    )
    _expect(code == 0, f"ccs-broker image ended with code {code}: {written}")
    pictures, notes = sorted(folder.glob("image_*.png")), sorted(folder.glob("metadata_*.json"))
    _expect(
        len(pictures) == 1 and len(notes) == 1, f"it saved {len(pictures)} pictures and {len(notes)} metadata files"
    )
    data = await asyncio.to_thread(pictures[0].read_bytes)
    _expect(data.startswith(b"\x89PNG\r\n\x1a\n"), "the picture is no PNG")
    width, height = struct.unpack(">II", data[16:24])
    prompt = json.loads(await asyncio.to_thread(notes[0].read_text))["prompt"]
    _expect(prompt == "a cute cat", f"the metadata says {prompt!r}")
    return f"{pictures[0].name} ({width}x{height}, {len(data)} bytes), {notes[0].name}"


async def restart(stage: Stage, say: Say) -> str:
    """Restart the daemon while a stream runs and requests come in."""
    pieces: list[str] = []
    began = asyncio.Event()

    async def follow() -> None:
        async for piece in _stream(stage, f"Tell a long story. [[chunks={_STREAM_CHUNKS} delay={_STREAM_DELAY}]]"):
            pieces.append(piece)
            began.set()

    following = spawn(follow(), name="demo-stream")
    try:
        await asyncio.wait_for(began.wait(), 20)
        old = stage.processes["daemon"].pid
        code = await stage.stop("daemon")
        _expect(code == 0, f"the daemon ended with code {code}")
        say("the daemon is down; asking meanwhile")
        during = [await _chat(stage, f"Question {number} with no daemon") for number in range(5)]
        await stage.start_daemon()
        await _chat(stage, "And with the new one")
        await following
    finally:
        following.cancel()
    _expect(len(pieces) >= _STREAM_CHUNKS, f"the stream had {len(pieces)} of {_STREAM_CHUNKS} pieces")
    new = stage.processes["daemon"].pid
    return f"pid {old} -> {new}; stream whole ({len(pieces)} pieces), {len(during)} requests meanwhile, 0 failed"


STEPS = (
    Step("Start the sandbox", sandbox),
    Step("Start the daemon", daemon),
    Step("Start the proxy", proxy),
    Step("Log in (code + PKCE)", login),
    Step("Auth file", auth_file),
    Step("Lease a token", lease),
    Step("Wait for a real expiry", expiry),
    Step("Chat, whole", chat),
    Step("Chat, streamed", stream),
    Step("Make an image", image),
    Step("Restart the daemon", restart),
)


def _expect(seen: bool, otherwise: str) -> None:
    if not seen:
        raise DemoFailedError(otherwise)


async def _settings(stage: Stage, **changes: object) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stage.sandbox_url}/sandbox/settings", json=changes) as answer,
    ):
        _expect(answer.status == 200, f"the sandbox refused the settings: {answer.status}")


async def _refresh_posts(stage: Stage) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{stage.sandbox_url}/sandbox/stats") as answer:
        return int((await answer.json())["token"]["refresh_posts"])


def _body(prompt: str, *, streamed: bool) -> dict[str, object]:
    return {"model": _MODEL, "stream": streamed, "messages": [{"role": "user", "content": prompt}]}


@dataclass(frozen=True, slots=True)
class _Answer:
    text: str
    tokens: int


async def _chat(stage: Stage, prompt: str) -> _Answer:
    url = f"{stage.proxy_url}/v1/chat/completions"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=_body(prompt, streamed=False), headers=headers()) as answer,
    ):
        text = await answer.text()
        _expect(answer.status == 200, f"the proxy answered {answer.status}: {text[:300]}")
    told = json.loads(text)
    usage, message = told["usage"], told["choices"][0]["message"]["content"]
    _expect(bool(message), f"the answer has no text: {text[:300]}")
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    _expect(usage["total_tokens"] == total, f"the usage does not add up: {usage}")
    return _Answer(message, total)


async def _stream(stage: Stage, prompt: str) -> AsyncIterator[str]:
    url, done = f"{stage.proxy_url}/v1/chat/completions", False
    timeout = aiohttp.ClientTimeout(total=None, sock_read=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, json=_body(prompt, streamed=True), headers=headers()) as answer,
    ):
        _expect(answer.status == 200, f"the proxy answered {answer.status}")
        async for line in answer.content:
            event = line.strip().removeprefix(b"data: ")
            if not line.startswith(b"data: "):
                continue
            if done := event == b"[DONE]":
                break
            chunk = json.loads(event)
            _expect("error" not in chunk, f"the stream failed: {chunk}")
            for choice in chunk.get("choices", ()):
                if text := choice["delta"].get("content"):
                    yield text
    _expect(done, "the stream ended without [DONE]")
