import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.proxy.session import session_of


def of(body: object = None, **headers: str) -> str | None:
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return session_of(sent, json.dumps(body).encode())


CHAT = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]}


@pytest.mark.parametrize(
    ("body", "headers", "session"),
    [
        ({"metadata": {"user_id": "user_a_account_b_session_c"}}, {"x_claude_code_session_id": "h"}, "h"),
        ({"metadata": {"user_id": "user_a_account_b_session_c"}}, {"session_id": "h"}, "c"),
        ({"metadata": {"user_id": '{"device_id":"d","session_id":"s"}'}}, {"session_id": "h"}, "s"),
        ({"metadata": {"user_id": "alice"}}, {"session_id": "h"}, "h"),
        ({"metadata": {"user_id": "alice"}, "conversation_id": "x"}, {}, "alice"),
        ({"metadata": {"user_id": "{broken"}}, {}, "{broken"),
        ({"metadata": {"user_id": ""}, "conversation_id": "x"}, {}, "x"),
        ({}, {"x_session_id": "1", "session_id": "2"}, "2"),
        ({}, {"x_session_affinity": "1", "x_client_request_id": "2"}, "1"),
        ({}, {"x_client_request_id": "2"}, "2"),
        ({"session_id": "a", "sessionId": "b", "prompt_cache_key": "c"}, {}, "a"),
        ({"session_id": 5, "sessionId": "b", "prompt_cache_key": "c"}, {}, "b"),
        ({"prompt_cache_key": "c", "conversation": "d"}, {}, "c"),
        ({"conversation": "d", "conversation_id": "e"}, {}, "d"),
        ({"conversation": {"id": "d"}}, {}, "d"),
        ({"conversation": {"id": 5}, "conversation_id": "e"}, {}, "e"),
        ({"prompt_cache_key": "k" * 1000}, {}, "k" * 512),
        ({}, {}, None),
        ([], {}, None),
        ({"messages": 5, "input": [], "contents": {}}, {}, None),
    ],
)
def test_where_an_id_is_looked_for(body: object, headers: dict[str, str], session: str | None) -> None:
    assert of(body, **headers) == session


def test_an_empty_header_says_nothing() -> None:
    assert of({"conversation": "d"}, session_id="") == "d"


def test_a_conversation_goes_on_with_what_it_began_with() -> None:
    later = {
        "messages": [*CHAT["messages"], {"role": "assistant", "content": "hi"}, {"role": "user", "content": "bye"}]
    }
    assert of(CHAT) == of(later) is not None
    other = {"messages": [CHAT["messages"][0], {"role": "user", "content": "good day"}]}
    assert of(CHAT) != of(other) is not None


def test_marks_in_a_message_do_not_count() -> None:
    def marked(**mark: object) -> dict[str, object]:
        text = {"type": "text", "text": "hello", **mark}
        return {"system": [{"type": "text", "text": "be brief"}], "messages": [{"role": "user", "content": [text]}]}

    assert of(marked()) == of(marked(cache_control={"type": "ephemeral"})) is not None


@pytest.mark.parametrize(
    "body",
    [
        {"instructions": "be brief", "input": "hello"},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}]},
        {
            "systemInstruction": {"parts": [{"text": "be brief"}]},
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        },
        {"messages": [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "what is it?"}]}]},
    ],
)
def test_each_dialect_has_a_beginning(body: object) -> None:
    assert of(body) == of(body) is not None


def test_an_image_alone_is_no_beginning() -> None:
    assert (
        of({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}) is None
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["role", "content", "text", "id", "user_id"]), inner)
    ),
    max_leaves=8,
)
FIELDS = ["metadata", "session_id", "conversation", "system", "messages", "input", "contents"]


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_anything_has_a_session_or_none(body: dict[str, object]) -> None:
    found = of(body)
    assert found is None or found


@given(st.binary())
def test_any_bytes(body: bytes) -> None:
    session_of([], body)


@pytest.mark.parametrize(
    "body", [b'{"system": "\\ud800", "messages": "\\ud800"}', b"[" * 100_000, b'{"metadata": ' + b"[" * 100_000]
)
def test_bodies_that_are_hard_to_read(body: bytes) -> None:
    session_of([], body)
