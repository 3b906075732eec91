"""docs/dialects.md says what becomes of each thing on its way from dialect to dialect; here each is sent on each way, and the tables are made anew.

Run as a program it writes the tables into the document.
"""

import json
import re
from pathlib import Path

import pytest

from broker.model.errors import BrokerError
from broker.translate.codecs import CLIENTS, UPSTREAMS, Dialect
from broker.translate.exchange import Reading, Reply, Route, Target
from broker.translate.fold import fold
from broker.translate.ir import (
    Finished,
    FinishReason,
    ImagePart,
    Logprob,
    LogprobsDelta,
    Started,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from broker.translate.names import ToolNames
from broker.translate.signatures import SignatureMemory
from tests.contract.codec_contract import IDS
from tests.translate.dialect_features import FEATURES, NOWHERE, PLAIN, REFUSED, TOOL
from tests.translate.differences import difference

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "dialects.md"
SPEAKERS = {Dialect.OPENAI_CHAT: "C", Dialect.RESPONSES: "R", Dialect.CLAUDE: "A", Dialect.GEMINI: "G"}
OF_GOOGLE = (Dialect.GEMINI, Dialect.CODE_ASSIST, Dialect.ANTIGRAVITY)
COLUMNS = {
    "Google": OF_GOOGLE,
    "Anthropic": (Dialect.CLAUDE,),
    "chat completions": (Dialect.OPENAI_CHAT,),
    "Responses": (Dialect.RESPONSES,),
    "Kiro": (Dialect.KIRO,),
}
CALLED_SO = {Dialect.CODE_ASSIST: "Code Assist", Dialect.ANTIGRAVITY: "Antigravity"}
MODELS = {
    Dialect.GEMINI: "gemini-3-pro-preview",
    Dialect.CODE_ASSIST: "gemini-3-pro-preview",
    Dialect.ANTIGRAVITY: "gemini-3-pro-high",
    Dialect.CLAUDE: "claude-opus-4-6",
    Dialect.OPENAI_CHAT: "some-model",
    Dialect.RESPONSES: "gpt-5.1",
    Dialect.KIRO: "claude-sonnet-4.5",
}


def untouched(client, upstream):
    return client is upstream or (client is Dialect.GEMINI and upstream in OF_GOOGLE)


def sent(client, upstream, fields):
    request = CLIENTS[client].decode_request(json.dumps({**PLAIN[client], **fields}).encode(), Route("m"))
    made = json.loads(UPSTREAMS[upstream].encode_request(request, Target(MODELS[upstream], SignatureMemory())).body)
    inside = made.get("request", made.get("conversationState", made))
    if upstream is Dialect.KIRO:
        inside = {**inside.pop("currentMessage")["userInputMessage"], **inside}
    if request.session is None:
        inside.pop("sessionId", None)  # made of what was said
    return inside


def outcome(client, upstream, feature):
    """What becomes of a feature on this way: where it arrives, or "left out", or "refused"."""
    plain, asked = feature if isinstance(feature, tuple) else ({}, feature)
    try:
        return difference(sent(client, upstream, plain), sent(client, upstream, asked))
    except BrokerError as refusal:
        detail = refusal.detail
    assert re.match(r"[\w.\[\]]+: ", detail), "a refusal names the field"
    return "refused"


def cell(feature, upstream):
    told = {client: outcome(client, upstream, feature[client]) for client in feature if not untouched(client, upstream)}
    if not told:
        return "-"
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    by = {}
    for client, what in told.items():
        by.setdefault(what, []).append(SPEAKERS[client])
    return "; ".join(f"{', '.join(clients)}: {what}" for what, clients in by.items())


def cells(feature, upstreams):
    """The first one's, and of the others what is otherwise."""
    first, *others = upstreams
    told = cell(feature, first)
    more = [f"{CALLED_SO[each]}: {cell(feature, each)}" for each in others if cell(feature, each) != told]
    return "; ".join([told, *more])


def requests():
    rows = []
    for name, feature in FEATURES.items():
        by = " ".join(letter for client, letter in SPEAKERS.items() if client in feature)
        rows.append([name, by, *(cells(feature, upstreams) for upstreams in COLUMNS.values())])
    return table(["asked for", "by", *COLUMNS], rows)


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(each) + " |" for each in lines)


STOPPED = Finished(FinishReason.STOP, "stop")
COUNTED = Usage(10, 5)
HI = [Started("r-1", "m-9"), TextDelta("hi")]
CALLED = [*HI, ToolCallStarted(0, "c", "f"), ToolCallDelta(0, "{}"), COUNTED, Finished(FinishReason.TOOL_CALLS, "stop")]
SIGNED = [*HI, ToolCallStarted(0, "c", "f", signature="sig"), *CALLED[3:]]


def ended(reason, **fields):
    return [*HI, COUNTED, Finished(reason, "word", **fields)]


def counted(**fields):
    return [*HI, Usage(10, 5, **fields), STOPPED]


# What an answer holds: the events without it, where they are not those of a plain one, and with it.
SAID = {
    "thinking": [HI[0], ThinkingDelta("hm"), *HI[1:], COUNTED, STOPPED],
    "thinking with a signature": [HI[0], ThinkingDelta("hm", signature="anthropic.x"), *HI[1:], COUNTED, STOPPED],
    "thinking only its vendor can read": [HI[0], ThinkingDelta("", redacted="anthropic.x"), *HI[1:], COUNTED, STOPPED],
    "image": [*HI, ImagePart("image/png", "AAAA"), COUNTED, STOPPED],
    "draft of an image": [*HI, ImagePart("image/png", "AAAA", draft=True), COUNTED, STOPPED],
    "call": CALLED,
    "signature of a call": (CALLED, SIGNED),
    "signature of a text": [HI[0], TextDelta("hi", signature="sig"), COUNTED, STOPPED],
    "too long": ended(FinishReason.LENGTH),
    "filtered, refused": ended(FinishReason.CONTENT_FILTER),
    "stop sequence, where it is told": ended(FinishReason.STOP, stop_sequence="x"),
    "the upstream's word for the end": (ended(FinishReason.STOP), [*HI, COUNTED, Finished(FinishReason.STOP, "OTHER")]),
    "log probabilities": [*HI, LogprobsDelta((Logprob(TokenLogprob("hi", -0.5)),)), COUNTED, STOPPED],
    "second answer": [*HI, TextDelta("ho", choice=1), COUNTED, STOPPED, Finished(FinishReason.STOP, "stop", 1)],
    "tokens of a cache": counted(cached=4),
    "tokens put into a cache": counted(cache_written=4),
    "tokens of thinking": counted(reasoning=4),
}


def answered(client, events):
    reply = Reply(IDS, "asked", extras={"encrypted": True})
    return json.loads(CLIENTS[client].encode_answer(fold(events), reply))


def answers():
    rows = []
    for name, said in SAID.items():
        plain, more = said if isinstance(said, tuple) else ([*HI, COUNTED, STOPPED], said)
        rows.append([name, *(difference(answered(client, plain), answered(client, more)) for client in SPEAKERS)])
    return table(["answered", "chat completions", "Responses", "Anthropic", "Gemini"], rows)


# What is signed, or wanted back, as each upstream answers; and the model that is asked.
PROOF = "cHJvb2Y="
PROVEN = {
    Dialect.GEMINI: ("a call's signature", "gemini-3-pro-preview", {
        "candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": PROOF}]}, "finishReason": "STOP"}],
    }),
    Dialect.CLAUDE: ("thinking with its signature", "claude-opus-4-6", {
        "type": "message", "stop_reason": "tool_use", "content": [
            {"type": "thinking", "thinking": "hm", "signature": PROOF}, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}},
        ],
    }),
    Dialect.RESPONSES: ("encrypted reasoning", "gpt-5.1", {"status": "completed", "output": [
        {"type": "reasoning", "summary": [], "encrypted_content": PROOF}, {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
    ]}),
    Dialect.OPENAI_CHAT: ("Kimi's thinking", "kimi-k2-thinking", {"choices": [{"finish_reason": "tool_calls", "message": {
        "reasoning_content": PROOF, "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": "{}"}}]}}],
    }),
}  # fmt: skip
THINKS = {
    Dialect.OPENAI_CHAT: {"reasoning_effort": "high"},
    Dialect.RESPONSES: {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
    Dialect.CLAUDE: {"thinking": {"type": "adaptive"}},
    Dialect.GEMINI: {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
}


def again(client, answer, *, sparing):
    """The next request of a client that sends back what it was told, or (`sparing`) no more of it than its dialect must have."""
    match client:
        case Dialect.OPENAI_CHAT:
            message = answer["choices"][0]["message"]
            (call,) = message["tool_calls"]
            if sparing:
                message = {"role": "assistant", "tool_calls": [{key: call[key] for key in ("id", "type", "function")}]}
            more = [message, {"role": "tool", "tool_call_id": call["id"], "content": "r"}]
        case Dialect.RESPONSES:
            call = answer["output"][-1]
            said = [call] if sparing else answer["output"]
            more = [*said, {"type": "function_call_output", "call_id": call["call_id"], "output": "r"}]
        case Dialect.CLAUDE:
            said = [block for block in answer["content"] if not (sparing and block["type"] == "thinking")]
            result = {"type": "tool_result", "tool_use_id": said[-1]["id"], "content": "r"}
            more = [{"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
        case _:
            said = answer["candidates"][0]["content"]["parts"]
            call = said[-1]["functionCall"]
            said = [{"functionCall": call}] if sparing else said
            result = {"functionResponse": {"id": call["id"], "name": "f", "response": {"result": "r"}}}
            more = [{"role": "model", "parts": said}, {"role": "user", "parts": [result]}]
    (key,) = [key for key in ("messages", "input", "contents") if key in PLAIN[client]]
    return {key: [*PLAIN[client][key], *more]}


def proven(upstream, client, *, sparing, remembered):
    """Whether what an upstream wants back comes back to it."""
    _, model, answer = PROVEN[upstream]
    memory, codec = SignatureMemory(), UPSTREAMS[upstream]
    fields = {**PLAIN[client], **TOOL[client], **THINKS[client]}
    request = CLIENTS[client].decode_request(json.dumps(fields).encode(), Route("m"))
    reply = Reply(IDS, "m", extras=request.extras.get(client.value, {}))
    whole = fold(codec.decode_answer(json.dumps(answer).encode(), Reading(IDS, ToolNames(["f"]), memory)))
    told = json.loads(CLIENTS[client].encode_answer(whole, reply))
    next_one = json.dumps({**fields, **again(client, told, sparing=sparing)}).encode()
    target = Target(model, memory if remembered else SignatureMemory())
    return PROOF.encode() in codec.encode_request(CLIENTS[client].decode_request(next_one, Route("m")), target).body


def signatures():
    words = {(True, True): "kept, else remembered", (True, False): "kept", (False, True): "remembered"}
    rows = []
    for upstream, (what, _, _) in PROVEN.items():
        told = []
        for client in SPEAKERS:
            whole = proven(upstream, client, sparing=False, remembered=False)
            least = proven(upstream, client, sparing=True, remembered=True)
            told.append("-" if untouched(client, upstream) else words[whole, least])
        rows.append([what, *told])
    return table(["wanted back", "chat completions", "Responses", "Anthropic", "Gemini"], rows)


TABLES = {"requests": requests, "answers": answers, "signatures": signatures}


def marks(name):
    return f"<!-- {name}: made by tests/translate/test_dialects.py -->\n", f"\n<!-- end of {name} -->"


@pytest.mark.parametrize("name", TABLES)
def test_the_document_says_what_becomes_of_each_thing(name):
    begin, end = marks(name)
    told = DOCUMENT.read_text().partition(begin)[2].partition(end)[0]
    assert told.strip().splitlines() == TABLES[name]().splitlines()


@pytest.mark.parametrize("client", list(CLIENTS))
def test_what_is_left_out_whoever_answers_is_named(client):
    for upstream in UPSTREAMS:
        if not untouched(client, upstream):
            assert outcome(client, upstream, NOWHERE[client]) == "left out"
    text = DOCUMENT.read_text()
    for name, value in NOWHERE[client].items():
        for each in value if name in ("generationConfig", "text") else [name]:
            assert f"`{each}`" in text


@pytest.mark.parametrize(
    ("client", "field"), [(client, field) for client, fields in REFUSED.items() for field in fields]
)
def test_what_is_refused_whoever_answers_is_named(client, field):
    body = json.dumps({**PLAIN[client], field: REFUSED[client][field]}).encode()
    with pytest.raises(BrokerError, match=f"^{field}: "):
        CLIENTS[client].decode_request(body, Route("m"))
    assert f"`{field}`" in DOCUMENT.read_text()


def test_all_dialects_are_in_the_tables():
    assert set(SPEAKERS) == set(CLIENTS)
    assert {each for upstreams in COLUMNS.values() for each in upstreams} == set(UPSTREAMS)


if __name__ == "__main__":
    page = DOCUMENT.read_text()
    for table_name, made in TABLES.items():
        before, opening, rest = page.partition(marks(table_name)[0])
        page = before + opening + made() + marks(table_name)[1] + rest.partition(marks(table_name)[1])[2]
    DOCUMENT.write_text(page)
