"""Login files of other programs, as golden files hold them."""

import base64
import json
from pathlib import Path

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.providers.native.base import Beside, Found, Login, Native, Refused

GOLDEN = Path(__file__).parents[1] / "golden" / "native"
NOW = Now(1_760_010_000.0, 5.0)
ENDS = 1_760_013_600.0
RENEWED = Tokens(Secret("fake-access-2"), Secret("fake-refresh-2"), expires_at=ENDS, last_refresh=NOW.wall)


def jwt(claims: dict[str, object]) -> str:
    """A token with these claims and no signature."""
    parts = ({"alg": "none"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*texts, "x"))


def golden(tool: str, name: str) -> dict[str, object]:
    """One file; the words in capitals are not replaced."""
    made = json.loads((GOLDEN / tool / name).read_bytes())
    assert isinstance(made, dict)
    return made


def login(native: Native, document: dict[str, object], beside: Beside | None = None) -> Login:
    """The one login of a file."""
    (found,) = native.read(document, beside or {})
    assert isinstance(found, Login), found
    return found


def refused(native: Native, document: dict[str, object], beside: Beside | None = None) -> Refused:
    """Why the file has none."""
    found: tuple[Found, ...] = native.read(document, beside or {})
    assert len(found) == 1
    assert isinstance(found[0], Refused), found
    return found[0]


def renewed(native: Native, document: dict[str, object], key: str = "") -> dict[str, object]:
    """The file with a renewed grant."""
    return native.write(document, key, RENEWED, NOW)
