import json
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from broker.cli import results
from broker.cli.exits import Exit
from broker.cli.network_results import Ways, WayTried
from broker.cli.requests_results import RequestLine, RequestList, RequestShown
from broker.cli.results import document, exit_of
from broker.cli.usage_results import KeyLimit, LimitsOf, SessionLine, UsageLine, Used
from broker.doctor.catalogue import CATALOGUE
from broker.doctor.finding import Finding as Fault
from broker.doctor.finding import SetMode, Severity, mendable
from broker.doctor.mend import Repair
from broker.ipc.config_view import ReloadAnswer
from broker.ipc.network_schema import NetworkRoute, NetworkTestAnswer
from broker.ipc.schema import Health, ImportAnswer, ImportedLogin, LoginView, LogoutAnswer
from broker.proxy.usage_limits import Window
from broker.service.steps import Action, Step, UnitState
from tests.cli.conftest import NOW, QUOTA, views

HEALTH = Health(status="ok", version="0.1.0", pid=7, uptime=61.0, accounts={"active": 2})
PROXY = results.ProxyState("http://127.0.0.1:8317", reachable=True, detail="ok")
UNIT = UnitState(
    "ccs-broker.service", "/u/ccs-broker.service", installed=True, current=True, state="active (running)", pid=9
)
NOTE = Fault("broken-copies", Severity.INFO, "A copy", "Run: rm /a", "/a")
OPEN = mendable("auth-dir-mode", Severity.ERROR, "It is open", SetMode(Path("/a"), 0o700))

LOGIN = ImportedLogin(
    tool="claude-code", title="Claude Code", path="/home/ann/.claude/.credentials.json", provider="claude", action="added"
)  # fmt: skip


KEY = results.KeyLine("ci", ("gemini-*",), 60, 1_700_000_000, None, expired=False)
USED = Used(3, 1, 0, 1, 1200, 340, 0, 0, 0, 4.5, 2, 1.5)

EVERY: dict[type, tuple[results.Result, set[str]]] = {
    results.Text: (results.Text("a"), {"text"}),
    results.Accounts: (results.Accounts(views(), NOW), {"accounts", "now"}),
    results.Changed: (results.Changed("renewed", views()[0], NOW), {"done", "account", "now"}),
    results.Quotas: (results.Quotas((results.QuotaOf(QUOTA.account, QUOTA),), NOW), {"accounts", "now"}),
    results.Status: (
        results.Status(HEALTH, None, "/run/broker.sock", views(), PROXY, NOW),
        {"health", "reason", "socket", "accounts", "proxy", "now"},
    ),
    results.LoggedIn: (
        results.LoggedIn(LoginView(id="x", provider="gemini", state="done", flow="code", account="gemini/a")),
        {"id", "provider", "state", "flow", "account", "file", "notes", "url", "redirect_uri", "user_code", "expires_at", "problem"},
    ),
    results.LoggedOut: (results.LoggedOut(LogoutAnswer(account="gemini/a", revoked=True)), {"account", "revoked", "detail"}),
    results.Imported: (results.Imported(ImportAnswer(logins=(LOGIN,))), {"adopted", "refused", "logins", "dry_run"}),
    results.LocalKeys: (results.LocalKeys("/k.json", (KEY,), NOW), {"file", "keys", "now"}),
    results.KeyMade: (results.KeyMade(KEY, "ccsb-fake"), {"key", "text"}),
    results.KeyRevoked: (results.KeyRevoked("ci"), {"revoked"}),
    results.UsageReport: (
        results.UsageReport("/u.db", NOW - 60, NOW, ("key",), (UsageLine(USED, key="ci"),), USED),
        {"file", "since", "until", "by", "lines", "total"},
    ),
    results.Sessions: (results.Sessions((SessionLine("abc", "ci", "gemini/a", "m", 2, NOW - 9, NOW),), NOW), {"sessions", "now"}),
    results.Limits: (
        results.Limits((LimitsOf("gemini/a", NOW, (Window("5h"),), {}, {"x-codex-a": "b"}, ()),), (KeyLimit("ci", 60, 59),), None, NOW),
        {"accounts", "keys", "reason", "now"},
    ),
    RequestList: (
        RequestList("/log", True, (RequestLine("a-1", "2026-11-21T19:23:58.123Z", 1.5, "Messages", "m", "ci", 200, "ok", ("gemini/1",), 1, "/log/x"),)),
        {"directory", "enabled", "requests"},
    ),
    RequestShown: (RequestShown("/log/x", {"client-request": "GET / HTTP/1.1"}), {"folder", "files"}),
    results.ServiceChange: (
        results.ServiceChange("systemd", (Step(Action.RAN, "systemctl"),), "hint"), {"manager", "steps", "hint"},
    ),
    results.ServiceStatus: (results.ServiceStatus("systemd", (UNIT,)), {"manager", "units"}),
    results.Settings: (
        results.Settings("/c.toml", True, (results.Setting("proxy.port", 8317, "8317", default=True),)),
        {"file", "exists", "settings", "running", "problem", "origins", "pending"},
    ),
    results.Reloaded: (results.Reloaded(ReloadAnswer(generation="abc")), {"generation", "changed", "pending"}),
    results.Checked: (results.Checked("/c.toml", (results.Finding("config", "fine"),)), {"file", "findings", "faults"}),
    results.Diagnosis: (results.Diagnosis(("disk-space",), (NOTE,), (Repair("auth-dir-mode", "chmod 700 /a"),)), {"checked", "findings", "repairs"}),
    results.Checks: (results.Checks(CATALOGUE), {"checks"}),
    results.Images: (results.Images(("a.png",), "m.json", "m", "", 1.5), {"files", "metadata", "model", "text", "seconds"}),
    results.ImageFailed: (results.ImageFailed("blocked", "m"), {"type", "title", "detail", "model", "status", "text"}),
    Ways: (
        Ways((NetworkRoute(level="none", source="no proxy is set"),)),
        {"routes"},
    ),
    WayTried: (
        WayTried(NetworkTestAnswer(target="a:443", level="none", source="no proxy is set", ok=True, seconds=0.1)),
        {"target", "level", "source", "ok", "seconds", "proxy", "error"},
    ),
}  # fmt: skip


def test_every_result_is_here() -> None:
    assert set(EVERY) == set(get_args(results.Result))


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_documents_are_versioned_json_with_known_members(kind: type) -> None:
    result, members = EVERY[kind]
    made = json.loads(json.dumps(document(result)))
    assert made["version"] == 1
    assert set(made) - {"version"} == members


def test_an_import_fails_where_nothing_could_be_taken_over() -> None:
    refused = msgspec.structs.replace(LOGIN, action="refused", reason="is not JSON")
    assert exit_of(results.Imported(ImportAnswer(logins=(refused,)))) is Exit.FAILURE
    assert exit_of(results.Imported(ImportAnswer(logins=(LOGIN, refused)))) is Exit.OK
    assert exit_of(results.Imported(ImportAnswer())) is Exit.OK


def test_accounts_look_as_on_the_socket() -> None:
    made = document(EVERY[results.Accounts][0])
    (first, *_) = made["accounts"]  # type: ignore[misc]
    assert first["account"] == "gemini/alice@example.com"
    assert first["facts"] == {"project_id": "fake-project"}


def test_findings_say_everything_but_how_they_are_mended_inside() -> None:
    assert document(results.Diagnosis(("auth-dir-mode",), (OPEN,)))["findings"] == [
        {
            "id": "auth-dir-mode", "group": "auth files", "severity": "error", "what": "It is open", "where": "/a", "mend": "Run: chmod 700 /a",
            "fixable": True,
        }
    ]  # fmt: skip


def test_settings_are_a_table() -> None:
    assert document(EVERY[results.Settings][0])["settings"] == {"proxy.port": 8317}


@pytest.mark.parametrize(
    "kind", [kind for kind in EVERY if kind is not results.ImageFailed], ids=lambda kind: kind.__name__
)
def test_a_result_without_a_fault_ends_with_0(kind: type) -> None:
    assert exit_of(EVERY[kind][0]) is Exit.OK


def test_some_quota_is_better_than_none() -> None:
    told, silent = results.QuotaOf(QUOTA.account, QUOTA), results.QuotaOf("a/b", None)
    assert exit_of(results.Quotas((silent, told), NOW)) is Exit.OK
    assert exit_of(results.Quotas((), NOW)) is Exit.OK


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (results.Status(None, "no daemon", "/s", (), PROXY, NOW), Exit.UNREACHABLE),
        (results.Checked("/c", (results.Finding("a", "b"), results.Finding("c", "d", "broken"))), Exit.FAILURE),
        (results.Diagnosis(("auth-dir-mode",), (NOTE, OPEN)), Exit.FAILURE),
        (results.ServiceStatus("systemd", (UNIT, UnitState("x", "/x", False, False, "inactive"))), Exit.FAILURE),
        (results.ImageFailed("blocked", "m"), Exit.FAILURE),
        (results.Quotas((results.QuotaOf("a/b", None), results.QuotaOf("a/c", None)), NOW), Exit.FAILURE),
    ],
)
def test_a_result_with_a_fault_says_so_to_scripts(result: results.Result, code: Exit) -> None:
    assert exit_of(result) is code
