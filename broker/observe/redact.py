"""The second net under log lines.

Owns: `redact`, which masks what looks like a credential in text that is about to be written. Pure. The first net is
`broker.model.secret.Secret`: nothing of ours relies on this one; it is for sentences other libraries make. It must never be used to decide what
may be logged.
"""

import re
from typing import Final

MASK: Final = "[hidden]"

_NAMES = (
    "access_token|refresh_token|id_token|client_secret|code_verifier|code_challenge|device_code|authorization_code|api[_-]?key|x-api-key|x-goog-api-key|"
    "password|passphrase|assertion|session_token|token|secret|code|key"
)
# Shapes of credentials vendors hand out; the prefixes are their public conventions.
_SHAPES: Final = (
    r"eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",  # JSON Web Token
    r"ya29\.[\w-]{10,}",  # Google access token
    r"1//0[\w-]{10,}",  # Google refresh token
    r"4/0[\w-]{20,}",  # Google authorization code
    r"GOCSPX-[\w-]{5,}",
    r"AIza[\w-]{20,}",
    r"sk-[A-Za-z0-9][\w-]{15,}",  # OpenAI, Anthropic and others
    r"gh[a-z]_\w{20,}|github_pat_\w{20,}",
    r"xox[a-z]-[\w-]{10,}",
)
_RULES: Final = (
    # Authorization: Bearer x, Basic x
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[\w.~+/=-]{6,}"), rf"\1\2{MASK}"),
    # {"refresh_token": "x"}, {'token': 'x'}: JSON, and Python's repr of it
    (re.compile(rf"(?i)([\"'])({_NAMES})\1(\s*:\s*)([\"'])(?:(?!\4)[^\\]|\\.)*\4"), rf"\1\2\1\3\4{MASK}\4"),
    # ?code=x&state=y, refresh_token=x
    (re.compile(rf"(?i)(?<![\w-])({_NAMES}|state)=[^\s&\"'<>,;)]+"), rf"\1={MASK}"),
    # https://user:password@host
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]+:[^\s/@]+@"), rf"\1{MASK}@"),
    (re.compile("|".join(_SHAPES)), MASK),
)


def redact(text: str) -> str:
    """Return `text` with everything that looks like a credential masked."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def secret_name(name: str) -> bool:
    """Tell whether a field's name promises a credential. `code` does not: our own errors have one."""
    return name != "code" and re.fullmatch(rf"(?i)(?:\w+_)?(?:{_NAMES}|authorization|cookie)", name) is not None
