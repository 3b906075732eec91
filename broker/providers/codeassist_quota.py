"""What Google's Code Assist tells of an account's limits.

Owns: asking `retrieveUserQuota` (Gemini CLI) and `fetchAvailableModels` (Antigravity), and reading their answers. An answer that cannot be read
is a note, never an error: the shapes are those that gemini-cli, CLIProxyAPI and CCS read, and Google documents none of them.
"""

import math
from collections.abc import Iterator, Mapping

from broker.model.clock import Now
from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import Flow, HttpResponse
from broker.oauth.sorting import clean, sort_failure
from broker.providers import codeassist, fields, timestamps
from broker.providers.base import Document, Quota, QuotaWindow

_NAME_MAX = 80
_UNREADABLE = "Google's answer holds no limits that could be read."


def by_bucket(base: str, bearer: Secret | None, project: str | None, now: Now) -> Flow[Quota]:
    """Ask for the limits of Gemini CLI: a window for each model.

    Raises:
        FlowFailedError: Google refused.
    """
    if not bearer:
        return Quota(notes=("There is no access token to ask with.",))
    body = {"project": project} if project else {}
    answer = yield codeassist.post(base, ":retrieveUserQuota", body, bearer)
    return _quota(_bucket(each) for each in _items(_checked(answer, now).get("buckets")))


def by_model(base: str, bearer: Secret | None, project: str | None, now: Now) -> Flow[Quota]:
    """Ask for the limits of Antigravity: a window for each model that has one.

    Raises:
        FlowFailedError: Google refused.
    """
    if not bearer:
        return Quota(notes=("There is no access token to ask with.",))
    body = {"project": project} if project else {}
    answer = yield codeassist.post(base, ":fetchAvailableModels", body, bearer)
    models = _checked(answer, now).get("models")
    return _quota(_model(name, each) for name, each in (models.items() if isinstance(models, Mapping) else ()))


def _checked(answer: HttpResponse, now: Now) -> Document:
    if answer.status != 200:
        raise FlowFailedError(sort_failure(answer, now))
    return codeassist.parsed(answer) or {}


def _quota(windows: Iterator[QuotaWindow | None]) -> Quota:
    found = tuple(window for window in windows if window is not None)
    return Quota(windows=found, notes=() if found else (_UNREADABLE,))


def _items(value: object) -> Iterator[Document]:
    return (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else iter(())


def _bucket(bucket: Document) -> QuotaWindow | None:
    name = fields.hint(bucket, "modelId")
    if name is None:
        return None
    amount, kind = fields.hint(bucket, "remainingAmount"), fields.hint(bucket, "tokenType") or ""
    return _window(name, bucket, clean(f"{amount} {kind.lower()} left".replace("  ", " ")) if amount else None)


def _model(name: str, model: object) -> QuotaWindow | None:
    told = model.get("quotaInfo") if isinstance(model, Mapping) else None
    if not isinstance(model, Mapping) or not isinstance(told, Mapping):
        return None
    return _window(fields.hint(model, "displayName") or name, told, None)


def _window(name: str, told: Document, note: str | None) -> QuotaWindow:
    resets = timestamps.read(told.get("resetTime"))
    return QuotaWindow(_shown(name), _used(told.get("remainingFraction")), resets.seconds if resets else None, note)


def _shown(name: str) -> str:
    # Not `clean`, which would take a long model name for a credential.
    return "".join(c for c in name if c.isprintable())[:_NAME_MAX]


def _used(left: object) -> float | None:
    if isinstance(left, bool) or not isinstance(left, (int, float)) or not math.isfinite(left):
        return None
    return min(max(1.0 - left, 0.0), 1.0)
