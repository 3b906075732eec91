"""Whether two logins are the same one.

Owns: the one rule, by which a second login updates the account it belongs to, and two files of one login become one account. It must never look at a label
or a file name first: people choose those.

A person is told by what the provider vouches for: an id of its own, the subject, the e-mail address, the first of them that both logins have. One
person has several logins where a fact sets them apart: a Google project, a workspace, an organization, a host.
"""

from collections.abc import Mapping

import msgspec

from broker.model.account import Record


class _Rule(msgspec.Struct, frozen=True):
    """`person` names what tells people apart, best first (`subject`, `email`, or a fact); `apart` the facts that set logins of one person apart."""

    person: tuple[str, ...] = ("subject", "email")
    apart: tuple[str, ...] = ("project_id", "account_id", "base_url")


_USUAL = _Rule()
_ONE_EACH = _Rule(apart=())
_NAMED = _Rule(person=(), apart=())
"""API keys: a key does not tell whose it is, so the name people gave it decides."""
_RULES: Mapping[str, _Rule] = {
    "gemini": _Rule(apart=("project_id",)),
    "antigravity": _Rule(apart=("project_id",)),
    "claude": _Rule(person=("account_uuid", "subject", "email"), apart=("organization_uuid", "scope_kind")),
    # The account id is the workspace's, which its members share; the subject differs with the way one signs in to the same account.
    "codex": _Rule(person=("email", "subject"), apart=("account_id",)),
    # Their base URLs follow the login, not the person.
    "qwen": _ONE_EACH,
    "iflow": _ONE_EACH,
    "kimi": _Rule(apart=("region",)),
    "xai": _ONE_EACH,
    "github-copilot": _Rule(apart=("host",)),
    # A profile's ARN is shared by everybody who logs in with a Builder ID.
    "kiro": _Rule(apart=("start_url", "profile_arn")),
    "vertex": _Rule(person=("client_email", "subject", "email"), apart=("project_id",)),
    "gemini-api": _NAMED,
    "openai-api": _NAMED,
    "anthropic-api": _NAMED,
    "openai-compatible": _NAMED,
    "anthropic-compatible": _NAMED,
}


def same_login(one: Record, other: Record) -> bool:
    """Tell whether two records are the same login: one person, and nothing known of both that sets them apart.

    Where nothing tells who either is, the account's name decides.
    """
    if one.account.provider != other.account.provider:
        return False
    rule = _RULES.get(one.account.provider, _USUAL)
    if any(_differ(one.facts.get(fact), other.facts.get(fact)) for fact in rule.apart):
        return False
    pairs = ((_told(one, name), _told(other, name)) for name in rule.person)
    known = next(((mine, theirs) for mine, theirs in pairs if mine and theirs), None)
    return one.account == other.account if known is None else known[0] == known[1]


def _told(record: Record, name: str) -> str | None:
    match name:
        case "subject":
            return record.subject
        case "email":
            return record.email.casefold() if record.email else None
        case _:
            return record.facts.get(name)


def _differ(mine: str | None, theirs: str | None) -> bool:
    return bool(mine and theirs) and mine != theirs
