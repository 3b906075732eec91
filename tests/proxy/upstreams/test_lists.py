import json

import pytest

from broker.proxy.upstreams.base import Kind
from broker.proxy.upstreams.lists import LISTERS, MAX_MODELS, listing
from broker.proxy.upstreams.table import PROVIDERS, UPSTREAMS
from tests.fakes.broker_socket import lease


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_list_is_asked_for_with_the_account_s_own_credential(provider: str) -> None:
    kind = PROVIDERS[provider]
    held = lease(f"{provider}/x", facts={"project_id": "p", "location": "us-central1", "device_id": "d"})
    sent = listing(UPSTREAMS[kind], held)
    if kind not in LISTERS:
        assert sent is None
        return
    assert sent is not None
    assert sent.target == LISTERS[kind].target
    posted = kind is Kind.ANTIGRAVITY
    assert LISTERS[kind].method == ("POST" if posted else "GET")
    assert sent.body == (b'{"project":"p"}' if posted else b"")
    assert b"fake-access-1" in b" ".join(value for _, value in sent.headers)
    names = [name for name, _ in sent.headers]
    assert names.count(b"content-type") == int(posted)
    assert names.count(b"accept") == 1


def test_login_of_claude_code_keeps_its_beta() -> None:
    sent = listing(UPSTREAMS[Kind.ANTHROPIC], lease("claude/me"))
    assert sent is not None
    assert (b"anthropic-beta", b"oauth-2025-04-20") in sent.headers
    assert (b"anthropic-version", b"2023-06-01") in sent.headers


def read(kind: Kind, answer: object) -> list[tuple[object, ...]]:
    found = LISTERS[kind].read(json.dumps(answer).encode())
    return [(each.model.id, each.model.title, each.model.input_tokens, each.model.owner) for each in found]


def test_lists_as_the_vendors_write_them() -> None:
    openai = {"object": "list", "data": [{"id": "a", "owned_by": "us"}, {"id": "b", "name": "B"}, {"id": "a"}]}
    assert read(Kind.OPENAI, openai) == [("a", "a", 0, "us"), ("b", "B", 0, "unknown")]
    claude = {"data": [{"type": "model", "id": "claude-x", "display_name": "Claude X"}], "has_more": False}
    assert read(Kind.ANTHROPIC, claude) == [("claude-x", "Claude X", 0, "anthropic")]
    pro = {"name": "models/gemini-x", "displayName": "X", "inputTokenLimit": 5, "outputTokenLimit": 6}
    methods = {"supportedGenerationMethods": ["generateContent"]}
    gemini = {"models": [pro | methods, {"name": "models/embed", "supportedGenerationMethods": ["embedContent"]}]}
    assert read(Kind.GEMINI, gemini) == [("gemini-x", "X", 5, "google")]
    agy = {"models": {"gemini-9": {"displayName": "Nine", "quotaInfo": {}}, "tab_1": {}}}
    assert read(Kind.ANTIGRAVITY, agy) == [("gemini-9", "Nine", 0, "google")]
    bare = listing(UPSTREAMS[Kind.ANTIGRAVITY], lease("antigravity/me"))
    assert bare is not None
    assert bare.body == b"{}"
    codex = {"models": [{"slug": "gpt-x", "display_name": "GPT", "context_window": 7, "base_instructions": "be"}]}
    assert read(Kind.CODEX, codex) == [("gpt-x", "GPT", 7, "openai")]
    (found,) = LISTERS[Kind.CODEX].read(json.dumps(codex).encode())
    assert json.loads(found.codex)["base_instructions"] == "be"


def test_words_for_people_are_short_and_steer_no_terminal() -> None:
    answer = {"data": [{"id": "a", "owned_by": "\x1b[2J", "name": "A\n"}, {"id": "b", "owned_by": "us" * 200}]}
    assert read(Kind.OPENAI, answer) == [("a", "a", 0, "unknown"), ("b", "b", 0, "us" * 100)]


def test_what_could_not_be_asked_for_is_left_out_and_the_rest_bounded() -> None:
    bad = {"data": [{"id": ""}, {"id": "x" * 300}, {"id": "a\nb"}, {"id": "fine"}]}
    assert [name for name, *_ in read(Kind.OPENAI, bad)] == ["fine"]
    many = {"data": [{"id": f"m{number}"} for number in range(MAX_MODELS + 5)]}
    assert len(read(Kind.OPENAI, many)) == MAX_MODELS


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"data": 1}', b'{"data": [{"id": "\xff"}]}'])
def test_what_is_no_list_says_so(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        LISTERS[Kind.OPENAI].read(body)
    assert isinstance(caught.value, ValueError)
