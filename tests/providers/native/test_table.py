"""The table as a whole, and every golden file through it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.providers import registry
from broker.providers.native.base import LockKind, Login, Refused
from broker.providers.native.table import FORMATS, variables
from broker.store import codec
from tests.fakes.native import GOLDEN, NOW, RENEWED

FILES = [path for path in sorted(GOLDEN.rglob("*")) if path.is_file()]


def test_names_are_what_the_command_line_takes() -> None:
    assert {each.tool: each for each in FORMATS.values()} == FORMATS
    assert "all" not in FORMATS
    assert len({each.title for each in FORMATS.values()}) == len(FORMATS)


@pytest.mark.parametrize("tool", FORMATS)
def test_each_has_golden_files_and_places(tool: str) -> None:
    native = FORMATS[tool]
    assert (GOLDEN / tool).is_dir()
    assert all(spot.folder.startswith("~/") and not spot.folder.endswith("/") for spot in native.spots)
    assert native.spots or tool == "vertex"
    if native.lock is not None:
        assert (native.lock.stale_seconds > 0) is (native.lock.kind is not LockKind.FLOCK)
        assert native.lock.name.startswith(("{folder}", "{file}"))


def test_the_variables_that_move_them() -> None:
    assert variables() == (
        "CLAUDE_CONFIG_DIR", "CLAUDE_SECURESTORAGE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "GROK_HOME", "KIMI_CODE_HOME", "KIMI_SHARE_DIR",
        "XDG_CONFIG_HOME", "XDG_DATA_HOME",
    )  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(GOLDEN)))
def test_a_golden_file_written_back_differs_in_its_grant_alone(path: Path) -> None:
    native = FORMATS[path.relative_to(GOLDEN).parts[0]]
    parsed = codec.parse_object(path.read_bytes())
    if isinstance(parsed, codec.Fault):
        assert path.name == "device_id"
        return
    siblings = {each.name: json.loads(each.read_bytes()) for each in (path.parent / "siblings").glob("*.json")}
    for found in native.read(parsed.document, {"siblings": siblings}):
        if isinstance(found, Login) and not native.unlinked and found.tokens.refresh_token:
            written = native.write(parsed.document, found.key, RENEWED, NOW)
            again = codec.parse_object(codec.render(parsed, written))
            assert isinstance(again, codec.Parsed)
            back = {each.key: each for each in native.read(again.document, {"siblings": siblings})}[found.key]
            assert isinstance(back, Login)
            assert back.tokens.access_token == RENEWED.access_token
            assert back.tokens.refresh_token == RENEWED.refresh_token
            assert back.identity == found.identity
            same = native.write(again.document, found.key, back.tokens, NOW)
            assert codec.render(again, same) == codec.render(parsed, written)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = (
    "tokens", "token", "claudeAiOauth", "access_token", "refresh_token", "accessToken", "refreshToken", "id_token", "expiresAt", "expires_at",
    "auth_kv", "state", "accounts",
    "oauth_token", "key", "type", "github.com", "auth_method", "authMethod", "clientId", "scope", "scopes", "last_refresh", "active",
)  # fmt: skip
documents = st.dictionaries(st.sampled_from(KEYS) | st.text(), json_values, max_size=6)


@given(
    documents, st.dictionaries(st.sampled_from(("profile", "accounts", "siblings", "device", "region")), json_values)
)
def test_no_file_breaks_a_reader(document: dict[str, object], beside: dict[str, object]) -> None:
    for native in FORMATS.values():
        for found in native.read(document, beside):
            assert isinstance(found, Login | Refused)


def test_their_providers_exist() -> None:
    known = set(registry.build({}).names)
    assert {native.provider for native in FORMATS.values() if native.provider} <= known
