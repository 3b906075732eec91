"""What Code Assist and its sister services remember of users: tiers, projects, onboarding, enabled services, quota used.

Owns: the rules of loadCodeAssist, onboardUser, the projects list, the service switch and retrieveUserQuota. It must never
look at tokens or speak HTTP.

Fields as public clients of these services read them; what they do not show is invention, kept plausible.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.sandbox.rpc import RpcError, error_info, invalid, rate_limited
from broker.sandbox.settings import SandboxSettings

SERVICE = "cloudaicompanion.googleapis.com"
FREE_TIER = "free-tier"
STANDARD_TIER = "standard-tier"
_DAY_SECONDS = 86400.0
_RETIRED = "This client is no longer supported for individuals; use another product."


@dataclass(slots=True)
class Companions:
    """The state of all users."""

    settings: SandboxSettings
    _projects: dict[str, tuple[str, str]] = field(default_factory=dict)  # user -> (tier, project), once onboarded
    _operations: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # name -> (user, tier, project)
    _enabled: set[str] = field(default_factory=set)
    _used: Counter[tuple[str, str]] = field(default_factory=Counter)

    def own_project(self, user: str) -> str:
        """Return the id of the project the user has in the projects list from the start."""
        return f"sandbox-own-{_short(user)}"

    def managed_project(self, user: str) -> str:
        """Return the id of the project made for a free-tier user at onboarding."""
        return f"sandbox-managed-{_short(user)}"

    def load(self, user: str, wanted: str | None) -> dict[str, object]:
        """Answer loadCodeAssist: the current tier and project of an onboarded user, else the tiers to choose from.

        Raises:
            RpcError: 403 for a project of somebody else.
        """
        if user in self.settings.ineligible_users:
            return {
                "allowedTiers": [],
                "ineligibleTiers": [
                    {"reasonCode": "INELIGIBLE_ACCOUNT", "reasonMessage": _RETIRED, "tierId": FREE_TIER}
                ],
            }
        if wanted is not None:
            self._check_known(user, wanted)
        answer: dict[str, object] = {"allowedTiers": _TIERS, "gcpManaged": False}
        place = self._place(user)
        if place is not None:
            answer |= {"currentTier": {"id": place[0]}, "cloudaicompanionProject": wanted or place[1]}
        return answer

    def onboard(self, user: str, tier: str, project: str | None) -> dict[str, object]:
        """Answer onboardUser: the first time an operation that is not done, the next time the same one, done.

        Raises:
            RpcError: 400 for an unknown tier, a free tier with a project, another tier without; 403 for an ineligible user or
                a project of somebody else.
        """
        if user in self.settings.ineligible_users:
            raise RpcError(403, _RETIRED)
        name = f"operations/onboard-{_short(user + tier + (project or ''))}"
        if name in self._operations:
            return self.operation(user, name)
        self._operations[name] = (user, tier, self._project_for(user, tier, project))
        return {"name": name, "done": False}

    def operation(self, user: str, name: str) -> dict[str, object]:
        """Answer a poll of an operation: onboarding is done by then.

        Raises:
            RpcError: 404 where the user has no such operation.
        """
        owner, tier, project = self._operations.get(name, ("", "", ""))
        if owner != user:
            raise RpcError(404, f"Operation {name} was not found.")
        self._projects[user] = (tier, project)
        response = {
            "@type": "type.googleapis.com/google.internal.cloud.code.v1internal.OnboardUserResponse",
            "cloudaicompanionProject": {"id": project, "name": project, "projectNumber": str(int(_short(project), 16))},
        }
        return {"name": name, "done": True, "response": response}

    def projects(self, user: str) -> dict[str, object]:
        """Answer the projects list of Cloud Resource Manager v1."""
        own = self.own_project(user)
        project = {
            "projectId": own,
            "projectNumber": str(int(_short(own), 16)),
            "name": "Sandbox project",
            "lifecycleState": "ACTIVE",
        }
        return {"projects": [project]}

    def service(self, user: str, project: str) -> dict[str, object]:
        """Answer GET of the service: ENABLED or DISABLED.

        Raises:
            RpcError: 403 for a project of somebody else.
        """
        self._check_known(user, project)
        return self._service(project)

    def enable(self, user: str, project: str) -> dict[str, object]:
        """Switch the service on, and answer the finished operation.

        Raises:
            RpcError: 403 for a project of somebody else.
        """
        self._check_known(user, project)
        self._enabled.add(project)
        return {
            "name": f"operations/enable-{_short(project)}",
            "done": True,
            "response": {"service": self._service(project)},
        }

    def admit(self, user: str, project: str | None, model: str) -> None:
        """Let a generate request in, and count it.

        Raises:
            RpcError: 400 without a project; 403 for one the user may not use, or where the service is off; 429 over the quota.
        """
        if not project:
            raise invalid("A project is required.")
        place = self._place(user)
        if place is None or project not in {place[1], self.own_project(user)}:
            raise _denied(project)
        if project == self.own_project(user) and not self._is_enabled(project):
            message = f"Gemini for Google Cloud API has not been used in project {project} before or it is disabled."
            raise RpcError(403, message, details=[error_info("SERVICE_DISABLED", {"service": SERVICE})])
        self.count(user, model)

    def count(self, user: str, model: str) -> None:
        """Count a request against the quota.

        Raises:
            RpcError: 429 where it is used up; that request is not counted.
        """
        limit = self.settings.quota_requests
        if limit is not None and self._used[user, model] >= limit:
            raise rate_limited(_DAY_SECONDS, "QUOTA_EXHAUSTED", model)
        self._used[user, model] += 1

    def quota(self, user: str, reset_time: str) -> dict[str, object]:
        """Answer retrieveUserQuota; `reset_time` is RFC 3339."""
        return {"buckets": [self._bucket(user, model, reset_time) for model in self.settings.models]}

    def _bucket(self, user: str, model: str, reset_time: str) -> dict[str, object]:
        limit = self.settings.quota_requests
        left = 1.0 if limit is None else max(0.0, 1 - self._used[user, model] / limit) if limit else 0.0
        bucket: dict[str, object] = {
            "modelId": model,
            "tokenType": "REQUESTS",
            "remainingFraction": left,
            "resetTime": reset_time,
        }
        if limit is not None:
            bucket["remainingAmount"] = str(max(0, limit - self._used[user, model]))
        return bucket

    def _place(self, user: str) -> tuple[str, str] | None:
        if self.settings.onboarded:
            return self._projects.get(user, (FREE_TIER, self.managed_project(user)))
        return self._projects.get(user)

    def _project_for(self, user: str, tier: str, project: str | None) -> str:
        if tier == FREE_TIER:
            if project:
                raise RpcError(400, "Precondition check failed.", status="FAILED_PRECONDITION")
            return self.managed_project(user)
        if tier != STANDARD_TIER:
            raise invalid(f"Unknown tier {tier!r}.")
        if not project:
            raise RpcError(400, "Precondition check failed.", status="FAILED_PRECONDITION")
        self._check_known(user, project)
        return project

    def _check_known(self, user: str, project: str) -> None:
        if project not in {self.own_project(user), self.managed_project(user)}:
            raise _denied(project)

    def _is_enabled(self, project: str) -> bool:
        return self.settings.service_enabled or project in self._enabled

    def _service(self, project: str) -> dict[str, object]:
        state = "ENABLED" if self._is_enabled(project) else "DISABLED"
        return {"name": f"projects/{project}/services/{SERVICE}", "state": state}


_TIERS: list[Mapping[str, object]] = [
    {
        "id": FREE_TIER,
        "name": "Sandbox for individuals",
        "isDefault": True,
        "userDefinedCloudaicompanionProject": False,
    },
    {"id": STANDARD_TIER, "name": "Sandbox Standard", "userDefinedCloudaicompanionProject": True},
]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _denied(project: str) -> RpcError:
    return RpcError(403, f"Permission denied on resource project {project}.")
