"""Logins of other programs: what is read of their files, and what becomes of it. No refresh token that is good once is ever presented."""

import json
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import pytest

from broker.login.adopt import Adoptable, Adopter, Discovery, discover, read_login
from broker.login.clients import Clients
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.messages import HttpRequest, HttpResponse
from broker.providers.base import Client
from broker.providers.native.base import Login, Refused, Seen
from broker.providers.native.table import FORMATS
from broker.providers.registry import build
from broker.settings.reading import parse
from tests.fakes.clock import FakeClock
from tests.fakes.native import GOLDEN, golden
from tests.fakes.transport import ScriptedTransport
from tests.fakes.vendors.vertex import key_file

CLAUDE, CODEX, GEMINI, QWEN = (FORMATS[name] for name in ("claude-code", "codex", "gemini-cli", "qwen"))


def put(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


# --- reading one file ---


def test_a_file_and_what_lies_beside_it(tmp_path: Path) -> None:
    path = put(tmp_path / ".claude" / ".credentials.json", golden("claude-code", ".credentials.json"))
    path.chmod(0o640)
    put(tmp_path / ".claude.json", "\ufeff" + json.dumps(golden("claude-code", ".claude.json")))
    seen = read_login(CLAUDE, path)
    assert isinstance(seen, Seen)
    assert (seen.data, seen.mode) == (path.read_bytes(), 0o640)
    (login,) = seen.found
    assert isinstance(login, Login)
    assert login.identity.email == "ann@example.com"
    # One in the folder itself comes first.
    put(path.with_name(".claude.json"), {"oauthAccount": {"emailAddress": "eve@example.com"}})
    again = read_login(CLAUDE, path)
    assert isinstance(again, Seen)
    assert isinstance(again.found[0], Login)
    assert again.found[0].identity.email == "eve@example.com"


def test_what_lies_beside_it_and_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / ".claude" / ".credentials.json", golden("claude-code", ".credentials.json"))
    os.mkfifo(tmp_path / ".claude.json")
    seen = read_login(CLAUDE, path)
    assert isinstance(seen, Seen)
    assert isinstance(seen.found[0], Login)
    assert seen.found[0].identity.email is None


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "is empty"), (" \n", "is empty"), ("{", "is not JSON"), ("[]", "is not JSON"), ("[" * 100_000, "is not JSON"), ("x" * (1 << 21), "is larger than")],
)  # fmt: skip
def test_what_is_no_login_file(tmp_path: Path, content: str, said: str) -> None:
    seen = read_login(CODEX, put(tmp_path / "auth.json", content))
    assert isinstance(seen, Refused)
    assert said in seen.reason


def test_places_that_hold_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "auth.json"
    assert read_login(CODEX, path) is None
    os.mkfifo(path)  # would block whoever opens it without care
    assert read_login(CODEX, path) == Refused("is not a regular file")
    path.unlink()
    path.symlink_to(path)
    assert read_login(CODEX, path) == Refused("cannot be read: ELOOP")
    path.unlink()
    put(path, golden("codex", "auth.json"))
    other = os.getuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    assert read_login(CODEX, path) == Refused("belongs to another user")


def test_a_link_of_the_users_own_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "dotfiles" / "auth.json", golden("codex", "older.json"))
    (tmp_path / "auth.json").symlink_to(tmp_path / "dotfiles" / "auth.json")
    assert isinstance(read_login(CODEX, tmp_path / "auth.json"), Seen)


def kiro_store(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = json.loads((GOLDEN / "kiro-cli" / "rows.json").read_text())
    with sqlite3.connect(path) as base:
        for table, held in rows.items():
            base.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value)")
            base.executemany(
                f"INSERT INTO {table} VALUES (?, ?)", ((key, json.dumps(value)) for key, value in held.items())
            )
    base.close()
    return path


def test_a_store_that_is_a_database(tmp_path: Path) -> None:
    native = FORMATS["kiro-cli"]
    path = kiro_store(tmp_path / "data.sqlite3")
    seen = read_login(native, path)
    assert isinstance(seen, Seen)
    (login,) = seen.found
    assert isinstance(login, Login)
    assert login.client == Client("client-1", Secret("fake-registration-1"))
    assert read_login(native, tmp_path / "nothing") is None
    assert read_login(native, put(tmp_path / "text", "text that is long enough to be looked at")) == Refused(
        "is no database that can be read"
    )


# --- finding files ---


def found(tool: str, env: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(each.native.tool, each.path.name) for each in discover(tool, None, env)]


def test_every_program_in_its_usual_place(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    assert found("all", env) == []
    places = {
        ".claude/.credentials.json": golden("claude-code", ".credentials.json"), ".codex/auth.json": golden("codex", "auth.json"),
        ".gemini/oauth_creds.json": golden("gemini-cli", "oauth_creds.json"),
        ".gemini/antigravity-cli/antigravity-oauth-token": golden("antigravity", "antigravity-oauth-token"),
        ".gemini/jetski-standalone-oauth-token": golden("antigravity", "flat.json"),
        ".gemini/antigravity-acp/acp_token.json": golden("antigravity", "flat.json"),
        ".config/opencode/antigravity-accounts.json": golden("antigravity-proxy", "opencode.json"),
        ".config/antigravity-proxy/accounts.json": golden("antigravity-proxy", "accounts.json"),
        ".qwen/oauth_creds.json": golden("qwen", "oauth_creds.json"), ".kimi/credentials/kimi-code.json": golden("kimi", "kimi-code.json"),
        ".kimi-code/credentials/kimi-code-env-0123456789abcdef.json": golden("kimi", "kimi-code.json"),
        ".grok/auth.json": golden("xai", "auth.json"), ".aws/sso/cache/kiro-auth-token.json": golden("kiro", "social.json"),
        ".config/github-copilot/apps.json": golden("copilot", "apps.json"), ".config/github-copilot/hosts.json": golden("copilot", "hosts.json"),
        ".cli-proxy-api/claude-ann@example.com.json": golden("cliproxyapi", "claude-ann@example.com.json"),
    }  # fmt: skip
    for name, document in places.items():
        put(tmp_path / name, document)
    kiro_store(tmp_path / ".local/share/kiro-cli/data.sqlite3")
    names = {str(each.path.relative_to(tmp_path)) for each in discover("all", None, env)}
    assert names == {*places, ".local/share/kiro-cli/data.sqlite3"}
    assert {tool for tool, _ in found("all", env)} == {*FORMATS} - {"vertex"}


@pytest.mark.parametrize(
    ("tool", "variable", "below", "file"),
    [
        ("claude-code", "CLAUDE_CONFIG_DIR", "", ".credentials.json"), ("codex", "CODEX_HOME", "", "auth.json"),
        ("gemini-cli", "GEMINI_CLI_HOME", ".gemini", "oauth_creds.json"), ("kimi", "KIMI_SHARE_DIR", "credentials", "kimi-code.json"),
        ("kimi", "KIMI_CODE_HOME", "credentials", "kimi-code.json"), ("xai", "GROK_HOME", "", "auth.json"),
        ("copilot", "XDG_CONFIG_HOME", "github-copilot", "apps.json"), ("antigravity", "XDG_CONFIG_HOME", "antigravity-cli", "antigravity-oauth-token"),
    ],
)  # fmt: skip
def test_programs_that_were_moved(tmp_path: Path, tool: str, variable: str, below: str, file: str) -> None:
    put(tmp_path / "moved" / below / file, golden(tool, file))
    env = {"HOME": str(tmp_path / "home"), variable: str(tmp_path / "moved")}
    assert {name for _, name in found(tool, env)} == {file}
    assert found(tool, {**env, variable: "not/absolute"}) == []


def test_claude_codes_folder_for_secrets_comes_before_its_folder(tmp_path: Path) -> None:
    put(tmp_path / "secret" / ".credentials.json", golden("claude-code", ".credentials.json"))
    put(tmp_path / "config" / ".credentials.json", golden("claude-code", "older.json"))
    env = {
        "HOME": "/nowhere",
        "CLAUDE_CONFIG_DIR": f"{tmp_path}/config",
        "CLAUDE_SECURESTORAGE_CONFIG_DIR": f"{tmp_path}/secret",
    }
    assert [each.path.parent.name for each in discover("claude-code", None, env)] == ["secret"]


def test_one_file_of_two_names_counts_once(tmp_path: Path) -> None:
    real = put(tmp_path / ".gemini" / "jetski-standalone-oauth-token", golden("antigravity", "flat.json"))
    link = tmp_path / ".gemini" / "antigravity-cli" / "antigravity-oauth-token"
    link.parent.mkdir()
    link.symlink_to(real)
    assert len(discover("antigravity", None, {"HOME": str(tmp_path)})) == 1


def test_a_file_that_is_named(tmp_path: Path) -> None:
    key = put(tmp_path / "key.json", key_file())
    (one,) = discover("vertex", key, {})
    assert isinstance(one.found, Login)
    for tool, path in (("nobody", None), ("all", key), ("vertex", Path("key.json")), ("vertex", tmp_path / "nothing")):
        with pytest.raises(BrokerError) as caught:
            discover(tool, path, {})
        assert caught.value.code is ErrorCode.BAD_REQUEST


# --- what becomes of it ---


class Desk:
    """An adopter whose providers answer from a script."""

    def __init__(self, home: Path, *answers: HttpResponse | Exception, config: str = "") -> None:
        self.home = home
        self.clock = FakeClock()
        self.transport = ScriptedTransport(list(answers))
        tables = parse(config.encode()).providers
        env = {"HOME": str(home), "PATH": "", "FAKE_SECRET": "fake-secret"}
        clients = Clients(tables, [home], self.transport, self.clock, env)
        self.adopter = Adopter(build(tables), clients, self.transport, self.clock)

    @property
    def asked(self) -> list[HttpRequest]:
        return self.transport.asked

    async def adopt(self, tool: str, document: object, *, online: bool = True) -> Adoptable | Refused:
        path = put(self.home / "theirs" / "file.json", document)
        (discovery,) = discover(tool, path, {})
        return await self.adopter.adopt(discovery, online=online)

    async def ready(self, tool: str, document: object, *, online: bool = True) -> Adoptable:
        made = await self.adopt(tool, document, online=online)
        assert isinstance(made, Adoptable), made
        return made


def claude(left: float, clock: FakeClock) -> dict[str, object]:
    return {
        "claudeAiOauth": {
            "accessToken": "fake-a",
            "refreshToken": "fake-r",
            "expiresAt": int((clock.wall + left) * 1000),
        }
    }


PROFILE = HttpResponse(
    200, body=json.dumps({"account": {"uuid": "7", "email": "ann@example.com"}, "organization": {"uuid": "8"}}).encode()
)


async def test_the_provider_is_asked_whose_login_it_is(tmp_path: Path) -> None:
    desk = Desk(tmp_path, PROFILE)
    made = await desk.ready("claude-code", claude(600, desk.clock))
    assert made.record.account.label == "ann@example.com"
    assert [each.method for each in desk.asked] == ["GET"]
    assert made.notes == ()


async def test_a_trial_asks_nobody(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = await desk.ready("claude-code", claude(600, desk.clock), online=False)
    assert desk.asked == []
    assert "made-up name" in made.notes[-1]


@pytest.mark.parametrize("left", [-1.0, 20.0])
async def test_a_refresh_token_that_is_good_once_is_never_spent_to_learn_a_name(tmp_path: Path, left: float) -> None:
    desk = Desk(tmp_path)
    made = await desk.ready("claude-code", claude(left, desk.clock))
    assert desk.asked == []
    assert "its access token has ended" in made.notes[0]
    assert made.record.tokens.refresh_token == Secret("fake-r")


async def test_what_a_grant_is_bound_to_is_its_files_to_say(tmp_path: Path) -> None:
    """A Kimi login is good for the device it was made with; another would be refused."""
    put(tmp_path / "device_id", "fake-device-1\n")
    put(tmp_path / "region", "global")
    desk = Desk(tmp_path, HttpResponse(200, body=b'{"user_id": "u-7"}'))
    grant = {"access_token": "fake-a", "refresh_token": "fake-r", "expires_at": desk.clock.wall + 600}
    made = await desk.ready("kimi", grant)
    assert made.record.facts == {"device_id": "fake-device-1", "region": "global"}
    assert made.record.subject == "u-7"
    assert (desk.asked[0].headers["X-Msh-Device-Id"], desk.asked[0].url) == (
        "fake-device-1",
        "https://api.kimi.ai/coding/v1/me",
    )


@pytest.mark.parametrize(
    ("tool", "document"),
    [
        ("xai", {"https://auth.x.ai::theirs": {"key": "fake-a", "refresh_token": "fake-r", "email": "a@example.com"}}),
        ("claude-code", {"claudeAiOauth": {"accessToken": "fake-a", "refreshToken": "fake-r", "clientId": "theirs"}}),
    ],
)
async def test_a_grant_is_renewed_as_the_client_it_was_given_to(tmp_path: Path, tool: str, document: object) -> None:
    desk = Desk(tmp_path)
    made = await desk.ready(tool, document, online=False)
    _, file = made.provider.create(made.record, made.client, desk.clock.now())
    assert made.provider.client_of(json.loads(json.dumps(file))) == Client("theirs")


async def test_a_setup_token_is_told_from_a_login_and_its_profile_is_not_asked_for(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = await desk.ready("claude-code", golden("claude-code", "setup-token.json"))
    assert desk.asked == []
    name, file = made.provider.create(made.record, made.client, desk.clock.now())
    assert (file["is_setup_token"], "refresh_token" in file) == (True, False)
    assert made.provider.read(file, name).facts["scope_kind"] == "setup-token"


async def test_githubs_own_host_is_not_asked_about_a_companys_token(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    made = await desk.ready("copilot", {"ghe.example.com:Iv1.x": {"oauth_token": "fake"}})
    assert desk.asked == []
    assert made.record.facts["host"] == "ghe.example.com"


async def test_a_provider_that_does_not_answer_is_a_note(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HttpResponse(500), HttpResponse(500), HttpResponse(500))
    made = await desk.ready("claude-code", claude(600, desk.clock))
    assert "could not be asked whose login this is" in made.notes[0]


async def test_a_google_login_whose_registration_is_not_to_be_had_is_taken_over_and_told(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HttpResponse(401))
    made = await desk.ready("gemini-cli", {**golden("gemini-cli", "oauth_creds.json"), "expiry_date": 1})
    assert made.notes[0].startswith("It cannot be renewed yet: ")
    assert "could not be asked whose login this is" in made.notes[1]
    assert made.record.tokens.refresh_token == Secret("fake-refresh-1")


async def test_a_token_that_stays_good_is_renewed_to_learn_a_name(tmp_path: Path) -> None:
    grant = {"access_token": "fake-access-2", "expires_in": 3599}
    person, loaded = {"email": "ann@example.com"}, {"currentTier": {"id": "x"}, "cloudaicompanionProject": "my-project"}
    answers = [HttpResponse(200, body=json.dumps(each).encode()) for each in (grant, person, loaded)]
    desk = Desk(tmp_path, *answers, config='[providers.gemini]\nclient_secret_env = "FAKE_SECRET"\n')
    made = await desk.ready("gemini-cli", {**golden("gemini-cli", "oauth_creds.json"), "expiry_date": 1})
    assert made.notes == ("Project my-project was chosen by Google, tier x.",)
    assert made.record.account.label.startswith("ann@example.com")
    assert made.record.facts["project_id"] == "my-project"
    assert made.record.tokens.refresh_token == Secret("fake-refresh-1")
    assert [each.url.split("/")[-1].split(":")[-1] for each in desk.asked] == ["token", "userinfo", "loadCodeAssist"]


async def test_blank_and_strange_files_of_cliproxyapis(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for document, said in (
        (
            {"type": "claude", "access_token": "", "refresh_token": "", "email": "a@example.com"},
            "neither access_token nor refresh_token",
        ),
        ({"type": "codex", "access_token": " ", "refresh_token": None}, "neither access_token nor refresh_token"),
        (
            {"type": "gemini", "token": {"access_token": "", "refresh_token": ""}},
            "neither access_token nor refresh_token",
        ),
        ({"type": "of-tomorrow", "access_token": "fake"}, "no provider here"),
        ({"type": "claude", "access_token": 7}, "access_token"),
    ):
        refused = await desk.adopt("cliproxyapi", document)
        assert isinstance(refused, Refused), document
        assert said in refused.reason


async def test_a_file_of_cliproxyapis_is_taken_whole(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    document = golden("cliproxyapi", "claude-ann@example.com.json")
    made = await desk.ready("cliproxyapi", document)
    assert made.document == document
    assert made.notes == ()
    assert desk.asked == []


@pytest.mark.parametrize(
    ("tool", "document"),
    [
        ("qwen", {**golden("qwen", "oauth_creds.json"), "resource_url": "evil.example"}),
        ("cliproxyapi", {"type": "qwen", "access_token": "fake", "email": "a@example.com", "resource_url": "https://evil.example/v1"}),
        ("cliproxyapi", {"type": "antigravity", "access_token": "fake", "email": "a@example.com", "base_url": "https://evil.example"}),
        ("copilot", {"evil.example:Iv1.x": {"user": "octocat", "oauth_token": "fake"}}),
    ],
)  # fmt: skip
async def test_a_file_that_would_send_tokens_elsewhere_says_so(tmp_path: Path, tool: str, document: object) -> None:
    for online in (False, True):
        made = await Desk(tmp_path, *[HttpResponse(500)] * 9).ready(tool, document, online=online)
        assert any("its tokens go to evil.example" in note for note in made.notes)


@pytest.mark.parametrize(
    ("tool", "document"),
    [
        ("claude-code", {"claudeAiOauth": {"accessToken": "fake-a", "refreshToken": "fake-r", "tokenUrl": "https://evil.example", "baseUrl": "https://evil.example"}}),
        ("codex", {"tokens": {"access_token": "a", "refresh_token": "r"}, "base_url": "https://evil.example", "token_endpoint": "https://evil.example"}),
        ("gemini-cli", {"access_token": "a", "refresh_token": "r", "token_uri": "https://evil.example", "base_url": "https://evil.example"}),
        ("xai", {"https://evil.example::c": {"key": "a", "refresh_token": "r", "oidc_issuer": "https://evil.example", "token_endpoint": "https://evil.example"}}),
        ("kimi", {"access_token": "a", "refresh_token": "r", "oauth_host": "https://evil.example", "base_url": "https://evil.example"}),
        ("kiro", {"accessToken": "a", "refreshToken": "r", "authMethod": "social", "tokenEndpoint": "https://evil.example", "region": "x.evil.example/"}),
        ("antigravity", {"token": {"access_token": "a", "refresh_token": "r", "token_uri": "https://evil.example"}, "base_url": "https://evil.example"}),
        ("antigravity-proxy", {"accounts": [{"refreshToken": "r", "base_url": "https://evil.example"}]}),
    ],
)  # fmt: skip
async def test_no_address_of_a_native_file_is_copied(tmp_path: Path, tool: str, document: object) -> None:
    """Qwen's `resource_url` and Copilot's host are the two exceptions; both are told."""
    made = await Desk(tmp_path).ready(tool, document, online=False)
    created = json.dumps(made.provider.create(made.record, made.client, Desk(tmp_path).clock.now())[1])
    assert "https://evil.example" not in created
    if tool == "kiro":
        created = ""  # a region is checked before it becomes part of an address: tests/providers/test_kiro.py
    assert "evil.example" not in created
    assert made.provider.endpoints == build({}).get(made.provider.name).endpoints


async def test_a_discovery_that_was_refused_stays_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    refused = Refused("is not JSON")
    assert await desk.adopter.adopt(Discovery(CODEX, tmp_path / "x", refused), online=True) is refused
