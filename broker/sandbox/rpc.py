"""Errors in the shape Google's APIs give them.

Owns: `RpcError` and its JSON. Source: google.rpc.Status and its detail types, as the public API documentation describes them.
"""

from collections.abc import Mapping, Sequence

_STATUS_NAMES: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TYPE = "type.googleapis.com/google.rpc."
_DOMAIN = "cloudcode-pa.googleapis.com"


class RpcError(Exception):
    """A refusal by an API: HTTP status, canonical status name, sentence, details."""

    def __init__(
        self, code: int, message: str, *, status: str | None = None, details: Sequence[Mapping[str, object]] = ()
    ) -> None:
        """Carry them; `status` defaults to the name that goes with the code."""
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS_NAMES.get(code, "UNKNOWN")
        self.details = tuple(details)

    def body(self) -> dict[str, object]:
        """Return the JSON of the answer."""
        error: dict[str, object] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = [dict(detail) for detail in self.details]
        return {"error": error}


def unauthenticated() -> RpcError:
    """Return what an expired, revoked or unknown access token gets."""
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential."
    )
    return RpcError(401, message, details=[error_info("ACCESS_TOKEN_EXPIRED", {"service": _DOMAIN})])


def invalid(message: str) -> RpcError:
    """Return what a malformed request gets."""
    return RpcError(400, message)


def rate_limited(seconds: float, reason: str, model: str | None) -> RpcError:
    """Return a 429 whose details say when to come back and why."""
    delay = f"{seconds:g}s"
    quota_id = "SandboxRequestsPerDay" if reason == "QUOTA_EXHAUSTED" else "SandboxRequestsPerMinute"
    return RpcError(
        429,
        f"You have exhausted your capacity on this model. Your quota will reset after {delay}.",
        details=[
            error_info(reason, {"model": model or "", "quotaResetDelay": delay}),
            {"@type": f"{_TYPE}RetryInfo", "retryDelay": delay},
            {"@type": f"{_TYPE}QuotaFailure", "violations": [{"quotaId": quota_id}]},
        ],
    )


def error_info(reason: str, metadata: Mapping[str, str]) -> dict[str, object]:
    """Return a google.rpc.ErrorInfo detail."""
    return {"@type": f"{_TYPE}ErrorInfo", "reason": reason, "domain": _DOMAIN, "metadata": dict(metadata)}


def told_to_fail(status: int, model: str | None) -> RpcError:
    """Return the error an API gives with a status when it is told to fail."""
    if status == 401:
        return unauthenticated()
    if status == 429:
        return rate_limited(1.0, "RATE_LIMIT_EXCEEDED", model)
    return RpcError(status, f"The sandbox was told to answer {status}.")
