"""One login under way.

Owns: what is remembered of it, and the view a client gets. It must never show a verifier, a code or a device code.
"""

import asyncio
from dataclasses import dataclass, field

from broker.ipc.schema import LoginStart, LoginView, problem_of
from broker.login.callback import CallbackListener, Returned
from broker.login.outcome import Done, Failed, LoginState, Waiting, addressed, name_of
from broker.oauth.code import Authorization
from broker.oauth.device import DeviceCode
from broker.providers.base import Client, LoginFlow, Provider


@dataclass(frozen=True, slots=True)
class ByCode:
    """The person comes back with a code: to the listener where there is one, else by hand."""

    flow = LoginFlow.CODE

    authorization: Authorization
    returned: asyncio.Future[Returned]
    listener: CallbackListener | None = None


@dataclass(frozen=True, slots=True)
class ByDevice:
    """The person approves on another screen, and the provider is asked whether they have."""

    flow = LoginFlow.DEVICE

    given: DeviceCode


@dataclass(frozen=True, slots=True)
class ByItself:
    """The program asks for a grant of its own; there is nobody to wait for."""

    flow = LoginFlow.CLIENT_CREDENTIALS


Way = ByCode | ByDevice | ByItself


@dataclass(slots=True)
class Session:
    """A login. `task` runs it; `keeping` is true once its grant is on the way to disk."""

    id: str
    provider: Provider
    client: Client
    start: LoginStart
    way: Way
    expires_wall: float
    state: LoginState = field(default_factory=Waiting)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    ended_boot: float | None = None
    keeping: bool = False

    @property
    def over(self) -> bool:
        """Whether it has ended, one way or the other."""
        return isinstance(self.state, Done | Failed)

    @property
    def listener(self) -> CallbackListener | None:
        """The listener of its callback; None where it has none."""
        return self.way.listener if isinstance(self.way, ByCode) else None

    def become(self, state: LoginState) -> None:
        """Change the state and wake who follows."""
        self.state = Failed(addressed(state.error, self.provider.name)) if isinstance(state, Failed) else state
        self.changed.set()
        self.changed = asyncio.Event()

    def view(self) -> LoginView:
        """Return what a client may see."""
        done = self.state if isinstance(self.state, Done) else None
        failed = self.state if isinstance(self.state, Failed) else None
        by_code = self.way.authorization if isinstance(self.way, ByCode) else None
        by_device = self.way.given if isinstance(self.way, ByDevice) else None
        url = by_code.url if by_code else by_device.url if by_device else None
        return LoginView(
            id=self.id,
            provider=self.provider.name,
            state=name_of(self.state),
            flow=self.way.flow.value,
            url=None if self.over else url,
            redirect_uri=by_code.redirect_uri if by_code else None,
            user_code=by_device.user_code if by_device and not self.over else None,
            expires_at=self.expires_wall,
            account=str(done.account) if done else None,
            file=done.file if done else None,
            notes=done.notes if done else self._notices(),
            problem=problem_of(failed.error) if failed else None,
        )

    def _notices(self) -> tuple[str, ...]:
        """Return what the person should know while the login is under way."""
        return (self.provider.notice,) if self.provider.notice and not self.over else ()
