"""Kiro's API after a login: the profile, who it is, and what is left of the plan.

Owns: the three calls and reading their answers, whose shapes are known from other clients only. It must never fail a login for what it could not read.
"""

import re
from collections.abc import Iterator, Mapping

from broker.model.account import Record, Tokens
from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError, Permanent
from broker.oauth.messages import Flow, HttpRequest
from broker.oauth.sorting import clean
from broker.providers import answers, fields, timestamps
from broker.providers.base import Document, Identity, Quota, QuotaWindow

REGION = "us-east-1"

_SERVICE = "AmazonCodeWhispererService"
_PROFILE = re.compile(r"arn:[a-z-]+:codewhisperer:([a-z0-9-]+):\d*:profile/[A-Za-z0-9_-]+")
_UNNAMED = "Kiro did not tell whose login this is."


def identify(url: str, tokens: Tokens) -> Flow[Identity]:
    """Find the profile and the person.

    Raises:
        FlowFailedError: `Permanent` where the account is suspended.
    """
    bearer = tokens.access_token
    facts = dict(tokens.facts)
    if "profile_arn" not in facts:
        for operation in ("ListProfiles", "ListAvailableCustomizations"):
            answer = yield _call(url, operation, {}, bearer, REGION)
            if found := next(_profiles(answers.parsed(answer)), None):
                facts["profile_arn"] = found
                break
    answer = yield _usage(url, bearer, facts)
    if answer.status in {401, 403, 423} and b"SUSPENDED" in answer.body.upper():
        said = clean(fields.hint(answers.parsed(answer), "message") or "it is suspended")
        raise FlowFailedError(Permanent("suspended", f"Kiro does not let this account in: {said}"))
    person = answers.parsed(answer).get("userInfo")
    told = person if isinstance(person, Mapping) else {}
    email, subject = fields.hint(told, "email"), fields.hint(told, "user_id")
    return Identity(email, subject, facts, () if email or subject else (_UNNAMED,))


def quota(url: str, record: Record, now: Now) -> Flow[Quota]:
    """Ask for the plan and its limits; raises FlowFailedError."""
    answer = yield _usage(url, record.tokens.access_token, record.facts)
    found = answers.expected(answer, now)
    subscription = found.get("subscriptionInfo")
    plan = fields.hint(subscription, "subscription_title") if isinstance(subscription, Mapping) else None
    listed = found.get("usageBreakdownList")
    resets = timestamps.read(found.get("nextDateReset"))
    windows = tuple(
        _window(one, resets.seconds if resets else None)
        for one in (listed if isinstance(listed, list) else [])
        if isinstance(one, Mapping)
    )
    return Quota(plan, windows, () if windows else ("Kiro's answer about limits could not be read.",))


def _window(one: Document, resets_at: float | None) -> QuotaWindow:
    used, limit = (
        answers.amount(value if (value := one.get(f"{name}WithPrecision")) is not None else one.get(name))
        for name in ("currentUsage", "usageLimit")
    )
    note = f"{used:g} of {limit:g} used" if used is not None and limit is not None else None
    own = timestamps.read(one.get("nextDateReset"))
    name = fields.hint(one, "display_name") or fields.hint(one, "resource_type") or "usage"
    return QuotaWindow(clean(name), answers.share(used, limit), own.seconds if own else resets_at, note)


def _usage(url: str, bearer: Secret | None, facts: Mapping[str, str]) -> HttpRequest:
    profile = facts.get("profile_arn")
    body = {"origin": "AI_EDITOR", "resourceType": "AGENTIC_REQUEST", "isEmailRequired": True}
    arn = _PROFILE.fullmatch(profile) if profile else None
    return _call(
        url, "GetUsageLimits", {**body, **({"profileArn": profile} if arn else {})}, bearer, arn[1] if arn else REGION
    )


def _call(url: str, operation: str, body: Mapping[str, object], bearer: Secret | None, region: str) -> HttpRequest:
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": f"{_SERVICE}.{operation}",
    }
    where = url.replace("{region}", region)
    return HttpRequest("POST", where, headers=headers, json=body, bearer=bearer)


def _profiles(found: Document) -> Iterator[str]:
    """Yield the profiles an answer lists, whatever it calls the list and the field."""
    for listed in found.values():
        for one in listed if isinstance(listed, list) else []:
            for name in ("profile_arn", "arn"):
                arn = fields.hint(one, name) if isinstance(one, Mapping) else None
                if arn and _PROFILE.fullmatch(arn):
                    yield arn
