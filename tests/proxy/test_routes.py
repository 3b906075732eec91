import pytest

from broker.proxy.routes import (
    ChatCompletions,
    CountMessages,
    CountTokens,
    Docs,
    Generate,
    Health,
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
        ("POST /health", Voice.OPENAI, "GET"),
        ("DELETE /v1/models", Voice.OPENAI, "GET"),
        ("GET /v1/models/m:generateContent", Voice.GEMINI, "POST"),
        ("POST /v1/models/m:embedContent", Voice.GEMINI, None),
        ("POST /v1/models/:generateContent", Voice.GEMINI, None),
        ("GET /v1/messages", Voice.ANTHROPIC, "POST"),
        ("POST /v1/messages/batches", Voice.ANTHROPIC, None),
        ("POST /v1/nothing", Voice.OPENAI, None),
        ("GET /v1", Voice.OPENAI, None),
        ("GET /v1beta/nothing", Voice.GEMINI, None),
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


def test_what_needs_no_key() -> None:
    public = {
        line
        for line in ("GET /health", "GET /docs", "HEAD /", "GET /metrics", "GET /v1/models", "GET /x")
        if find(line).public
    }
    assert public == {"GET /health", "GET /docs", "HEAD /"}


@pytest.mark.parametrize(
    ("query", "left"),
    [("alt=sse", "alt=sse"), ("key=a", ""), ("alt=sse&key=a&x=%20", "alt=sse&x=%20"), ("monkey=1", "monkey=1")],
)
def test_the_key_is_taken_out_of_a_query(query: str, left: str) -> None:
    assert without_key(query) == left
