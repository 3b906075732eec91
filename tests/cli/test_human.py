import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from broker.cli import results
from broker.cli.human import layout
from broker.cli.network_results import Ways, WayTried
from broker.cli.requests_results import RequestLine, RequestList, RequestShown
from broker.cli.usage_listing import short
from broker.cli.usage_results import KeyLimit, LimitsOf, SessionLine, UsageLine, Used
from broker.doctor.catalogue import CATALOGUE
from broker.doctor.finding import Finding as Fault
from broker.doctor.finding import SetMode, Severity, mendable
from broker.doctor.mend import Repair
from broker.ipc.config_view import ReloadAnswer
from broker.ipc.network_schema import NetworkRoute, NetworkTestAnswer
from broker.ipc.schema import (
    AccountQuota,
    AccountView,
    Cooldown,
    Health,
    ImportAnswer,
    ImportedLogin,
    LoginView,
    LogoutAnswer,
    QuotaWindow,
    problem_of,
)
from broker.model.errors import BrokerError, ErrorCode
from broker.proxy.usage_limits import Window
from broker.service.steps import Action, Step, UnitState
from tests.cli.conftest import NOW, QUOTA, views

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"

HEALTH = Health(
    status="degraded", version="0.1.0", pid=4242, uptime=7300.0, accounts={"active": 2, "needs_login": 1},
    problems=("the auth directory cannot be written",), protections={"peer_uid": True, "private_folder": False},
    directories=("/home/alice/.ccs/cliproxy/auth",),
)  # fmt: skip
DOWN = results.ProxyState("http://127.0.0.1:8317", reachable=False, detail="not running")
LOGIN = LoginView(
    id="x", provider="gemini", state="done", flow="code", account="gemini/alice@example.com", file="gemini-alice.json",
    notes=("Using project fake-project.",),
)  # fmt: skip

CI = results.KeyLine("ci", ("gemini-*", "claude/*"), 60, int(NOW) - 7200, int(NOW) + 86_400 * 30, expired=False)
PLAIN = results.KeyLine("laptop", (), None, int(NOW) - 60, None, expired=False)
OVER = results.KeyLine("guest", ("*",), 1, int(NOW) - 86_400, int(NOW) - 60, expired=True)

CASES: dict[str, results.Result] = {
    "accounts": results.Accounts(views(), NOW),
    "accounts-none": results.Accounts((), NOW),
    "quota": results.Quotas(
        (
            results.QuotaOf("gemini/alice@example.com", QUOTA),
            results.QuotaOf("acme/bob", AccountQuota(account="acme/bob", read_at=NOW)),
            results.QuotaOf(
                "own/key",
                None,
                problem_of(BrokerError(ErrorCode.UNSUPPORTED, "Own has no way to ask for plan and limits")),
            ),
            results.QuotaOf(
                "own/late", None, problem_of(BrokerError(ErrorCode.QUOTA_UNAVAILABLE, "the provider did not tell"))
            ),
        ),
        NOW,
    ),
    "network": Ways(
        (
            NetworkRoute(level="global", source="network.proxy_url", proxy="http://proxy.example:3128"),
            NetworkRoute(level="provider", source="providers.codex.proxy_url", provider="codex"),
            NetworkRoute(
                level="account",
                source="proxy_url in its file",
                provider="codex",
                account="codex/a",
                fault="names no host",
            ),
            NetworkRoute(
                level="account",
                source="proxy_url in its file",
                provider="codex",
                account="codex/b",
                proxy="socks5h://b.example:1080",
            ),
        )
    ),
    "network-tried": WayTried(
        NetworkTestAnswer(target="a.example:443", level="none", source="no proxy is set", ok=True, seconds=0.0421)
    ),
    "network-failed": WayTried(
        NetworkTestAnswer(
            target="a.example:443",
            level="environment",
            source="HTTPS_PROXY",
            ok=False,
            seconds=1.0,
            proxy="http://p.example:80",
            error="cannot connect to a.example through the proxy p.example:80 (timed out)",
        )
    ),
    "quota-none": results.Quotas((), NOW),
    "changed": results.Changed("renewed", views()[0], NOW),
    "changed-paused": results.Changed("paused", msgspec.structs.replace(views()[0], state="paused"), NOW),
    "status": results.Status(HEALTH, None, "/run/user/1000/ccs-broker/broker.sock", views(), DOWN, NOW),
    "status-no-daemon": results.Status(None, "no daemon answers", "/run/broker.sock", (), DOWN, NOW),
    "logged-in": results.LoggedIn(LOGIN),
    "logged-out": results.LoggedOut(
        LogoutAnswer(account="gemini/a", revoked=False, detail="the provider did not answer")
    ),
    "logged-out-revoked": results.LoggedOut(LogoutAnswer(account="gemini/a", revoked=True)),
    "imported": results.Imported(
        ImportAnswer(
            logins=(
                ImportedLogin(
                    tool="claude-code",
                    title="Claude Code",
                    path="/home/ann/.claude/.credentials.json",
                    provider="claude",
                    account="claude/ann@example.com",
                    action="added",
                    rotates=True,
                    notes=("Claude Code and ccs-broker now both renew this login.",),
                ),
                ImportedLogin(
                    tool="codex",
                    title="Codex",
                    path="/home/ann/.codex/auth.json",
                    provider="codex",
                    action="refused",
                    reason="auth.json has empty tokens: Codex was logged out there",
                ),
            ),
            dry_run=True,
        )
    ),
    "local-keys": results.LocalKeys("/c/proxy-keys.json", (CI, PLAIN, OVER), NOW),
    "local-keys-none": results.LocalKeys("/c/proxy-keys.json", (), NOW),
    "key-made": results.KeyMade(CI, "ccsb-fake"),
    "key-revoked": results.KeyRevoked("ci"),
    "usage": results.UsageReport(
        "/s/usage.db",
        NOW - 86_400 * 30,
        NOW,
        ("account", "model"),
        (
            UsageLine(
                Used(1234, 12, 3, 40, 12_345_678, 234_567, 9_876_543, 12_000, 2, 14_000.0, 1222, 611.0),
                account="claude/alice@example.com",
                model="claude-sonnet-4-5",
            ),
            UsageLine(Used(2, 0, 0, 0, 30, 12, 0, 0, 0, 1.5, 2, 0.5), account="gemini/bob", model="gemini-2.5-pro"),
            UsageLine(Used(1, 1, 0, 0, 0, 0, 0, 0, 0, 0.01, 0, 0.0), account="none", model="gpt-5"),
        ),
        Used(1237, 13, 3, 40, 12_345_708, 234_579, 9_876_543, 12_000, 2, 14_001.51, 1224, 611.5),
    ),
    "usage-one": results.UsageReport(
        "/s/usage.db",
        NOW - 3600,
        NOW,
        ("day",),
        (UsageLine(Used(2, 0, 0, 0, 30, 12, 0, 0, 0, 25.0, 2, 0.5), day="2025-06-15"),),
        Used(2, 0, 0, 0, 30, 12, 0, 0, 0, 25.0, 2, 0.5),
    ),
    "usage-none": results.UsageReport(
        "/s/usage.db", NOW - 3600, NOW, ("key",), (), Used(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0.0)
    ),
    "sessions": results.Sessions(
        (SessionLine("0a1b2c3d4e5f", "ci", "claude/alice@example.com", "claude-sonnet-4-5", 17, NOW - 7000, NOW - 20),),
        NOW,
    ),
    "sessions-none": results.Sessions((), NOW),
    "limits": results.Limits(
        (
            LimitsOf(
                "claude/alice@example.com",
                NOW - 40,
                (
                    Window("unified-5h", used=0.97, resets_at=NOW + 3000, status="allowed_warning"),
                    Window("requests", 50, 40, 0.2, NOW - 5),
                    Window("tokens", limit=1000),
                    Window("input-tokens", remaining=7),
                    Window("bare"),
                ),
                {"anthropic-ratelimit-unified-representative-claim": "five_hour"},
                {},
                (Cooldown("opus", NOW + 90, "quota"), Cooldown(None, NOW + 9, "slow")),
            ),
            LimitsOf("gemini/bob", None, (), {}, {}, (Cooldown(None, NOW + 60, "429"),)),
        ),
        (KeyLimit("ci", 60, 12),),
        None,
        NOW,
    ),
    "limits-none": results.Limits((), (), "no daemon answers", NOW),
    "imported-nothing": results.Imported(ImportAnswer()),
    "service-change": results.ServiceChange(
        "systemd",
        (
            Step(Action.WROTE, "/u/ccs-broker.service"),
            Step(Action.SKIPPED, "sandbox.conf", "a user namespace cannot be made here"),
            Step(Action.RAN, "systemctl --user daemon-reload"),
        ),
        "To keep them running while you are logged out: loginctl enable-linger alice",
    ),
    "service-nothing": results.ServiceChange("systemd", ()),
    "service-status": results.ServiceStatus(
        "systemd",
        (
            UnitState("ccs-broker.service", "/u/ccs-broker.service", True, True, "active (running)", 42),
            UnitState("ccs-broker.socket", "/u/ccs-broker.socket", True, False, "active (listening)"),
            UnitState("ccs-broker-proxy.service", "/u/ccs-broker-proxy.service", False, False, "inactive (dead)"),
        ),
    ),
    "settings": results.Settings(
        "/home/alice/.config/ccs-broker/config.toml",
        False,
        (results.Setting("proxy.port", 8317, "8317", default=True),),
    ),
    "checked": results.Checked(
        "/c.toml",
        (
            results.Finding("config", "/c.toml"),
            results.Finding("auth directory", "/auth", "/auth cannot be written", "Mend its permissions."),
        ),
    ),
    "checked-faults": results.Checked(
        "/c.toml",
        (),
        (
            results.ConfigFault("/c.toml", 3, None, "proxy.port", "is odd", "/c.toml:3: proxy.port: is odd"),
            results.ConfigFault("/c.toml", 4, 2, None, "no value", "/c.toml:4:2: no value"),
        ),
    ),
    "reloaded": results.Reloaded(
        ReloadAnswer(generation="abc", changed=("proxy.deny", "logging.level"), pending=("proxy.port",))
    ),
    "reloaded-nothing": results.Reloaded(ReloadAnswer(generation="abc")),
    "settings-running": results.Settings(
        "/c.toml",
        True,
        (
            results.Setting("proxy.port", 8317, "8317", True, "default", "9000"),
            results.Setting("proxy.host", "a", '"a"', False, "line 4"),
        ),
        running=True,
        problem="/c.toml:9: proxy.workers: is odd",
    ),
    "checked-well": results.Checked("/c.toml", (results.Finding("config", "/c.toml"),)),
    "doctor": results.Diagnosis(
        ("auth-dir-mode", "broken-copies", "disk-space"),
        (
            Fault("broken-copies", Severity.INFO, "A copy of a broken file", "Run: rm /a.1", "/a.1"),
            mendable(
                "auth-file-mode", Severity.ERROR, "Other users can get at a login.", SetMode(Path("/b.json"), 0o600)
            ),
            Fault("disk-space", Severity.WARNING, "The file system has 10.0 MiB left", "Free some."),
        ),
        (Repair("auth-dir-mode", "chmod 700 /auth"), Repair("socket-stale", "rm /run/a", "somebody listens there now")),
    ),
    "doctor-notes": results.Diagnosis(
        ("no-accounts",), (Fault("no-accounts", Severity.INFO, "There is no login yet", "Run: ccs-broker login"),)
    ),
    "doctor-well": results.Diagnosis(("disk-space",), ()),
    "doctor-list": results.Checks(CATALOGUE[:2]),
    "images": results.Images(
        ("out/image_20250615_151320_1.png",), "out/metadata_20250615_151320.json", "m", "Here you go.", 12.34
    ),
    "image-failed": results.ImageFailed("the model answered with text only (STOP)", "m", text="I cannot draw."),
    "text": results.Text("as it is"),
    "requests": RequestList(
        "/log",
        True,
        (
            RequestLine(
                "Ab-2",
                "2025-06-15T15:13:20.123Z",
                12.34,
                "Messages",
                "claude-sonnet-4-5",
                "ci",
                200,
                "cut",
                ("claude/12345678", "claude/9abcdef0"),
                3,
                "/log/b",
            ),
            RequestLine(
                "Ab-1", "2025-06-15T15:13:19.000Z", 0.01, "ChatCompletions", None, None, 404, "refused", (), 0, "/log/a"
            ),
        ),
    ),
    "requests-off": RequestList("/log", False, ()),
    "request": RequestShown(
        "/log/20250615T151320.123Z-Ab-2-200",
        {
            "client-request": "POST /v1/messages HTTP/1.1\nx-api-key: [hidden]\n\n{}",
            "summary.json": '{\n  "id": "\x1b[31mAb-2"\n}\n',
        },
    ),
}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times of day stand in some results."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def rendered(result: results.Result, width: int = 120) -> str:
    console = Console(width=width, no_color=True, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        for part in layout(result):
            console.print(part, crop=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_a_person_reads(name: str) -> None:
    assert rendered(CASES[name]) == (GOLDEN / f"{name}.txt").read_text()


def test_a_command_in_a_sentence_is_not_broken() -> None:
    note = "This login was known already. To give it another name: ccs-broker rename gemini/work LABEL"
    told = results.LoggedIn(msgspec.structs.replace(LOGIN, notes=(note,)))
    assert note in rendered(told, width=40).splitlines()


@pytest.mark.parametrize("width", [20, 40, 80, 110, 200])
def test_usage_is_not_cut_at_any_width(width: int) -> None:
    shown = rendered(CASES["usage"], width=width)
    assert all(len(line) <= width for line in shown.splitlines())
    assert "claude-sonnet-4-5" in "".join(shown.split())
    assert "12.3M" in shown


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9999, "9,999"),
        (10_000, "10.0k"),
        (999_949, "999.9k"),
        (999_950, "1.0M"),
        (12_345_678, "12.3M"),
        (10**16, "10,000.0T"),
    ],
)
def test_numbers_are_short(number: int, text: str) -> None:
    assert short(number) == text


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(CASES)


def test_every_result_has_a_layout() -> None:
    from typing import get_args

    assert {type(case) for case in CASES.values()} == set(get_args(results.Result))


def test_foreign_text_is_shown_as_text() -> None:
    view = AccountView(
        account="own/[red]x[/red]", provider="own", label="[red]x[/red]", state="active", generation=1, reason="\x1b[2J:smile:\nnext",
    )  # fmt: skip
    shown = rendered(results.Accounts((view,), NOW))
    assert "own/[red]x[/red]" in shown
    assert "?[2J:smile: next" in shown


@pytest.mark.parametrize("width", [20, 30, 60, 80, 99, 100, 120, 200])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    shown = rendered(results.Accounts(views(), NOW), width=width)
    assert all(len(line) <= width for line in shown.splitlines())
    flat = "".join(shown.split())
    for said in (
        "gemini/alice@example.com",
        "needs_login",
        "active,disabled",
        "in42min",
        "18minago",
        "sharedwithclaude-code",
    ):
        if width < 100:  # in a table, words of several columns stand in one line
            assert said in flat
    assert "carol" in flat


def test_a_narrow_terminal_gets_a_block_an_account() -> None:
    assert rendered(results.Accounts(views(), NOW), width=80).splitlines()[:4] == [
        "gemini/alice@example.com *",
        "  active, expires in 42 min, renewed 18 min ago, next in 37 min",
        "  project fake-project",
        "  quota 2 min ago: Standard, requests 97 % used, gemini-2.5-pro 25 % used",
    ]


def test_a_list_names_the_fullest_limits_only() -> None:
    windows = tuple(QuotaWindow(name=f"model-{n}", used=n / 10) for n in range(5))
    view = AccountView(
        account="a/b", provider="a", label="b", state="active", generation=1,
        quota=AccountQuota(account="a/b", read_at=NOW, windows=windows),
    )  # fmt: skip
    shown = rendered(results.Accounts((view,), NOW), width=80)
    assert "quota now: model-4 40 % used, model-3 30 % used, 3 more" in shown


def test_a_narrow_quota_has_no_bars() -> None:
    shown = rendered(CASES["quota"], width=59)
    assert "█" not in shown
    assert "25 %" in shown
    assert all(len(line) <= 59 for line in shown.splitlines())


def test_a_limit_that_began_anew_says_so_and_one_overdrawn_is_full() -> None:
    told = AccountQuota(account="a/b", read_at=NOW, windows=(QuotaWindow(name="w", used=1.3, resets_at=NOW - 5),))
    shown = rendered(results.Quotas((results.QuotaOf("a/b", told),), NOW))
    assert "██████████  130 %  has begun anew" in shown


def test_what_is_no_result_has_no_layout() -> None:
    with pytest.raises(TypeError, match="no layout for int"):
        layout(3)
