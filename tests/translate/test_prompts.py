import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.model.errors import BrokerError
from broker.translate.codecs import CLIENTS, Dialect
from broker.translate.exchange import Route
from broker.translate.ir import Request, Text
from broker.translate.prompts import Prompt, prompted, with_prompt

CHAT, RESPONSES, GEMINI, CLAUDE = Dialect.OPENAI_CHAT, Dialect.RESPONSES, Dialect.GEMINI, Dialect.CLAUDE
BEFORE, AFTER, BOTH = Prompt(before="P"), Prompt(after="A"), Prompt("P", "A")
BILLING, SELF = (
    "x-anthropic-billing-header: cc_version=2.1;",
    "You are Claude Code, Anthropic's official CLI for Claude.",
)


def edited(dialect: Dialect, body: str, prompt: Prompt, *, count: bool = False) -> str:
    once = with_prompt(dialect, body.encode(), prompt, count=count)
    assert with_prompt(dialect, once, prompt, count=count) == once
    return once.decode()


@pytest.mark.parametrize(
    ("prompt", "body", "made"),
    [
        (BEFORE, '{ "x" : 1e0 }', '{ "x" : 1e0,"system":"P" }'),
        (BOTH, "{}", '{"system":"P\\n\\nA"}'),
        (BOTH, '{"system" : null}', '{"system" : "P\\n\\nA"}'),
        (BOTH, '{"system" : "mine" , "x":1}', '{"system" : "P\\n\\nmine\\n\\nA" , "x":1}'),
        (BOTH, '{"system":""}', '{"system":"P\\n\\nA"}'),
        (
            BOTH,
            '{"system":[{"type":"text" , "text":"m","cache_control":{"type":"ephemeral"}} ]}',
            (
                '{"system":[{"type":"text","text":"P"},{"type":"text" , "text":"m","cache_control":{"type":"ephemeral"}},'
                '{"type":"text","text":"A"} ]}'
            ),
        ),
        (BEFORE, '{"system":[]}', '{"system":[{"type":"text","text":"P"}]}'),
        (AFTER, '{"system":[]}', '{"system":[{"type":"text","text":"A"}]}'),
        (BEFORE, '{"system":[{"type":"odd"}]}', '{"system":[{"type":"text","text":"P"},{"type":"odd"}]}'),
        (BOTH, '{"system":7}', '{"system":7}'),
        (BOTH, '{"system":[7]}', '{"system":[7]}'),
        (Prompt(), '{"system":"m"}', '{"system":"m"}'),
    ],
)
def test_anthropic(prompt: Prompt, body: str, made: str) -> None:
    assert edited(CLAUDE, body, prompt) == made


def test_what_claude_code_says_of_itself_stays_first() -> None:
    blocks = [{"type": "text", "text": text} for text in (BILLING, SELF, "Do this.")]
    made = json.loads(edited(CLAUDE, json.dumps({"system": blocks}), BOTH))
    assert [block["text"] for block in made["system"]] == [BILLING, SELF, "P", "Do this.", "A"]
    made = json.loads(edited(CLAUDE, json.dumps({"system": f"{SELF}\nDo this."}), BEFORE))
    assert made["system"] == f"{SELF}\nP\n\nDo this."
    made = json.loads(edited(CLAUDE, json.dumps({"system": SELF}), BOTH))
    assert made["system"] == f"{SELF}\nP\n\nA"
    made = json.loads(edited(CLAUDE, json.dumps({"system": blocks[:2]}), BOTH))
    assert [block["text"] for block in made["system"]] == [BILLING, SELF, "P", "A"]


@pytest.mark.parametrize(
    ("prompt", "body", "made"),
    [
        (
            BOTH,
            '{"messages" : [ {"role":"user","content":"hi"} ]}',
            '{"messages" : [ {"role":"system","content":"P\\n\\nA"},{"role":"user","content":"hi"} ]}',
        ),
        (BEFORE, '{"messages":[]}', '{"messages":[{"role":"system","content":"P"}]}'),
        (
            BOTH,
            (
                '{"messages":[{"role":"developer", "content": "one"},{"role":"system","content":[{"type":"text","text":"two"}]},'
                '{"role":"user","content":"hi"},{"role":"system","content":"late"}]}'
            ),
            (
                '{"messages":[{"role":"developer", "content": "P\\n\\none"},{"role":"system","content":[{"type":"text","text":"two"},'
                '{"type":"text","text":"A"}]},{"role":"user","content":"hi"},{"role":"system","content":"late"}]}'
            ),
        ),
        (BOTH, '{"messages":[7]}', '{"messages":[7]}'),
        (BOTH, '{"messages":{}}', '{"messages":{}}'),
        (BOTH, "{}", "{}"),
    ],
)
def test_chat_completions(prompt: Prompt, body: str, made: str) -> None:
    assert edited(CHAT, body, prompt) == made


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ('{"input":"hi"}', '{"input":"hi","instructions":"P\\n\\nA"}'),
        ('{"instructions": "be brief" ,"x":1}', '{"instructions": "P\\n\\nbe brief\\n\\nA" ,"x":1}'),
    ],
)
def test_responses(body: str, made: str) -> None:
    assert edited(RESPONSES, body, BOTH) == made


@pytest.mark.parametrize(
    ("body", "made"),
    [
        ('{"contents":[]}', '{"contents":[],"systemInstruction":{"parts":[{"text":"P"},{"text":"A"}]}}'),
        (
            '{"system_instruction":{ "role":"user","parts":[{"text":"m"} ]}}',
            '{"system_instruction":{ "role":"user","parts":[{"text":"P"},{"text":"m"},{"text":"A"} ]}}',
        ),
        (
            '{"systemInstruction":{"parts":{"text":"m"}}}',
            '{"systemInstruction":{"parts":[{"text":"P"},{"text":"m"},{"text":"A"}]}}',
        ),
        ('{"systemInstruction":{"parts":null}}', '{"systemInstruction":{"parts":[{"text":"P"},{"text":"A"}]}}'),
        ('{"systemInstruction":{"parts":7}}', '{"systemInstruction":{"parts":7}}'),
        ('{"systemInstruction":"m"}', '{"systemInstruction":"m"}'),
    ],
)
def test_gemini(body: str, made: str) -> None:
    assert edited(GEMINI, body, BOTH) == made


def test_gemini_counts_contents_or_a_whole_request() -> None:
    assert edited(GEMINI, '{"contents":[]}', BOTH, count=True) == '{"contents":[]}'
    made = edited(GEMINI, '{"generateContentRequest":{}}', BEFORE, count=True)
    assert made == '{"generateContentRequest":{"systemInstruction":{"parts":[{"text":"P"}]}}}'


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES, GEMINI, CLAUDE])
def test_what_is_no_json_is_refused(dialect: Dialect) -> None:
    with pytest.raises(BrokerError):
        with_prompt(dialect, b'{"a":}', BOTH)


@pytest.mark.parametrize(
    ("system", "prompt", "made"),
    [
        ((), BOTH, ("P", "A")),
        (("m",), BOTH, ("P", "m", "A")),
        (("P\n\nm", "n\n\nA"), BOTH, ("P\n\nm", "n\n\nA")),
        ((BILLING, SELF, "m"), BEFORE, (BILLING, SELF, "P", "m")),
        (("m",), Prompt(), ("m",)),
    ],
)
def test_a_request_that_was_understood(system: tuple[str, ...], prompt: Prompt, made: tuple[str, ...]) -> None:
    request = Request("m", (), "m", tuple(Text(text) for text in system))
    once = prompted(request, prompt)
    assert tuple(part.text for part in once.system) == made
    assert prompted(once, prompt) == once


BODIES: dict[Dialect, dict[str, object]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"model": "m", "input": "hi"},
    CLAUDE: {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    GEMINI: {"contents": [{"parts": [{"text": "hi"}]}]},
}
OWN = {
    CHAT: lambda text: {"messages": [{"role": "system", "content": text}, {"role": "user", "content": "hi"}]},
    RESPONSES: lambda text: {"instructions": text},
    CLAUDE: lambda text: {"system": text},
    GEMINI: lambda text: {"systemInstruction": {"parts": [{"text": text}]}},
}


@given(
    dialect=st.sampled_from(sorted(BODIES)),
    own=st.none() | st.text(min_size=1).filter(lambda text: not text.startswith("x-anthropic-")),
    prompt=st.builds(Prompt, st.text(max_size=5), st.text(max_size=5)),
)
def test_in_place_says_the_same_as_understood(dialect: Dialect, own: str | None, prompt: Prompt) -> None:
    """What a provider of the client's own dialect is told is what another one is told, and a second proxy adds nothing."""
    body = BODIES[dialect] | (OWN[dialect](own) if own is not None else {})
    raw = json.dumps(body).encode()
    if not all(text.isprintable() for text in (own or "", prompt.before, prompt.after)):
        return  # a lone surrogate is no JSON text
    decode = CLIENTS[dialect].decode_request
    route = Route("m", False)
    placed = decode(with_prompt(dialect, raw, prompt), route)
    understood = prompted(decode(raw, route), prompt)
    said = ["\n\n".join(part.text for part in each.system) for each in (placed, understood)]
    assert said[0] == said[1]
    assert prompted(placed, prompt) == placed
