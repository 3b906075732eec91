"""The second net under log lines.

Owns: `redact`, which masks what looks like a credential in text that is about to be written. Pure. The first net is
`broker.model.secret.Secret`: nothing of ours relies on this one; it is for sentences other libraries make. It must never be used to decide what
may be logged.
"""

import re
from collections.abc import Callable
from typing import Final

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

MASK: Final = "[hidden]"

_NAMES = (
    "access_token|refresh_token|id_token|client_secret|code_verifier|code_challenge|device_code|authorization_code|api[_-]?key|x-api-key|x-goog-api-key|"
    "password|passphrase|assertion|session_token|token|secret|code|key"
)
# Shapes of credentials vendors hand out; the prefixes are their public conventions.
_SHAPES: Final = (
    r"ya29\.[\w-]{10,}",  # Google access token
    r"1//0[\w-]{10,}",  # Google refresh token
    r"4/0[\w-]{20,}",  # Google authorization code
    r"GOCSPX-[\w-]{5,}",
    r"AIza[\w-]{20,}",
    r"sk-[A-Za-z0-9][\w-]{15,}",  # OpenAI, Anthropic and others
    r"gh[a-z]_\w{20,}|github_pat_\w{20,}",
    r"xox[a-z]-[\w-]{10,}",
)
_RULES: Final[tuple[_Rule, ...]] = (
    # Authorization: Bearer x, Basic x
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}"), rf"\1\2{MASK}"),
    # {"refresh_token": "x"}, {'token': 'x'}: JSON, and Python's repr of it
    (re.compile(rf"(?i)([\"'])({_NAMES})\1(\s*:\s*)([\"'])(?:(?!\4)[^\\]|\\.)*\4"), rf"\1\2\1\3\4{MASK}\4"),
    # ?code=x&state=y, refresh_token=x
    (re.compile(rf"(?i)(?<![\w-])({_NAMES}|state)=[^\s&\"'<>,;)]+"), rf"\1={MASK}"),
    # https://user:password@host
    (re.compile(r"://[^\s/@:]+:[^\s/@]+@"), f"://{MASK}@"),
    # A JSON Web Token. What only begins like one is taken too and put back, else each of its letters would be a new beginning.
    (re.compile(r"eyJ[\w-]{8,}+(\.[\w-]{8,}(?:\.[\w-]*)?)?"), lambda found: MASK if found[1] else found[0]),
    (re.compile("|".join(_SHAPES)), MASK),
)

# In what clients and APIs say a `code` is an error's. Names are spelt in more ways there, and JSON stands within JSON.
_TRAFFIC_NAMES: Final = (
    r"[\w-]*(?:access|refresh|id|session|auth|bearer)[_-]?token|[\w-]*(?:client|shared)[_-]?secret|private[_-]?key|code[_-]?verifier|device[_-]?code|"
    r"authorization[_-]?code|[\w-]*api[_-]?key|password|passphrase|assertion|authorization|cookie|token|secret|key"
)
_TRAFFIC_RULES: Final[tuple[_Rule, ...]] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*"), MASK),
    # A value without an end is one too: texts are cut.
    (
        re.compile(rf"(?i)([\"'])({_TRAFFIC_NAMES})\1(\s*:\s*)([\"'])(?:(?!\4)[^\\]|\\.)*(?:\4|\\?\Z)"),
        rf"\1\2\1\3\4{MASK}\4",
    ),
    (
        re.compile(
            rf"(?i)(\\{{1,15}}[\"'])({_TRAFFIC_NAMES})\1((?:\s|\\+[nrt])*:(?:\s|\\+[nrt])*)(\\+[\"'])(?:(?!(?<!\\)\4).)*(?:\4|$)"
        ),
        rf"\1\2\1\3\4{MASK}\4",
    ),
    *(rule for number, rule in enumerate(_RULES) if number != 1),
)


def redact(text: str) -> str:
    """Return `text` with everything that looks like a credential masked."""
    return _masked(text, _RULES)


def redact_traffic(text: str) -> str:
    """Return what a client or an API said, with everything that looks like a credential masked; the words of its errors stay."""
    return _masked(text, _TRAFFIC_RULES)


def secret_name(name: str) -> bool:
    """Tell whether a field's name promises a credential. `code` does not: our own errors have one."""
    return name != "code" and re.fullmatch(rf"(?i)(?:\w+_)?(?:{_NAMES}|authorization|cookie)", name) is not None


def _masked(text: str, rules: tuple[_Rule, ...]) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text
