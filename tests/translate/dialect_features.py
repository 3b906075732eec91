"""One thing to ask for, as each client dialect says it: what is put into a plain request, by its path's first name."""

from broker.translate.codecs import Dialect

CHAT, RESPONSES, CLAUDE, GEMINI = Dialect.OPENAI_CHAT, Dialect.RESPONSES, Dialect.CLAUDE, Dialect.GEMINI

PLAIN = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    RESPONSES: {"model": "m", "input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}]},
    CLAUDE: {
        "model": "m",
        "max_tokens": 5000,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    },
    GEMINI: {"model": "m", "contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    CHAT: {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]},
    RESPONSES: {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
    CLAUDE: {"tools": [{"name": "f", "input_schema": SCHEMA}]},
    GEMINI: {"tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}]},
}
_TWO = {
    CHAT: {"tools": [*TOOL[CHAT]["tools"], {"type": "function", "function": {"name": "g", "parameters": SCHEMA}}]},
    RESPONSES: {"tools": [*TOOL[RESPONSES]["tools"], {"type": "function", "name": "g", "parameters": SCHEMA}]},
    CLAUDE: {"tools": [{"name": name, "input_schema": SCHEMA} for name in "fg"]},
    GEMINI: {"tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in "fg"]}]},
}
_THREE = {
    CHAT: {"tools": [*_TWO[CHAT]["tools"], {"type": "function", "function": {"name": "h", "parameters": SCHEMA}}]},
    RESPONSES: {"tools": [*_TWO[RESPONSES]["tools"], {"type": "function", "name": "h", "parameters": SCHEMA}]},
    GEMINI: {"tools": [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in "fgh"]}]},
}


def image(data="AAAA"):
    return f"data:image/png;base64,{data}"


def user(**parts):
    """More parts in the user's message, one a dialect."""
    names = {"chat": CHAT, "responses": RESPONSES, "claude": CLAUDE, "gemini": GEMINI}
    out = {}
    for name, part in parts.items():
        dialect = names[name]
        (key,) = [key for key in ("messages", "input", "contents") if key in PLAIN[dialect]]
        held = "parts" if dialect is GEMINI else "content"
        (said,) = PLAIN[dialect][key]
        out[dialect] = {key: [{**said, held: [*said[held], part]}]}
    return out


def top(**fields):
    """The same members beside the others, one mapping a dialect."""
    names = {"chat": CHAT, "responses": RESPONSES, "claude": CLAUDE, "gemini": GEMINI}
    return {names[name]: value for name, value in fields.items()}


def config(**fields):
    return {"generationConfig": fields}


def history(chat=(), responses=(), claude=(), gemini=()):
    """Messages after the user's first."""
    said = {CHAT: chat, RESPONSES: responses, CLAUDE: claude, GEMINI: gemini}
    keys = {CHAT: "messages", RESPONSES: "input", CLAUDE: "messages", GEMINI: "contents"}
    return {dialect: {keys[dialect]: [*PLAIN[dialect][keys[dialect]], *more]} for dialect, more in said.items() if more}


def on(base, more):
    """A feature on top of another one: told is what it adds to that."""
    return {dialect: (base[dialect], {**base[dialect], **fields}) for dialect, fields in more.items()}


def _choice(chat, responses, claude, mode, *, base=TOOL, **names):
    return on(
        base,
        {
            CHAT: {"tool_choice": chat}, RESPONSES: {"tool_choice": responses}, CLAUDE: {"tool_choice": claude},
            GEMINI: {"toolConfig": {"functionCallingConfig": {"mode": mode, **names}}},
        },
    )  # fmt: skip


_CALL = {
    CHAT: {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    },
    RESPONSES: {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    CLAUDE: {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
    GEMINI: {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f", "args": {}}}]},
}
_ANSWERED = history(
    chat=[_CALL[CHAT], {"role": "tool", "tool_call_id": "c", "content": "r"}],
    responses=[_CALL[RESPONSES], {"type": "function_call_output", "call_id": "c", "output": "r"}],
    claude=[_CALL[CLAUDE], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]}],
    gemini=[
        _CALL[GEMINI],
        {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"result": "r"}}}]},
    ],
)
_FAILED = history(
    claude=[
        _CALL[CLAUDE],
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r", "is_error": True}]},
    ],
    gemini=[
        _CALL[GEMINI],
        {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"error": "r"}}}]},
    ],
)
_PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
_SHOWN = history(
    chat=[_CALL[CHAT], {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "r"}, {"type": "image_url", "image_url": {"url": image()}}]}],
    responses=[_CALL[RESPONSES], {"type": "function_call_output", "call_id": "c", "output": [
        {"type": "input_text", "text": "r"}, {"type": "input_image", "image_url": image()}]}],
    claude=[_CALL[CLAUDE], {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "r"}, _PICTURE]}]}],
    gemini=[_CALL[GEMINI], {"role": "user", "parts": [{"functionResponse": {"id": "c", "name": "f", "response": {"result": "r"}, "parts": [
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}]}],
)  # fmt: skip
_MADE = history(
    chat=[{"role": "assistant", "content": "so", "images": [{"image_url": {"url": image()}}]}, {"role": "user", "content": "go"}],
    responses=[{"role": "assistant", "content": "so"}, {"type": "image_generation_call", "result": "AAAA"}, {"role": "user", "content": "go"}],
    gemini=[{"role": "model", "parts": [{"text": "so"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
    {"role": "user", "parts": [{"text": "go"}]}],
)  # fmt: skip
_SPOKEN = history(
    chat=[{"role": "assistant", "content": "so"}, {"role": "user", "content": "go"}],
    responses=[{"role": "assistant", "content": "so"}, {"role": "user", "content": "go"}],
    claude=[{"role": "assistant", "content": "so"}, {"role": "user", "content": "go"}],
    gemini=[{"role": "model", "parts": [{"text": "so"}]}, {"role": "user", "parts": [{"text": "go"}]}],
)
_BEGUN = history(
    chat=[{"role": "assistant", "content": "It is"}], responses=[{"role": "assistant", "content": "It is"}],
    claude=[{"role": "assistant", "content": "It is"}], gemini=[{"role": "model", "parts": [{"text": "It is"}]}],
)  # fmt: skip
_PDF = {"mimeType": "application/pdf", "data": "AAAA"}
_NOTE = "aGk="

FEATURES = {
    "instructions": {
        CHAT: {"messages": [{"role": "system", "content": "be kind"}, *PLAIN[CHAT]["messages"]]},
        RESPONSES: {"instructions": "be kind"}, CLAUDE: {"system": "be kind"}, GEMINI: {"systemInstruction": {"parts": [{"text": "be kind"}]}},
    },
    "system's or developer's message": {
        CHAT: {"messages": [{"role": "developer", "content": "be kind"}, *PLAIN[CHAT]["messages"]]},
        RESPONSES: {"input": [{"role": "developer", "content": "be kind"}, *PLAIN[RESPONSES]["input"]]},
    },
    "the same after others": {
        CHAT: {"messages": [*PLAIN[CHAT]["messages"], {"role": "developer", "content": "be kind"}]},
        RESPONSES: {"input": [*PLAIN[RESPONSES]["input"], {"role": "developer", "content": "be kind"}]},
        CLAUDE: {"messages": [*PLAIN[CLAUDE]["messages"], {"role": "system", "content": "be kind"}]},
    },
    "image": user(
        chat={"type": "image_url", "image_url": {"url": image()}}, responses={"type": "input_image", "image_url": image()},
        claude=_PICTURE, gemini={"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
    ),
    "image by URL": user(
        chat={"type": "image_url", "image_url": {"url": "https://a/x.png"}}, responses={"type": "input_image", "image_url": "https://a/x.png"},
        claude={"type": "image", "source": {"type": "url", "url": "https://a/x.png"}},
        gemini={"fileData": {"mimeType": "image/png", "fileUri": "https://a/x.png"}},
    ),
    "PDF": user(
        chat={"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}},
        responses={"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
        claude={"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}, gemini={"inlineData": _PDF},
    ),
    "file of text": user(
        chat={"type": "file", "file": {"file_data": f"data:text/plain;base64,{_NOTE}", "filename": "a.txt"}},
        responses={"type": "input_file", "file_data": f"data:text/plain;base64,{_NOTE}", "filename": "a.txt"},
        gemini={"inlineData": {"mimeType": "text/plain", "data": _NOTE}},
    ),
    "sound": user(chat={"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        gemini={"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}),
    "video": user(chat={"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
        gemini={"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}),
    "mark for caches": {
        CHAT: {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]},
        CLAUDE: {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]},
    },
    "functions": TOOL,
    "functions, `strict`": {
        CHAT: (TOOL[CHAT], {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}]}),
        RESPONSES: (TOOL[RESPONSES], {"tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}]}),
        CLAUDE: (TOOL[CLAUDE], {"tools": [{"name": "f", "input_schema": SCHEMA, "strict": True}]}),
    },
    "no call": _choice("none", "none", {"type": "none"}, "NONE"),
    "some call": _choice("required", "required", {"type": "any"}, "ANY"),
    "this call": _choice(
        {"type": "function", "function": {"name": "f"}}, {"type": "function", "name": "f"}, {"type": "tool", "name": "f"},
        "ANY", base=_TWO, allowedFunctionNames=["f"]
    ),
    "one of these calls": on(_THREE, {
        CHAT: {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [{"function": {"name": name}} for name in "fg"]}}},
        RESPONSES: {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": name} for name in "fg"]}},
        GEMINI: {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}}},
    }),
    "one call at a time": on({**TOOL, CLAUDE: {**TOOL[CLAUDE], "tool_choice": {"type": "auto"}}}, top(
        chat={"parallel_tool_calls": False}, responses={"parallel_tool_calls": False},
        claude={"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    )),
    "search of the web": top(
        chat={"web_search_options": {}}, responses={"tools": [{"type": "web_search"}]},
        claude={"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, gemini={"tools": [{"googleSearch": {}}]},
    ),
    "search beside functions": on(TOOL, {
        CHAT: {"web_search_options": {}}, RESPONSES: {"tools": [*TOOL[RESPONSES]["tools"], {"type": "web_search"}]},
        CLAUDE: {"tools": [*TOOL[CLAUDE]["tools"], {"type": "web_search_20250305", "name": "web_search"}]},
        GEMINI: {"tools": [*TOOL[GEMINI]["tools"], {"googleSearch": {}}]},
    }),
    "code run by the provider": top(
        chat={"tools": [{"type": "code_execution"}]}, responses={"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
        claude={"tools": [{"type": "code_execution_20250825", "name": "code_execution"}]}, gemini={"tools": [{"codeExecution": {}}]},
    ),
    "pages read by the provider": top(
        chat={"tools": [{"type": "url_context"}]}, claude={"tools": [{"type": "web_fetch_20250910", "name": "web_fetch"}]},
        gemini={"tools": [{"urlContext": {}}]},
    ),
    "call and answer": on(TOOL, _ANSWERED),
    "answer that is an error": {dialect: (_ANSWERED[dialect], fields) for dialect, fields in _FAILED.items()},
    "image in an answer of a tool": {dialect: (_ANSWERED[dialect], fields) for dialect, fields in _SHOWN.items()},
    "image the model made": {dialect: (_SPOKEN[dialect], fields) for dialect, fields in _MADE.items()},
    "beginning of the answer": _BEGUN,
    "most tokens": top(chat={"max_tokens": 17}, responses={"max_output_tokens": 17}, claude={"max_tokens": 17}, gemini=config(maxOutputTokens=17)),
    "temperature": top(chat={"temperature": 0.5}, responses={"temperature": 0.5}, claude={"temperature": 0.5}, gemini=config(temperature=0.5)),
    "`top_p`": top(chat={"top_p": 0.5}, responses={"top_p": 0.5}, claude={"top_p": 0.5}, gemini=config(topP=0.5)),
    "`top_k`": top(chat={"top_k": 5}, claude={"top_k": 5}, gemini=config(topK=5)),
    "stop sequences": top(chat={"stop": ["x"]}, claude={"stop_sequences": ["x"]}, gemini=config(stopSequences=["x"])),
    "seed": top(chat={"seed": 5}, gemini=config(seed=5)),
    "penalties": top(chat={"presence_penalty": 0.5, "frequency_penalty": 0.5}, gemini=config(presencePenalty=0.5, frequencyPenalty=0.5)),
    "log probabilities": top(chat={"logprobs": True, "top_logprobs": 2}, responses={"top_logprobs": 2}, gemini=config(responseLogprobs=True, logprobs=2)),
    "several answers": top(chat={"n": 2}, gemini=config(candidateCount=2)),
    "JSON": top(chat={"response_format": {"type": "json_object"}},
        responses={"text": {"format": {"type": "json_object"}}}, gemini=config(responseMimeType="application/json")),
    "JSON of a schema": top(
        chat={"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
        responses={"text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}},
        claude={"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        gemini=config(responseMimeType="application/json", responseJsonSchema=SCHEMA),
    ),
    "thinking, by a word": top(
        chat={"reasoning_effort": "high"}, responses={"reasoning": {"effort": "high"}},
        claude={"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, gemini=config(thinkingConfig={"thinkingLevel": "HIGH"}),
    ),
    "thinking, by tokens": top(claude={"thinking": {"type": "enabled", "budget_tokens": 2000}}, gemini=config(thinkingConfig={"thinkingBudget": 2000})),
    "no thinking": top(
        chat={"reasoning_effort": "none"}, responses={"reasoning": {"effort": "none"}}, claude={"thinking": {"type": "disabled"}},
        gemini=config(thinkingConfig={"thinkingBudget": 0}),
    ),
    "image as the answer": top(chat={"modalities": ["image"]}, gemini=config(responseModalities=["IMAGE"])),
    "shape of the image": top(chat={"image_config": {"aspect_ratio": "16:9"}}, gemini=config(imageConfig={"aspectRatio": "16:9"})),
    "safety settings": top(chat={"safetySettings": [{"category": "c"}]}, gemini={"safetySettings": [{"category": "c"}]}),
    "name of the conversation": top(
        chat={"prompt_cache_key": "k"}, responses={"prompt_cache_key": "k"}, claude={"metadata": {"user_id": "k"}}, gemini={"session_id": "k"},
    ),
}  # fmt: skip

NOWHERE = {
    CHAT: {
        "logit_bias": {"5": 1}, "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "verbosity": "low",
        "prediction": {"type": "content", "content": "x"},
        "stream_options": {"include_obfuscation": False}, "audio": {"voice": "alloy", "format": "wav"}, "safety_identifier": "x",
    },
    RESPONSES: {
        "metadata": {"a": "b"}, "store": True, "service_tier": "auto", "truncation": "auto", "max_tool_calls": 2, "safety_identifier": "x",
        "text": {"verbosity": "low"}, "stream_options": {"include_obfuscation": False}, "include": ["message.output_text.logprobs"],
    },
    CLAUDE: {"service_tier": "auto", "context_management": {"edits": []}, "inference_geo": "eu", "cache_control": {"type": "ephemeral"}},
    GEMINI: {
        "labels": {"a": "b"}, "generationConfig": {"speechConfig": {}, "mediaResolution": "MEDIA_RESOLUTION_LOW", "audioTimestamp": True},
    },
}  # fmt: skip
"""What is left out whoever answers."""

REFUSED = {
    CHAT: {"functions": [], "function_call": "auto"},
    RESPONSES: {"previous_response_id": "resp_1", "conversation": "conv_1", "background": True, "prompt": {"id": "p"}},
    CLAUDE: {"mcp_servers": [{"type": "url"}], "container": "c"},
    GEMINI: {"cachedContent": "cachedContents/1"},
}
"""What is refused whoever answers."""
