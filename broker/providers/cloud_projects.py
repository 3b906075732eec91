"""The Google Cloud projects of a login: which there are, and whether one may be used with Code Assist.

Owns: the two questions to Cloud Resource Manager and Service Usage, whose answers only help a person along. It must never fail a login, and never change a
project: enabling a service is its owner's to do.
"""

from collections.abc import Mapping
from urllib.parse import quote, urlsplit, urlunsplit

from broker.model.secret import Secret
from broker.oauth.failures import FlowFailedError
from broker.oauth.messages import Flow, HttpRequest
from broker.providers import fields
from broker.providers.answers import parsed
from broker.providers.base import Document

SERVICE = "cloudaicompanion.googleapis.com"
_HOST, _GOOGLE = "cloudcode-pa.googleapis.com", ".googleapis.com"
_NOTHING: Document = {}


def listed(api_url: str, bearer: Secret) -> Flow[tuple[str, ...]]:
    """Return the ids of the projects the login can see and use; none where Google does not tell."""
    found = (yield from _asked(_beside(api_url, "cloudresourcemanager") + "/v1/projects", bearer)).get("projects")
    projects = [each for each in (found if isinstance(found, list) else []) if isinstance(each, Mapping)]
    usable = (each for each in projects if each.get("lifecycleState", "ACTIVE") == "ACTIVE")
    return tuple(name for each in usable if (name := fields.hint(each, "projectId")) and name.isprintable())


def enabled(api_url: str, project: str, bearer: Secret) -> Flow[bool | None]:
    """Tell whether the service behind Code Assist is enabled in a project; None where Google does not tell."""
    url = f"{_beside(api_url, 'serviceusage')}/v1/projects/{quote(project, safe='')}/services/{SERVICE}"
    state = (yield from _asked(url, bearer)).get("state")
    return state == "ENABLED" if state in ("ENABLED", "DISABLED") else None


def _asked(url: str, bearer: Secret) -> Flow[Document]:
    try:
        answer = yield HttpRequest("GET", url, headers={"Accept": "application/json"}, bearer=bearer)
    except FlowFailedError:
        return _NOTHING
    return parsed(answer) if answer.status == 200 else _NOTHING


def _beside(api_url: str, api: str) -> str:
    """Return the address of another of Google's APIs: its own host where `api_url` is Google's, else the same host."""
    parts = urlsplit(api_url.rstrip("/"))
    return urlunsplit(parts._replace(netloc=api + _GOOGLE) if parts.netloc == _HOST else parts)
