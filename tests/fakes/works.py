"""Requests as clients send them, taken as works; who they go to, and with what."""

import json

from broker.ipc.schema import Lease
from broker.model.naming import Names
from broker.model.secret import Secret
from broker.proxy.context import Context
from broker.proxy.naming import Served
from broker.proxy.routes import CountTokens, Generate
from broker.proxy.upstreams.base import Kind, Sent, Upstream
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from broker.proxy.wire.heads import RequestHead, ResponseHead
from broker.proxy.works import GeminiWork, TalkWork
from broker.translate.codecs import Dialect
from broker.translate.signatures import SignatureMemory

API, ASSIST, ANTHROPIC = UPSTREAMS[Kind.GEMINI], UPSTREAMS[Kind.CODE_ASSIST], UPSTREAMS[Kind.ANTHROPIC]
LEASE = Lease(
    account="gemini/a",
    provider="gemini",
    generation=1,
    access_token=Secret("fake-access-1"),
    facts={"project_id": "p-1"},
)
ASKED = RequestHead("POST", "/v1/chat/completions", "", [])
HEAD = ResponseHead(200, [(b"content-type", b"application/json")], 2)
NAMES = Names()
BODY = b'{ "contents" : [] , "odd": 1e0 }'


def context(*, safety_off: bool = False, names: Names = NAMES) -> Context:
    return Context("r-1", 1_750_000_000, SignatureMemory(), safety_off, Served(PROVIDERS), names, lambda _: 0)


def send(work: GeminiWork | TalkWork, upstream: Upstream, lease: Lease) -> Sent:
    return work.sent(upstream, lease, work.wanted.goals[0].model)


def gemini(route: Generate | CountTokens, query: str = "", body: bytes = BODY) -> GeminiWork:
    headers = [(b"user-agent", b"GeminiCLI"), (b"x-goog-api-key", b"ours"), (b"content-encoding", b"identity")]
    return GeminiWork(route, RequestHead("POST", "/x", query, headers), body, context())


def chat(*, safety_off: bool = False, **fields: object) -> TalkWork:
    body = {"model": "gemini-2.5-pro", "messages": [{"role": "user", "content": "hi"}], **fields}
    return TalkWork(Dialect.OPENAI_CHAT, ASKED, json.dumps(body).encode(), context(safety_off=safety_off))


def messages(*, count: bool = False, raw: bytes | None = None, **fields: object) -> TalkWork:
    body = {"model": "gemini-2.5-pro", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    headers = [
        (b"anthropic-beta", b"context-management-2025-06-27"),
        (b"x-api-key", b"ours"),
        (b"user-agent", b"claude-cli"),
    ]
    head = RequestHead("POST", "/v1/messages", "beta=true&key=ours", headers)
    return TalkWork(Dialect.CLAUDE, head, raw or json.dumps(body).encode(), context(), count=count)


CLAUDE = Lease(account="claude/a", provider="claude", generation=1, access_token=Secret("fake-oat-1"))


SPOKEN = b'{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"thinkingBudget":2000}}}'
STREAMED = (
    b'data: {"type":"message_start","message":{"type":"message","usage":{"input_tokens":3}}}\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
    b'data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"yes"}}\n\n'
    b'data: {"type":"message_stop"}\n\n'
)


def responses(raw: bytes) -> TalkWork:
    return TalkWork(Dialect.RESPONSES, RequestHead("POST", "/v1/responses", "", []), raw, context())


CHATGPT = Lease(account="codex/a", provider="codex", generation=1, access_token=Secret("fake-1"))
STREAM = (
    b'data: {"type":"response.output_item.done","item":{"type":"message","content":[{"text":"yes"}]}}\n\n'
    b'data: {"type":"response.completed","response":{ "id":"resp_1","output":[]}}\n\n'
)
