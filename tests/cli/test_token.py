import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cli import token
from broker.cli.token import plain, quote, render
from broker.ipc.schema import Lease, encode
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from tests.fakes.socket_desk import SocketDesk

LEASE = Lease(
    account="gemini/alice@example.com", provider="gemini", generation=4, access_token=Secret("fake-access-1"),
    expires_at=1_750_003_600.0, facts={"project_id": "fake-project"},
)  # fmt: skip
WHERE = "GET /v1/lease/gemini/alice%40example.com"


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("gemini", ("gemini", "raw", 60.0, 10.0)),
        ("gemini/a --format env", ("gemini/a", "env", 60.0, 10.0)),
        ("--format=json gemini --min-validity=360 --max-wait 2.5", ("gemini", "json", 360.0, 2.5)),
        ("gemini --json", ("gemini", "json", 60.0, 10.0)),
        ("gemini --format header --format raw", ("gemini", "raw", 60.0, 10.0)),
    ],
)
def test_plain_forms_are_read_at_once(line: str, read: tuple[str, str, float, float]) -> None:
    assert plain(line.split()) == read


@pytest.mark.parametrize(
    "line",
    [
        "", "--help", "gemini --help", "gemini other", "gemini --format", "gemini --format xml", "gemini --min-validity", "gemini --min-validity x",
        "gemini --min-validity -1", "gemini --max-wait nan", "gemini --max-wait inf", "/label", "gemini/", "-h", "--json", "gemini -- x", "gemini --json=1",
    ],
)  # fmt: skip
def test_everything_else_is_left_to_click(line: str) -> None:
    assert plain(line.split(" ")) is None
    assert token.run(line.split(" ")) is None


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("raw", "fake-access-1"),
        ("header", "Authorization: Bearer fake-access-1"),
        ("env", "export CCS_BROKER_TOKEN=fake-access-1"),
    ],
)
def test_forms(form: str, text: str) -> None:
    assert render({"access_token": "fake-access-1", "token_type": "Bearer"}, form) == text


def test_the_json_form_is_versioned() -> None:
    assert json.loads(render({"access_token": "fake-access-1", "generation": 4}, "json")) == {
        "version": 1, "access_token": "fake-access-1", "generation": 4,
    }  # fmt: skip


def test_a_token_type_of_its_own_is_kept() -> None:
    assert render({"access_token": "t", "token_type": "MAC"}, "header") == "Authorization: MAC t"
    assert render({"access_token": "t", "token_type": ""}, "header") == "Authorization: Bearer t"


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_a_shell_reads_the_token_back(text: str) -> None:
    line = render({"access_token": text}, "env")
    assert line.startswith("export CCS_BROKER_TOKEN=")
    assert _unquoted(line.partition("=")[2]) == text


def _unquoted(word: str) -> str:
    import shlex

    (text,) = shlex.split(word)
    return text


def test_a_real_shell_reads_the_token_back() -> None:
    nasty = "a'b\"c $(echo no) `x` \\ ;&"
    line = render({"access_token": nasty}, "env")
    shell = subprocess.run(
        ["sh", "-c", 'eval "$0"; printf %s "$CCS_BROKER_TOKEN"', line], capture_output=True, text=True, check=True
    )
    assert shell.stdout == nasty


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_quote_is_undone_by_anyone(text: str) -> None:
    assert unquote(quote(text)) == text
    assert "/" not in quote(text)


def test_the_daemon_is_asked_on_the_token_socket(desk: SocketDesk) -> None:
    desk.replies[WHERE] = LEASE
    answer = token.fetch("gemini/alice@example.com", 360.0, 2.5)
    assert answer["access_token"] == "fake-access-1"
    (asked,) = desk.asked
    assert (asked.socket, asked.target) == (
        "token.sock", "/v1/lease/gemini/alice%40example.com?min_validity=360&max_wait=2.5",
    )  # fmt: skip


def test_a_refusal_keeps_code_sentence_and_hint(desk: SocketDesk) -> None:
    desk.replies["GET /v1/lease/gemini"] = BrokerError(
        ErrorCode.LOGIN_REQUIRED, "gone", hint="Run: ccs-broker login gemini", account="gemini/a"
    )
    with pytest.raises(BrokerError) as caught:
        token.fetch("gemini", 60, 1)
    error = caught.value
    assert (error.code, error.detail, error.hint, error.account) == (
        ErrorCode.LOGIN_REQUIRED, "gone", "Run: ccs-broker login gemini", "gemini/a",
    )  # fmt: skip


@pytest.mark.parametrize("body", [{"code": "brand_new"}, {}])
def test_a_refusal_of_a_newer_daemon_is_still_an_error(desk: SocketDesk, body: dict[str, object]) -> None:
    desk.reply = lambda request: (503, json.dumps(body).encode())  # type: ignore[method-assign]
    with pytest.raises(BrokerError, match="503 without saying why") as caught:
        token.fetch("gemini", 60, 1)
    assert caught.value.code is ErrorCode.INTERNAL


def test_run_prints_and_ends(desk: SocketDesk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.replies[WHERE] = LEASE
    assert token.run(["gemini/alice@example.com", "--format", "header"]) == 0
    assert capsys.readouterr().out == "Authorization: Bearer fake-access-1\n"


def test_run_tells_failures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert token.run(["gemini"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ccs-broker: no daemon answers at ")
    assert "\n  Start it: ccs-broker serve" in captured.err


def test_run_tells_failures_as_json(desk: SocketDesk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.replies["GET /v1/lease/gemini"] = BrokerError(ErrorCode.DEADLINE_EXCEEDED, "not yet")
    assert token.run(["gemini", "--json"]) == 6
    problem = json.loads(capsys.readouterr().out)
    assert (problem["version"], problem["code"], problem["detail"]) == (1, "deadline_exceeded", "not yet")


FORBIDDEN = (
    "click",
    "rich",
    "msgspec",
    "asyncio",
    "argparse",
    "aiohttp",
    "http.client",
    "urllib.request",
    "ssl",
    "logging",
    "uvloop",
    "tomllib",
)

FOR_NOTHING = (
    *FORBIDDEN,
    "json",
    "re",
    "enum",
    "typing",
    "dataclasses",
    "pathlib",
    "socket",
    "selectors",
    "collections",
)
"""What even the interpreter's own start does without: each of them takes longer to load than the request takes."""

PROBE = """
import sys
from broker.__main__ import main
sys.argv = ["ccs-broker", "token", *{arguments!r}]
try:
    main()
except SystemExit as end:
    print(end.code, *sorted(set(sys.modules) & set({forbidden!r})), file=sys.stderr)
"""


def fresh(*arguments: str, forbidden: tuple[str, ...] = FORBIDDEN) -> subprocess.CompletedProcess[str]:
    code = PROBE.format(arguments=arguments, forbidden=forbidden)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("form", token.FORMATS)
def test_the_short_way_imports_nothing_heavy(desk: SocketDesk, form: str) -> None:
    desk.replies[WHERE] = LEASE
    ended = fresh("gemini/alice@example.com", "--format", form)
    assert ended.stderr == "0\n"
    assert "fake-access-1" in ended.stdout


@pytest.mark.parametrize("form", ["raw", "env"])
def test_a_token_alone_is_printed_with_what_is_loaded_anyway(desk: SocketDesk, form: str) -> None:
    desk.replies[WHERE] = LEASE
    ended = fresh("gemini/alice@example.com", "--format", form, forbidden=FOR_NOTHING)
    assert ended.stderr == "0\n"
    assert "fake-access-1" in ended.stdout


NAMED_LIKE_IT = '","access_token":"not-it'


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=1), st.booleans())
def test_a_token_is_found_without_reading_json_as_with_it(access_token: str, spaced: bool) -> None:
    lease = msgspec.structs.replace(
        LEASE,
        account=f"gemini/{NAMED_LIKE_IT}",
        access_token=Secret(access_token),
        facts={NAMED_LIKE_IT: "x", "access_token": "y"},
    )
    data = encode(lease)
    if spaced:
        data = json.dumps(json.loads(data)).encode()
    assert token._wanted(data, "raw") == access_token
    assert token._wanted(data, "header") == f"Authorization: Bearer {access_token}"


def test_the_short_way_stays_short_when_it_fails(home: Path) -> None:
    assert fresh("gemini").stderr.splitlines()[-1] == "4"


def test_help_is_clicks(home: Path) -> None:
    ended = fresh("--help")
    assert "Usage: ccs-broker token" in ended.stdout
    assert ended.stderr.split()[:2] == ["0", "click"]


def test_a_reader_that_hangs_up_is_no_failure_to_shout_about(desk: SocketDesk) -> None:
    desk.replies[WHERE] = LEASE
    line = f'set -o pipefail; "{sys.executable}" -m broker token gemini/alice@example.com | :'
    ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 1)
    assert ended.stderr == ""
