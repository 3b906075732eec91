"""The steps after a login with Google's Code Assist: who it is, which tier, which project.

Owns: the dialogue of userinfo, `loadCodeAssist` and `onboardUser`, and what their refusals mean for a person. It must never ask for a token.

Facts from gemini-cli (setup) and CLIProxyAPI (login) as published; Google documents none of this.
"""

from collections.abc import Mapping

from broker.model.account import Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.discovery import acceptable_url
from broker.oauth.failures import FlowFailedError, Misconfigured, Permanent
from broker.oauth.messages import Flow, HttpRequest, HttpResponse, PacedFlow, Pause
from broker.oauth.sorting import clean, sort_failure
from broker.providers import cloud_projects, fields, jwt
from broker.providers.base import Document, Endpoints, Identity

API = "/v1internal"
_METADATA = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "GEMINI"}
_FREE_TIER = "free-tier"
_LEGACY_TIER = "legacy-tier"
_STANDARD_TIER = "standard-tier"
_POLL_SECONDS = 5.0
_SHOWN = 10  # projects: an organisation may have thousands
_CLOSED = (
    "The service {service} is not enabled in project {project}, and requests are refused until it is. "
    "Run: gcloud services enable {service} --project {project}"
)
_POLLS = 24  # two minutes: gemini-cli users report seconds; a person is waiting


def identify(endpoints: Endpoints, tokens: Tokens, now: Now, project: str | None) -> PacedFlow[Identity]:
    """Find the e-mail address and the project of a new login; `project` may name several, with commas between.

    Raises:
        FlowFailedError: `Permanent` where Google says that this account may not use the service, with Google's reason;
            `Misconfigured` where a project is needed and none was named; else as the answers say.
    """
    bearer = tokens.access_token
    if not bearer:
        raise FlowFailedError(Permanent("no_token", "the login brought no access token"))
    email, subject = yield from person(endpoints, tokens, bearer, now)
    if not endpoints.api_url:
        return Identity(email, subject, {"project_id": project} if project else {})
    facts, notes = yield from _projects(endpoints.api_url.rstrip("/") + API, bearer, project, now)
    return Identity(email, subject, facts, notes)


def person(endpoints: Endpoints, tokens: Tokens, bearer: Secret, now: Now) -> Flow[tuple[str | None, str | None]]:
    """Return the e-mail address and the subject of a login; raises FlowFailedError."""
    claims = jwt.claims(tokens.id_token)
    email, subject = jwt.text_claim(claims, "email"), jwt.text_claim(claims, "sub")
    if email or not endpoints.userinfo_url:
        return email, subject
    answer = yield HttpRequest("GET", endpoints.userinfo_url, headers={"Accept": "application/json"}, bearer=bearer)
    found = parsed(answer)
    if answer.status != 200 or found is None:
        raise FlowFailedError(sort_failure(answer, now))
    return fields.hint(found, "email"), subject or fields.hint(found, "id") or fields.hint(found, "sub")


def post(base: str, method: str, body: Mapping[str, object], bearer: Secret) -> HttpRequest:
    """Return a call of the API's own RPC style: `:method` on `base`."""
    return HttpRequest("POST", base + method, headers={"Accept": "application/json"}, json=body, bearer=bearer)


def expected(answer: HttpResponse, now: Now) -> Document:
    """Return the object in an answer; raises FlowFailedError, `Permanent` for a 403: it is about the account or its project, and stays so."""
    found = parsed(answer)
    if answer.status != 200 or found is None:
        failure = sort_failure(answer, now)
        if answer.status != 403:
            raise FlowFailedError(failure)
        link = _verification(found or {})
        where = f". Open {link} to verify the account, and log in again" if link else ""
        raise FlowFailedError(Permanent("setup_refused", f"{failure.reason}{where}"))
    return found


def parsed(answer: HttpResponse) -> Document | None:
    """Return the object in an answer; None where there is none."""
    return answer.document()


def finished(operation: Document) -> str | None:
    """Return the project in the result of a long-running operation that is done; raises FlowFailedError where it failed."""
    failure = operation.get("error")
    if isinstance(failure, Mapping):
        said = clean(fields.hint(failure, "message") or "no reason given")
        raise FlowFailedError(Permanent("onboarding_failed", f"Google did not set up the account: {said}"))
    response = operation.get("response")
    return project_id(response.get("cloudaicompanionProject")) if isinstance(response, Mapping) else None


def tier_id(tier: object) -> str | None:
    """Return the id of a tier; None where there is none."""
    return fields.hint(tier, "id") if isinstance(tier, Mapping) else None


def project_id(value: object) -> str | None:
    """Return the id of a project, told as text or as an object; None where none is told."""
    if isinstance(value, Mapping):
        return fields.hint(value, "id")
    return value if isinstance(value, str) and value else None


def ineligible(loaded: Document) -> tuple[str, ...]:
    """Return Google's reasons why tiers are closed to the account, a sentence each."""
    tiers = loaded.get("ineligibleTiers")
    found: list[str] = []
    for tier in tiers if isinstance(tiers, list) else []:
        if isinstance(tier, Mapping):
            said = clean(fields.hint(tier, "reasonMessage") or fields.hint(tier, "reasonCode") or "")
            link = fields.hint(tier, "validationUrl")
            where = f" Open {link} to verify the account." if link and link.startswith("https://") else ""
            name = fields.hint(tier, "tierName") or fields.hint(tier, "tierId") or "A tier"
            found.append(f"{name} is not open to this account: {said.rstrip('.') or 'no reason given'}.{where}")
    return tuple(dict.fromkeys(found))


def refused(notes: tuple[str, ...], service: str = "Code Assist") -> FlowFailedError:
    """Return the failure of an account that may not use the service at all."""
    return FlowFailedError(
        Permanent("ineligible", f"Google does not let this account use {service}. " + " ".join(notes))
    )


def _verification(refusal: Document) -> str | None:
    """Return where Google wants the account verified in a browser: a refusal with the reason VALIDATION_REQUIRED says so in its details."""
    error = refusal.get("error")
    details = error.get("details") if isinstance(error, Mapping) else None
    listed = [each for each in (details if isinstance(details, list) else []) if isinstance(each, Mapping)]
    if all(each.get("reason") != "VALIDATION_REQUIRED" for each in listed):
        return None
    told = [each.get("metadata") for each in listed]
    told += [link for each in listed if isinstance(links := each.get("links"), list) for link in links]
    found = (each.get("validation_link") or each.get("url") for each in told if isinstance(each, Mapping))
    return next((link for link in found if isinstance(link, str) and acceptable_url(link) and link.isprintable()), None)


def _projects(
    base: str, bearer: Secret, named: str | None, now: Now
) -> PacedFlow[tuple[dict[str, str], tuple[str, ...]]]:
    """Set up every project the user named; one where none was named, or one."""
    several: list[str | None] = [*(named or "").replace(",", " ").split()]
    found: list[str] = []
    notes: tuple[str, ...] = ()
    for name in several or [None]:
        project, told = yield from _project(base, bearer, name, now)
        found.append(project)
        notes += told
    found = list(dict.fromkeys(found))
    facts = {"project_id": found[0], **({"projects": ",".join(found)} if len(found) > 1 else {})}
    return facts, tuple(dict.fromkeys(notes))


def _project(base: str, bearer: Secret, project: str | None, now: Now) -> PacedFlow[tuple[str, tuple[str, ...]]]:
    loaded = yield from _load(base, bearer, project, now)
    notes = ineligible(loaded)
    current = tier_id(loaded.get("currentTier"))
    known = project_id(loaded.get("cloudaicompanionProject")) or project
    if current is None:
        tier = _default_tier(loaded)
        if tier is None:
            raise refused(notes)
        onboarded = yield from _onboard(base, bearer, tier, project, now)
        current, known = tier, onboarded or known
    api_url = base.removesuffix(API)
    if known is None:
        raise _no_project(current, (yield from cloud_projects.listed(api_url, bearer)), notes)
    tier_shown = tier_id(loaded.get("paidTier")) or current
    chosen = f"Project {known} was {'chosen by you' if known == project else 'chosen by Google'}, tier {tier_shown}."
    if known == project and (yield from cloud_projects.enabled(api_url, known, bearer)) is False:
        notes = (_CLOSED.format(service=cloud_projects.SERVICE, project=known), *notes)
    return known, (chosen, *notes)


def _load(base: str, bearer: Secret, project: str | None, now: Now) -> Flow[Document]:
    body: dict[str, object] = {"metadata": _metadata(project)}
    if project:
        body["cloudaicompanionProject"] = project
    answer = yield post(base, ":loadCodeAssist", body, bearer)
    if answer.status == 403 and b"SECURITY_POLICY_VIOLATED" in answer.body:
        # A VPC service perimeter hides the answer; only organisations with a standard licence have one.
        return {"currentTier": {"id": _STANDARD_TIER}}
    return expected(answer, now)


def _onboard(base: str, bearer: Secret, tier: str, project: str | None, now: Now) -> PacedFlow[str | None]:
    """Sign the account up for a tier and wait for the long-running operation; return the project Google made or took."""
    body: dict[str, object] = {"tierId": tier, "metadata": _metadata(None if tier == _FREE_TIER else project)}
    if project and tier != _FREE_TIER:  # with a project the free tier answers "Precondition Failed"
        body["cloudaicompanionProject"] = project
    operation = expected((yield post(base, ":onboardUser", body, bearer)), now)
    for _ in range(_POLLS):
        if operation.get("done") is True:
            return finished(operation)
        yield Pause(_POLL_SECONDS)
        name = fields.hint(operation, "name")
        again = (
            HttpRequest("GET", f"{base}/{name}", headers={"Accept": "application/json"}, bearer=bearer)
            if name and _safe_name(name)
            else post(base, ":onboardUser", body, bearer)
        )
        operation = expected((yield again), now)
    raise FlowFailedError(
        Permanent("onboarding_timeout", "Google did not finish setting up the account within two minutes; log in again")
    )


def _metadata(project: str | None) -> dict[str, object]:
    return {**_METADATA, **({"duetProject": project} if project else {})}


def _safe_name(name: str) -> bool:
    return not name.startswith("/") and ".." not in name and all(c.isalnum() or c in "/-_." for c in name)


def _default_tier(loaded: Document) -> str | None:
    """Return the tier to sign up for: the default one, the legacy tier where Google names tiers but no default; None where none is open."""
    tiers = loaded.get("allowedTiers")
    allowed = [tier for tier in tiers if isinstance(tier, Mapping)] if isinstance(tiers, list) else []
    if not allowed and ineligible(loaded):
        return None
    return next((tier_id(tier) for tier in allowed if tier.get("isDefault") is True), None) or _LEGACY_TIER


def _no_project(tier: str, projects: tuple[str, ...], notes: tuple[str, ...]) -> FlowFailedError:
    need = f"The tier {tier} needs a Google Cloud project of your own: log in again with --project PROJECT_ID."
    more = f" and {len(projects) - _SHOWN} more" if len(projects) > _SHOWN else ""
    yours = (f"Yours are {', '.join(projects[:_SHOWN])}{more}.",) if projects else ()
    return FlowFailedError(Misconfigured("project_required", " ".join((need, *yours, *notes))))
