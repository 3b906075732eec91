"""Kiro through a whole worker: every client, whole and streamed, tools, images, limits, and streams that are damaged."""

import asyncio
import json
from typing import Any

import pytest

from broker.config import UpstreamConfig
from tests.fakes import kiro
from tests.fakes.broker_socket import FakeDaemon, account, lease
from tests.fakes.upstream import Peer, RawUpstream, Taken, answer, chunked
from tests.proxy.conftest import Answer, MakeProxy, Proxy, events

ARN = "arn:aws:codewhisperer:us-east-1:123456789012:profile/ABC"
FACTS = {"auth_method": "social", "provider": "Google", "profile_arn": ARN}
NAME = "kiro/claude-sonnet-4-5"
CALL = ("tooluse_1", "look", '{"at": "it"}')
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": [], "additionalProperties": False}
PNG = "iVBORw0KGgo="
CLIENTS = ["chat", "responses", "messages", "gemini"]
EACH = pytest.mark.parametrize("client", CLIENTS)


def daemon(*names: str) -> FakeDaemon:
    made = FakeDaemon()
    for name in names or ("kiro/a",):
        made.put(account(name, lease(name, facts=FACTS)))
    made.renew = lambda each: lease(each, "fake-access-2", 2, facts=FACTS)
    return made


def at(*urls: str, **own: Any) -> dict[str, UpstreamConfig]:
    return {"kiro": UpstreamConfig(base_url=urls, **own)}


def answering(*frames: bytes) -> bytes:
    return kiro.streamed(*frames)


async def ask(p: Proxy, client: str, *, stream: bool = False, tools: bool = False, image: bool = False) -> Answer:
    """Ask for an answer in a client's dialect: `Be brief.` as instructions, `what?` as the question."""
    match client:
        case "chat":
            said: Any = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}] if image else []
            said.append({"type": "text", "text": "what?"})
            talk = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": said}]
            function = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
            more = {"tools": [function]} if tools else {}
            if stream:
                more["stream_options"] = {"include_usage": True}
            return await p.ask(
                "POST", "/v1/chat/completions", {"model": NAME, "messages": talk, "stream": stream, **more}
            )
        case "responses":
            said = [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}] if image else []
            said.append({"type": "input_text", "text": "what?"})
            more = {"tools": [{"type": "function", "name": "look", "parameters": SCHEMA}]} if tools else {}
            body = {"model": NAME, "instructions": "Be brief.", "input": [{"role": "user", "content": said}], **more}
            return await p.ask("POST", "/v1/responses", {**body, "stream": stream})
        case "messages":
            source = {"type": "base64", "media_type": "image/png", "data": PNG}
            said = [{"type": "image", "source": source}] if image else []
            said.append({"type": "text", "text": "what?"})
            more = {"tools": [{"name": "look", "input_schema": SCHEMA}]} if tools else {}
            body = {"model": NAME, "max_tokens": 9, "system": "Be brief.", **more}
            return await p.ask(
                "POST", "/v1/messages", {**body, "messages": [{"role": "user", "content": said}], "stream": stream}
            )
        case _:
            said = [{"inlineData": {"mimeType": "image/png", "data": PNG}}] if image else []
            said.append({"text": "what?"})
            declared = [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": SCHEMA}]}]
            body = {
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [{"role": "user", "parts": said}],
                **({"tools": declared} if tools else {}),
            }
            action = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return await p.ask("POST", f"/v1beta/models/{NAME}:{action}", body)


def told(client: str, body: Any) -> str:
    """Return the text of a whole answer."""
    match client:
        case "chat":
            return str(body["choices"][0]["message"]["content"])
        case "responses":
            return str(body["output"][-1]["content"][0]["text"])
        case "messages":
            return "".join(each["text"] for each in body["content"])
        case _:
            return "".join(each["text"] for each in body["candidates"][0]["content"]["parts"])


def used(client: str, body: Any) -> tuple[int, int]:
    """Return the tokens of a whole answer: those asked, those answered."""
    match client:
        case "chat":
            return body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]
        case "gemini":
            return body["usageMetadata"]["promptTokenCount"], body["usageMetadata"]["candidatesTokenCount"]
        case _:
            return body["usage"]["input_tokens"], body["usage"]["output_tokens"]


def streamed(client: str, body: bytes) -> str:
    """Return the text of a stream, put together as that client does."""
    found = [json.loads(data) for data in events(body) if data != "[DONE]"]
    match client:
        case "chat":
            choices = [each["choices"][0]["delta"] for each in found if each["choices"]]
            return "".join(each.get("content") or "" for each in choices)
        case "responses":
            return "".join(each["delta"] for each in found if each["type"] == "response.output_text.delta")
        case "messages":
            return "".join(each["delta"].get("text", "") for each in found if each["type"] == "content_block_delta")
        case _:
            parts = [part for each in found for part in each["candidates"][0].get("content", {}).get("parts", ())]
            return "".join(part.get("text", "") for part in parts)


def sent(upstream: RawUpstream, number: int = 0) -> Any:
    return json.loads(upstream.requests[number].body)


def asked(upstream: RawUpstream, number: int = 0) -> Any:
    return sent(upstream, number)["conversationState"]["currentMessage"]["userInputMessage"]


@EACH
async def test_a_question(proxy: MakeProxy, client: str) -> None:
    async with RawUpstream([answering(*kiro.talk("ye", "s"))]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        found = await ask(p, client)
        assert found.status == 200
        assert told(client, found.json()) == "yes"
        assert used(client, found.json()) == (3, 4)
        taken = up.requests[0]
        assert taken.line == "POST /generateAssistantResponse HTTP/1.1"
        assert taken.header("authorization") == "Bearer fake-access-1"
        assert taken.header("accept") == "application/vnd.amazon.eventstream"
        assert sent(up)["profileArn"] == ARN
        assert asked(up) == {"content": "Be brief.\n\nwhat?", "modelId": "claude-sonnet-4.5", "origin": "AI_EDITOR"}


@EACH
async def test_a_streamed_question(proxy: MakeProxy, client: str) -> None:
    async with RawUpstream([answering(*kiro.talk("ye", "s"))]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        found = await ask(p, client, stream=True)
        assert found.status == 200
        assert found.headers["content-type"] == "text/event-stream"
        assert streamed(client, found.body) == "yes"
        if client == "chat":
            usage = json.loads(events(found.body)[-2])["usage"]
            assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 4, 7)


async def test_a_stream_comes_as_it_is_said(proxy: MakeProxy) -> None:
    begun, rest = b"".join(kiro.talk("now")[:2]), b"".join(kiro.ended())

    async def slowly(peer: Peer, _taken: Taken) -> None:
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{kiro.STREAM}\r\n\r\n".encode()
        await peer.send(head + b"%x\r\n%b\r\n" % (len(begun), begun))
        await waiting.wait()
        await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))

    waiting = asyncio.Event()
    async with RawUpstream([slowly]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        reader, writer = await p.dial()
        body = {"model": NAME, "messages": [{"role": "user", "content": "hi"}], "stream": True}
        writer.write(p.request("POST", "/v1/chat/completions", json.dumps(body).encode()))
        seen = b""
        while b'"now"' not in seen:
            seen += await asyncio.wait_for(reader.read(65536), 20)
        assert b"[DONE]" not in seen
        waiting.set()
        while b"[DONE]" not in seen:
            seen += await asyncio.wait_for(reader.read(65536), 20)


@EACH
async def test_an_image(proxy: MakeProxy, client: str) -> None:
    async with RawUpstream([answering(*kiro.talk("a dot"))]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        assert told(client, (await ask(p, client, image=True)).json()) == "a dot"
        assert asked(up)["images"] == [{"format": "png", "source": {"bytes": PNG}}]


@EACH
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_of_a_tool(proxy: MakeProxy, client: str, stream: bool) -> None:
    script = answering(*kiro.talk("Let me look.", calls=[CALL]))
    async with RawUpstream([script]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        found = await ask(p, client, stream=stream, tools=True)
        assert found.status == 200
        (offered,) = asked(up)["userInputMessageContext"]["tools"]
        assert offered["toolSpecification"]["inputSchema"] == {
            "json": {"type": "object", "properties": SCHEMA["properties"]}
        }
        data = found.body.decode()
        assert '"look"' in data
        reason = {"chat": "tool_calls", "messages": "tool_use", "responses": "function_call", "gemini": "functionCall"}
        assert reason[client] in data


async def test_a_tool_s_answer_goes_back(proxy: MakeProxy) -> None:
    script = [answering(*kiro.talk(calls=[CALL])), answering(*kiro.talk("a cat"))]
    async with RawUpstream([*script]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        tools = [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]
        first = await p.chat("what?", NAME, tools=tools)
        message = first.json()["choices"][0]["message"]
        (call,) = message["tool_calls"]
        assert (call["id"], json.loads(call["function"]["arguments"])) == ("tooluse_1", {"at": "it"})
        talk = [
            {"role": "user", "content": "what?"},
            message,
            {"role": "tool", "tool_call_id": call["id"], "content": "fur"},
        ]
        second = await p.ask("POST", "/v1/chat/completions", {"model": NAME, "messages": talk, "tools": tools})
        assert told("chat", second.json()) == "a cat"
        history = sent(up, 1)["conversationState"]["history"]
        assert history[1]["assistantResponseMessage"]["toolUses"] == [
            {"toolUseId": "tooluse_1", "name": "look", "input": {"at": "it"}}
        ]
        assert asked(up, 1)["userInputMessageContext"]["toolResults"] == [
            {"toolUseId": "tooluse_1", "content": [{"text": "fur"}], "status": "success"}
        ]


async def test_an_anthropic_client_s_whole_round(proxy: MakeProxy) -> None:
    script = [answering(*kiro.talk(calls=[CALL])), answering(kiro.thought("hm"), *kiro.talk("a cat"))]
    async with RawUpstream([*script]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        first = (await ask(p, "messages", tools=True)).json()
        assert first["stop_reason"] == "tool_use"
        (block,) = first["content"]
        answered = {"type": "tool_result", "tool_use_id": block["id"], "content": "fur", "is_error": True}
        talk = [
            {"role": "user", "content": "what?"},
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": [answered, {"type": "text", "text": "well?"}]},
        ]
        body = {"model": NAME, "max_tokens": 9, "messages": talk}
        second = (await p.ask("POST", "/v1/messages", body)).json()
        assert second["content"] == [{"type": "text", "text": "a cat"}]  # thoughts were not asked for
        message = asked(up, 1)
        assert message["content"] == "well?"
        assert message["userInputMessageContext"]["toolResults"][0]["status"] == "error"
        assert [each["toolSpecification"]["name"] for each in message["userInputMessageContext"]["tools"]] == ["look"]


# --- faults ---


def damaged() -> tuple[bytes, ...]:
    begun, said, more, *rest = kiro.talk("one", "two")
    at_fault = bytearray(more)
    at_fault[-6] ^= 1
    return begun, said, bytes(at_fault), *rest


@EACH
async def test_a_stream_damaged_on_its_way_ends_with_an_error(proxy: MakeProxy, client: str) -> None:
    made = daemon("kiro/a", "kiro/b")
    async with RawUpstream([answering(*damaged())]) as up, proxy(made, upstreams=at(up.url)) as p:
        found = await ask(p, client, stream=True)
        last = events(found.body)[-1]
        assert "checksum" in last
        assert "error" in last
        assert "two" not in found.body.decode()
        assert "[DONE]" not in events(found.body)
    assert len(up.requests) == 1  # a part of it was said: no other account is asked
    assert not made.reports


async def test_a_whole_answer_that_is_damaged_is_asked_for_again(proxy: MakeProxy) -> None:
    script = [answering(*damaged()), answering(*kiro.talk("whole"))]
    async with RawUpstream([*script]) as up, proxy(daemon("kiro/a", "kiro/b"), upstreams=at(up.url)) as p:
        found = await ask(p, "chat")
        assert told("chat", found.json()) == "whole"
    assert len(up.requests) == 2


@pytest.mark.parametrize("cut", [5, 40])
async def test_a_stream_that_is_cut_ends_with_an_error(proxy: MakeProxy, cut: int) -> None:
    whole = b"".join(kiro.talk("one", "two")[:3])
    async with RawUpstream([chunked(whole[:-cut], headers=(kiro.STREAM,))]) as up:
        async with proxy(daemon(), upstreams=at(up.url)) as p:
            last = events((await ask(p, "messages", stream=True)).body)[-1]
            assert "cut short" in last


async def test_a_connection_that_breaks_between_two_frames_is_no_end(proxy: MakeProxy) -> None:
    begun = b"".join(kiro.talk("one")[:2])

    async def breaking(peer: Peer, _taken: Taken) -> None:
        await peer.send(kiro.streamed(begun).removesuffix(b"0\r\n\r\n"))
        peer.writer.close()

    async with RawUpstream([breaking]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        found = await ask(p, "messages", stream=True)
        assert streamed("messages", found.body) == "one"
        assert '"type":"error"' in events(found.body)[-1]


@EACH
@pytest.mark.parametrize("stream", [False, True])
async def test_an_exception_before_the_first_word_moves_on(proxy: MakeProxy, client: str, stream: bool) -> None:
    limited = answering(kiro.event("initial-response"), kiro.exception("ThrottlingException", "slow down"))
    made = daemon("kiro/a", "kiro/b")
    async with RawUpstream([limited, answering(*kiro.talk("yes"))]) as up, proxy(made, upstreams=at(up.url)) as p:
        found = await ask(p, client, stream=stream)
        assert found.status == 200
        assert (streamed(client, found.body) if stream else told(client, found.json())) == "yes"
        assert len(up.requests) == 2
    assert [(report.outcome, report.model) for report in made.reports] == [("limited", "claude-sonnet-4-5")]


async def test_a_token_that_kiro_does_not_take_is_renewed_once(proxy: MakeProxy) -> None:
    made = daemon()
    rejected = kiro.refused("403 Forbidden", "The bearer token included in the request is invalid.")
    async with RawUpstream([rejected, answering(*kiro.talk("yes"))]) as up, proxy(made, upstreams=at(up.url)) as p:
        assert (await ask(p, "chat")).status == 200
        tokens = [taken.header("authorization") for taken in up.requests]
        assert tokens == ["Bearer fake-access-1", "Bearer fake-access-2"]
    assert [report.outcome for report in made.reports] == ["rejected"]


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("402 Payment Required", "MONTHLY_REQUEST_COUNT"),
        ("403 Forbidden", "TEMPORARILY_SUSPENDED"),
        ("400 Bad Request", "MONTHLY_REQUEST_COUNT"),
    ],
)
async def test_an_account_that_is_spent_is_set_aside(proxy: MakeProxy, status: str, reason: str) -> None:
    made = daemon("kiro/a", "kiro/b")
    spent = kiro.refused(status, "You have reached the limit.", reason=reason)
    async with RawUpstream([spent, answering(*kiro.talk("yes"))]) as up, proxy(made, upstreams=at(up.url)) as p:
        assert (await ask(p, "chat")).status == 200
        assert (await ask(p, "chat")).status == 200
        assert len(up.requests) == 3
    (report,) = made.reports
    assert (report.outcome, report.reason) == ("limited", reason)


async def test_the_only_account_s_end_is_told(proxy: MakeProxy) -> None:
    spent = kiro.refused("402 Payment Required", "You have reached the limit.", reason="MONTHLY_REQUEST_COUNT")
    async with RawUpstream([spent]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        found = await ask(p, "chat")
        assert found.status == 402
        assert "You have reached the limit." in found.json()["error"]["message"]


async def test_the_second_host_serves_what_the_first_limits(proxy: MakeProxy) -> None:
    made = daemon()
    limited = kiro.refused("429 Too Many Requests", "Too many requests", reason=None)
    async with RawUpstream([limited]) as a, RawUpstream([answering(*kiro.talk("yes"))]) as b:
        async with proxy(made, upstreams=at(a.url, b.url)) as p:
            assert (await ask(p, "chat")).status == 200
    assert (len(a.requests), len(b.requests)) == (1, 1)
    assert not made.reports


async def test_a_model_that_an_account_has_not_may_be_another_s(proxy: MakeProxy) -> None:
    wrong = kiro.refused("400 Bad Request", "Invalid model.", reason="INVALID_MODEL_ID")
    async with RawUpstream([wrong, answering(*kiro.talk("yes"))]) as up:
        async with proxy(daemon("kiro/a", "kiro/b"), upstreams=at(up.url)) as p:
            assert (await ask(p, "chat")).status == 200


async def test_a_fault_of_the_request_comes_back(proxy: MakeProxy) -> None:
    wrong = kiro.refused("400 Bad Request", "Input is too long.", reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD")
    made = daemon("kiro/a", "kiro/b")
    async with RawUpstream([wrong]) as up, proxy(made, upstreams=at(up.url)) as p:
        found = await ask(p, "messages")
        assert found.status == 400
        assert "Input is too long." in found.json()["error"]["message"]
        assert len(up.requests) == 1
    assert not made.reports


async def test_what_is_no_event_stream_is_no_answer(proxy: MakeProxy) -> None:
    page = answer(b'{"message":"not today"}', "200 OK", "Content-Type: application/json")
    async with RawUpstream([page]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        found = await ask(p, "chat", stream=True)
        assert found.status == 502
        assert "event stream" in found.json()["error"]["message"]


# --- what else ---


async def test_tokens_cannot_be_counted(proxy: MakeProxy) -> None:
    async with proxy(daemon()) as p:
        body = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}
        found = await p.ask("POST", "/v1/messages/count_tokens", body)
        assert found.status == 400
        assert "counts tokens" in found.json()["error"]["message"]


async def test_the_config_s_headers_stand_in_the_place_of_ours(proxy: MakeProxy) -> None:
    async with RawUpstream([answering(*kiro.talk("yes"))]) as up:
        own = at(up.url, headers={"User-Agent": "mine/1", "X-Amzn-Kiro-Agent-Mode": "vibe"})
        async with proxy(daemon(), upstreams=own) as p:
            assert (await ask(p, "chat")).status == 200
        taken = up.requests[0]
        assert (taken.header("user-agent"), taken.header("x-amzn-kiro-agent-mode")) == ("mine/1", "vibe")
        assert taken.head.lower().count(b"\r\nuser-agent:") == 1


async def test_its_models_are_listed_and_served_by_plain_names(proxy: MakeProxy) -> None:
    async with RawUpstream([answering(*kiro.talk("yes"))]) as up, proxy(daemon(), upstreams=at(up.url)) as p:
        listed = {each["id"] for each in (await p.ask("GET", "/v1/models")).json()["data"]}
        assert {"claude-sonnet-4", "claude-sonnet-4-5", "claude-haiku-4-5"} <= listed
        assert (await p.chat("hi", "claude-sonnet-4-5")).status == 200
        assert (await p.chat("hi", "kiro/auto")).status == 200
        assert asked(up, 1)["modelId"] == "auto"


@pytest.mark.parametrize(
    "facts", [{"profile_arn": "arn:aws:codewhisperer:evil.example/:1:profile/X"}, {"base_url": "{url}"}]
)
async def test_a_tampered_file_gets_no_token(proxy: MakeProxy, facts: dict[str, str]) -> None:
    async with RawUpstream([answering(*kiro.talk("yes"))]) as thief:
        made = FakeDaemon()
        made.put(account("kiro/a", lease("kiro/a", facts={k: v.format(url=thief.url) for k, v in facts.items()})))
        async with proxy(made) as p:
            assert (await ask(p, "chat")).status == 503
        assert not thief.connections
