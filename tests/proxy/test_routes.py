import pytest

from broker.proxy.routes import (
    ChatCompletions,
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
    Target,
    Unknown,
    Voice,
    route,
    without_key,
)


def find(line: str, **headers: str) -> Route:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return route(method, path, query, named.get)


@pytest.mark.parametrize(
    ("line", "target", "voice"),
    [
        ("POST /v1/chat/completions", ChatCompletions(), Voice.OPENAI),
        ("POST /v1/messages?beta=true", Messages(), Voice.ANTHROPIC),
        ("POST /v1/messages/count_tokens", CountMessages(), Voice.ANTHROPIC),
        ("POST /v1/responses", Responses(), Voice.OPENAI),
        (
            "POST /v1beta/models/gemini-2.5-pro:generateContent",
            Generate("gemini-2.5-pro", False, "v1beta"),
            Voice.GEMINI,
        ),
        ("POST /v1/models/m:streamGenerateContent?alt=sse", Generate("m", True, "v1", True), Voice.GEMINI),
        ("POST /v1/models/m:streamGenerateContent?key=k", Generate("m", True, "v1", False), Voice.GEMINI),
        ("POST /v1/models/gemini/m%3Acustom:generateContent", Generate("gemini/m:custom", False, "v1"), Voice.GEMINI),
        ("POST /v1/models/m%3AgenerateContent", Generate("m", False, "v1"), Voice.GEMINI),
        ("POST /v1beta/models/m:countTokens", CountTokens("m", "v1beta"), Voice.GEMINI),
        ("POST /v1/embeddings", Embeddings(), Voice.OPENAI),
        ("POST /v1/images/generations", Images(), Voice.OPENAI),
        ("POST /v1/images/edits?a=b", Images(edits=True), Voice.OPENAI),
        ("GET /v1/models", Models(), Voice.OPENAI),
        ("GET /v1/models/", Models(), Voice.OPENAI),
        ("HEAD /v1/models/gpt", Models("gpt"), Voice.OPENAI),
        ("GET /v1beta/models", Models(), Voice.GEMINI),
        ("GET /v1/models?key=x", Models(), Voice.GEMINI),
        ("GET /health", Health(), Voice.OPENAI),
        ("GET /docs", Docs(), Voice.OPENAI),
        ("GET /metrics", Metrics(), Voice.OPENAI),
        ("HEAD /", Root(), Voice.OPENAI),
    ],
)
def test_what_is_served(line: str, target: Target, voice: Voice) -> None:
    assert find(line) == Route(target, voice)


def test_the_list_of_models_speaks_as_the_client_does() -> None:
    assert find("GET /v1/models", anthropic_version="2023-06-01").voice is Voice.ANTHROPIC
    assert find("GET /v1/models", x_goog_api_key="k").voice is Voice.GEMINI


@pytest.mark.parametrize(
    ("line", "voice", "allowed"),
    [
        ("GET /v1/chat/completions", Voice.OPENAI, "POST"),
        ("POST /health", Voice.OPENAI, "GET, HEAD"),
        ("DELETE /v1/models", Voice.OPENAI, "GET, HEAD"),
        ("GET /v1/models/m:generateContent", Voice.GEMINI, "POST"),
        ("POST /v1/models/m:embedContent", Voice.GEMINI, None),
        ("POST /v1/models/:generateContent", Voice.GEMINI, None),
        ("GET /v1/messages", Voice.ANTHROPIC, "POST"),
        ("POST /v1/messages/batches", Voice.ANTHROPIC, None),
        ("POST /v1/nothing", Voice.OPENAI, None),
        ("GET /v1", Voice.OPENAI, None),
        ("GET /v1beta/nothing", Voice.GEMINI, None),
        ("GET /v1/embeddings", Voice.OPENAI, "POST"),
        ("POST /v1/images/variations", Voice.OPENAI, None),
        ("POST /v1/providers/nobody/chat/completions", Voice.OPENAI, None),
        ("POST /v1/providers/nobody/messages", Voice.ANTHROPIC, None),
        ("POST /v1/providers/claude", Voice.OPENAI, None),
        ("POST /v1/providers/claude/nothing", Voice.OPENAI, None),
        ("POST /v1/providers/claude/messages/batches", Voice.ANTHROPIC, None),
        ("POST /v1/providers//messages", Voice.ANTHROPIC, None),
        ("GET /v1/providers/claude/messages", Voice.ANTHROPIC, "POST"),
        ("GET /v2/models", Voice.OPENAI, None),
        ("GET /v1/modelsx", Voice.OPENAI, None),
        ("OPTIONS *", Voice.OPENAI, None),
    ],
)
def test_what_is_not(line: str, voice: Voice, allowed: str | None) -> None:
    found = find(line)
    assert isinstance(found.target, Unknown)
    assert found.voice is voice
    assert found.target.allowed == allowed
    assert found.target.text


@pytest.mark.parametrize(
    ("line", "target", "voice"),
    [
        ("chat/completions", ChatCompletions(), Voice.OPENAI), ("responses", Responses(), Voice.OPENAI), ("embeddings", Embeddings(), Voice.OPENAI),
        ("messages?beta=true", Messages(), Voice.ANTHROPIC), ("messages/count_tokens", CountMessages(), Voice.ANTHROPIC),
        ("images/generations", Images(), Voice.OPENAI), ("images/edits", Images(edits=True), Voice.OPENAI),
    ],
)  # fmt: skip
def test_what_is_served_of_one_provider(line: str, target: Target, voice: Voice) -> None:
    assert find(f"POST /v1/providers/gemini%2Dapi/{line}") == Route(target, voice, "gemini-api")


def test_an_unknown_provider_is_told_which_there_are() -> None:
    found = find("POST /v1/providers/x%3Cb%3E/embeddings").target
    assert isinstance(found, Unknown)
    assert "'x<b>'" in found.text
    assert "gemini-api, github-copilot" in found.text


def test_what_needs_no_key() -> None:
    public = {
        line
        for line in (
            "GET /health",
            "GET /docs",
            "HEAD /",
            "GET /metrics",
            "GET /v1/models",
            "GET /x",
            "POST /v1/embeddings",
            "POST /v1/messages",
        )
        if find(line).public
    }
    assert public == {"GET /health", "GET /docs", "HEAD /"}


@pytest.mark.parametrize(
    ("query", "left"),
    [("alt=sse", "alt=sse"), ("key=a", ""), ("alt=sse&key=a&x=%20", "alt=sse&x=%20"), ("monkey=1", "monkey=1")],
)
def test_the_key_is_taken_out_of_a_query(query: str, left: str) -> None:
    assert without_key(query) == left
