"""What commands return: frozen values with everything a person or a script may want to know.

Owns: the shapes, and their JSON form (`document`): an object whose `version` is raised when a field changes its meaning. It must never print, and
never hold a secret but one that was asked for (`Text`, `KeyMade`). Messages of the socket contract appear in the JSON as they are on the socket.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broker.cli.exits import Exit
from broker.cli.network_results import Ways, WayTried
from broker.cli.requests_results import RequestList, RequestShown
from broker.cli.usage_results import Limits, Sessions, UsageReport

if TYPE_CHECKING:
    from broker.doctor.catalogue import Check
    from broker.doctor.finding import Finding as Fault
    from broker.doctor.mend import Repair
    from broker.ipc.config_view import ReloadAnswer
    from broker.ipc.schema import AccountQuota, AccountView, Health, ImportAnswer, LoginView, LogoutAnswer, Problem
    from broker.service.steps import Step, UnitState

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Text:
    """Lines for stdout as they are: a completion script, a token in the form asked for."""

    text: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """`list`. `now` is when they were read, in wall-clock seconds."""

    accounts: "tuple[AccountView, ...]"
    now: float


@dataclass(frozen=True, slots=True)
class Changed:
    """`pause`, `resume`, `clear-cooldown`, `refresh`, `default`, `rename`: the account afterwards; `done` is what was done to it, as a verb in the past."""

    done: str
    account: "AccountView"
    now: float


@dataclass(frozen=True, slots=True)
class QuotaOf:
    """What a provider told of one account; or, with `quota` None, why it did not."""

    account: str
    quota: "AccountQuota | None"
    problem: "Problem | None" = None


@dataclass(frozen=True, slots=True)
class Quotas:
    """`quota`. `now` is when the answers were there, in wall-clock seconds."""

    accounts: tuple[QuotaOf, ...]
    now: float


@dataclass(frozen=True, slots=True)
class ProxyState:
    """Whether something answers as our proxy at `url`, and what it says of itself."""

    url: str
    reachable: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Status:
    """`status`: both processes and every account. `health` is None where no daemon answers; `reason` then says why."""

    health: "Health | None"
    reason: str | None
    socket: str
    accounts: "tuple[AccountView, ...]"
    proxy: ProxyState
    now: float


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`login`: how it ended well."""

    login: "LoginView"


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """`logout`."""

    answer: "LogoutAnswer"


@dataclass(frozen=True, slots=True)
class Imported:
    """`import`: what was found, and what was done with it."""

    answer: "ImportAnswer"


@dataclass(frozen=True, slots=True)
class KeyLine:
    """What is known of a local key. `created` and `expires` are wall-clock seconds, `rpm` requests a minute; no models means all."""

    name: str
    models: tuple[str, ...]
    rpm: int | None
    created: int
    expires: int | None
    expired: bool


@dataclass(frozen=True, slots=True)
class LocalKeys:
    """`key list`. `now` is when they were read, in wall-clock seconds."""

    file: str
    keys: tuple[KeyLine, ...]
    now: float


@dataclass(frozen=True, slots=True)
class KeyMade:
    """`key add`. `text` is the key itself, which was asked for and is told this once."""

    key: KeyLine
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRevoked:
    """`key revoke`."""

    revoked: str


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """`service install` and `service uninstall`: what was done, step by step, and what the person may want to do now."""

    manager: str
    steps: "tuple[Step, ...]"
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`service status`."""

    manager: str
    units: "tuple[UnitState, ...]"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it stands: its dotted name, its value as TOML, whether it is the default, and in words where it comes from.

    `pending` is what the file says, as TOML, where that needs a restart.
    """

    name: str
    value: object
    toml: str
    default: bool
    origin: str = "default"
    pending: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """`config show`. `file` is where the config is looked for; `running` says whether these are the daemon's, in force, or those of the file."""

    file: str
    exists: bool
    settings: tuple[Setting, ...]
    running: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """`config reload`."""

    answer: "ReloadAnswer"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing `config check` looked at. `problem` is None where all is well; `line` is where the file says what is at fault."""

    subject: str
    detail: str
    problem: str | None = None
    hint: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """What is wrong with the file, and where: a setting's `key`, or for what is no TOML the `column`."""

    file: str
    line: int | None
    column: int | None
    key: str | None
    text: str
    said: str


@dataclass(frozen=True, slots=True)
class Checked:
    """`config check`. With `faults` in the file nothing else was looked at."""

    file: str
    findings: tuple[Finding, ...]
    faults: tuple[ConfigFault, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`doctor`: the ids of the checks made, what is wrong (after the repairs, where there were any), and what was mended."""

    checked: tuple[str, ...]
    findings: "tuple[Fault, ...]"
    repairs: "tuple[Repair, ...]" = ()


@dataclass(frozen=True, slots=True)
class Checks:
    """`doctor --list`."""

    checks: "tuple[Check, ...]"


@dataclass(frozen=True, slots=True)
class Images:
    """`image`: the files written. `text` is what the model said besides; `seconds` how long it took."""

    files: tuple[str, ...]
    metadata: str
    model: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ImageFailed:
    """`image`: no image came. `status` is the proxy's HTTP status where that was an error; `text` what the model said instead."""

    detail: str
    model: str
    status: int | None = None
    text: str = ""


Result = (
    Text
    | Accounts
    | Changed
    | Quotas
    | Status
    | LoggedIn
    | LoggedOut
    | Imported
    | LocalKeys
    | KeyMade
    | KeyRevoked
    | UsageReport
    | Sessions
    | Limits
    | RequestList
    | RequestShown
    | ServiceChange
    | ServiceStatus
    | Settings
    | Reloaded
    | Checked
    | Diagnosis
    | Checks
    | Ways
    | WayTried
    | Images
    | ImageFailed
)


def exit_of(result: Result) -> Exit:
    """Return how the program ends after `result`: a query that finds something wrong says so to scripts too."""
    match result:
        case Status(health=None):
            return Exit.UNREACHABLE
        case Checked(faults=(_, *_)):
            return Exit.USAGE
        case Checked(findings=findings):
            bad = any(each.problem for each in findings)
        case Diagnosis(findings=faults):
            bad = any(each.severity != "info" for each in faults)
        case ServiceStatus(units=units):
            bad = not all(unit.installed for unit in units)
        case Quotas(accounts=accounts):
            bad = bool(accounts) and all(each.quota is None for each in accounts)
        case WayTried(answer=tried):
            bad = not tried.ok
        case Imported(answer=answer):
            bad = bool(answer.logins) and all(each.action == "refused" for each in answer.logins)
        case _:
            bad = isinstance(result, ImageFailed)
    return Exit.FAILURE if bad else Exit.OK


def document(result: Result) -> dict[str, object]:
    """Return the JSON form of a result."""
    return {"version": VERSION, **_members(result)}


def _members(result: Result) -> dict[str, object]:
    import msgspec

    if isinstance(result, Settings):
        values = {each.name: each.value for each in result.settings}
        origins = {each.name: each.origin for each in result.settings}
        waiting = [each.name for each in result.settings if each.pending is not None]
        about = {"file": result.file, "exists": result.exists, "running": result.running, "problem": result.problem}
        return {**about, "settings": values, "origins": origins, "pending": waiting}
    if isinstance(result, ImageFailed):
        # A problem document (RFC 9457) without a code of ours: the failure is the provider's.
        return {"type": "about:blank", "title": "No image was made", **msgspec.to_builtins(result)}
    if isinstance(result, Diagnosis):
        return _diagnosis(result)
    if isinstance(result, Checked):
        return _checked(result)
    if not isinstance(result, LoggedIn | LoggedOut | Imported | Reloaded | WayTried):
        built: dict[str, object] = msgspec.to_builtins(result)
        return built
    inner: dict[str, object] = msgspec.to_builtins(result.login if isinstance(result, LoggedIn) else result.answer)
    return inner


def _checked(result: Checked) -> dict[str, object]:
    faults = [
        {"file": each.file, "line": each.line, "column": each.column, "key": each.key, "text": each.text}
        for each in result.faults
    ]
    return {"file": result.file, "findings": _built(result.findings), "faults": faults}


def _built(value: object) -> object:
    import msgspec

    return msgspec.to_builtins(value)


def _diagnosis(result: Diagnosis) -> dict[str, object]:
    import msgspec

    from broker.doctor.catalogue import BY_ID

    findings = [
        {
            "id": each.id,
            "group": BY_ID[each.id].group.value,
            "severity": each.severity.value,
            "what": each.what,
            "where": each.where,
            "mend": each.mend,
            "fixable": each.fix is not None,
        }
        for each in result.findings
    ]
    return {"checked": result.checked, "findings": findings, "repairs": msgspec.to_builtins(result.repairs)}
