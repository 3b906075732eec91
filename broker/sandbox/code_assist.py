"""Code Assist's own messages: the envelope around a Gemini request, and the setup calls.

Owns: reading them strictly and asking `companions`. It must never speak HTTP.
"""

from dataclasses import dataclass

import msgspec

from broker.sandbox.companions import Companions
from broker.sandbox.gemini_request import convert, read_count
from broker.sandbox.rpc import RpcError


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # The last three are sent by another client of the service.
    model: str
    request: dict[str, object]
    project: str | None = None
    userPromptId: str | None = None  # noqa: N815 - as `convert` spells user_prompt_id
    enabledCreditTypes: list[str] = []  # noqa: N815
    requestId: str | None = None  # noqa: N815
    userAgent: str | None = None  # noqa: N815
    requestType: str | None = None  # noqa: N815


class _Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    request: dict[str, object]


class _Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    metadata: dict[str, object] = {}
    cloudaicompanion_project: str | None = None
    mode: str | None = None


class _Onboard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    tier_id: str
    metadata: dict[str, object] = {}
    cloudaicompanion_project: str | None = None


class _Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    project: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Enveloped:
    """What an envelope holds."""

    model: str
    project: str | None
    request: dict[str, object]


def open_envelope(body: object) -> Enveloped:
    """Read the body of generateContent or streamGenerateContent.

    Raises:
        RpcError: 400.
    """
    read = convert(body, _Envelope)
    return Enveloped(read.model, read.project, read.request)


def setup(companions: Companions, user: str, method: str, body: object, reset_time: str) -> dict[str, object]:
    """Answer the calls that generate nothing. `reset_time` is when quotas start anew, RFC 3339.

    Raises:
        RpcError: 400 for a malformed body, 404 for an unknown method, and what `companions` refuses.
    """
    match method:
        case "loadCodeAssist":
            return companions.load(user, convert(body, _Load).cloudaicompanion_project)
        case "onboardUser":
            wish = convert(body, _Onboard)
            return companions.onboard(user, wish.tier_id, wish.cloudaicompanion_project)
        case "retrieveUserQuota":
            convert(body, _Quota)
            return companions.quota(user, reset_time)
        case "countTokens":
            return counted(convert(body, _Count).request)
        case _:
            raise RpcError(404, f"Method {method} was not found.")


def counted(body: object) -> dict[str, object]:
    """Answer countTokens.

    Raises:
        RpcError: 400.
    """
    return {"totalTokens": read_count(body)}
