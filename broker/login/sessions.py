"""Logins under way.

Owns: starting one, following it, finishing it by hand, cancelling it, and its deadline. It must never let a verifier or a code out, and never store a
login: the record goes to `keep`, which the daemon gives.

Each login is one task. It waits for the callback, exchanges the code, finds out who it is, hands over, and only then tells the browser how it went.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from broker.ipc.schema import LoginStart, LoginView, problem_of
from broker.login import google, pages
from broker.login.callback import CallbackListener, Returned
from broker.login.outcome import Done, Failed, Finishing, LoginState, Waiting, error_of, name_of
from broker.login.pages import Page
from broker.login.runner import run_flow
from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Chance, Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth import code
from broker.oauth.code import Approved, Authorization, Denied, Unreadable, read_callback, state_matches
from broker.oauth.failures import FlowFailedError
from broker.oauth.pkce import new_state, new_verifier
from broker.oauth.transport import Transport
from broker.observe.tasks import spawn
from broker.providers.base import Client, LoginFlow, Provider, Redirect
from broker.providers.naming import new_record

_log = logging.getLogger(__name__)

MAX_LOGINS = 16  # a person does one at a time; the rest is somebody trying to use up ports
_TIMEOUT_MIN_SECONDS, _TIMEOUT_MAX_SECONDS = 1.0, 3600.0
_KEPT_SECONDS = 600.0  # an ended login can be asked about for this long
_PAGE_SECONDS = 20.0  # a browser waits this long for the outcome before it is sent to the terminal
_FOLLOW_MAX_SECONDS = 120.0
_PORT_FROM, _PORT_TO = 49_152, 65_535  # RFC 6335: nobody's, for redirects that are only read off the address bar


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a login was put: the account it became (the store may tell two of one name apart) and the file's name."""

    account: AccountId
    file: str


Keep = Callable[[Record, Client, tuple[str, ...]], Awaitable[Kept]]
"""Stores a login. Raises BrokerError where it cannot."""


class Providers(Protocol):
    """Where vendors are looked up (`broker.providers.registry.Registry`)."""

    def get(self, name: str) -> Provider:
        """Return the provider; raises `unknown_provider`."""
        ...


class ClientFinder(Protocol):
    """Where registrations come from (`broker.login.clients.Clients`)."""

    async def find(self, provider: Provider, carried: Client | None = None) -> Client:
        """Return the registration; raises `misconfigured`."""
        ...

    async def resolve(self, provider: Provider) -> Provider:
        """Return the provider with its endpoints known; raises FlowFailedError."""
        ...


@dataclass(slots=True)
class _Session:
    id: str
    provider: Provider
    client: Client
    start: LoginStart
    authorization: Authorization
    expires_wall: float
    returned: asyncio.Future[Returned]
    state: LoginState = field(default_factory=Waiting)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    listener: CallbackListener | None = None
    task: asyncio.Task[None] | None = None
    ended_boot: float | None = None
    keeping: bool = False

    @property
    def over(self) -> bool:
        return isinstance(self.state, Done | Failed)

    def become(self, state: LoginState) -> None:
        """Change the state and wake who follows."""
        self.state = state
        self.changed.set()
        self.changed = asyncio.Event()

    def view(self) -> LoginView:
        done = self.state if isinstance(self.state, Done) else None
        failed = self.state if isinstance(self.state, Failed) else None
        return LoginView(
            id=self.id,
            provider=self.provider.name,
            state=name_of(self.state),
            flow=LoginFlow.CODE.value,
            url=None if self.over else self.authorization.url,
            redirect_uri=self.authorization.redirect_uri,
            expires_at=self.expires_wall,
            account=str(done.account) if done else None,
            file=done.file if done else None,
            notes=done.notes if done else (),
            problem=problem_of(failed.error) if failed else None,
        )


class Logins:
    """The logins of one process. One event loop uses it; `close` ends them all."""

    def __init__(
        self,
        providers: Providers,
        clients: ClientFinder,
        transport: Transport,
        clock: Clock,
        chance: Chance,
        keep: Keep,
    ) -> None:
        """Start nothing yet."""
        self._providers = providers
        self._clients = clients
        self._transport = transport
        self._clock = clock
        self._chance = chance
        self._keep = keep
        self._sessions: dict[str, _Session] = {}
        self._starting = asyncio.Lock()
        self._closed = False

    async def start(self, start: LoginStart) -> LoginView:
        """Begin a login: the address to open is in the view.

        A newer login takes the fixed port of an older one of the same provider, which ends as cancelled.

        Raises:
            BrokerError: `unknown_provider`, `unsupported` flow, `bad_request` for a label or timeout that cannot be, `misconfigured` where there is no client
                registration, `login_failed` where the port is taken, `too_many`, `stopping`.
        """
        provider = self._providers.get(start.provider)
        _check(start, provider)
        try:
            provider = await self._clients.resolve(provider)
        except FlowFailedError as error:
            raise error_of(error.failure, setting_up=False) from None
        if not provider.endpoints.authorize_url or not provider.endpoints.token_url:
            raise BrokerError(ErrorCode.MISCONFIGURED, f"no authorize_url and token_url are known for {provider.name}")
        client = await self._clients.find(provider)
        async with self._starting:
            self._forget_old()
            if self._closed:
                raise BrokerError(ErrorCode.STOPPING, "no new login is started while stopping")
            await self._make_room(provider, start)
            return (await self._begin(provider, client, start)).view()

    async def follow(self, login: str, wait: float = 0.0) -> LoginView:
        """Return how a login stands; with `wait`, after it changed or that many seconds passed (at most 120).

        Raises:
            BrokerError: `unknown_login`.
        """
        session = self._get(login)
        if wait > 0 and not session.over:
            changed = session.changed
            await self._within(changed.wait(), min(wait, _FOLLOW_MAX_SECONDS), f"follow-login-{login[:6]}")
        return session.view()

    async def finish(self, login: str, text: Secret) -> LoginView:
        """Take what a person pasted: the callback address, its query, or the code. A login that has come further is only looked at.

        Raises:
            BrokerError: `unknown_login`; `bad_request` where the text is no callback or belongs to another login, which goes on waiting.
        """
        session = self._get(login)
        if not isinstance(session.state, Waiting):
            return session.view()
        callback = read_callback(text)
        if isinstance(callback, Unreadable):
            raise BrokerError(ErrorCode.BAD_REQUEST, callback.reason)
        if callback.state is not None and not state_matches(callback.state, session.authorization.state):
            raise BrokerError(
                ErrorCode.BAD_REQUEST,
                "this address belongs to another login",
                hint="Paste the address that followed on the newest login URL.",
            )
        self._accept(session, callback)
        return session.view()

    async def cancel(self, login: str) -> LoginView:
        """End a login; one that has ended is forgotten. Raises `unknown_login`."""
        session = self._get(login)
        if session.over:
            del self._sessions[session.id]
        else:
            await self._stop(session, BrokerError(ErrorCode.LOGIN_CANCELLED, "the login was cancelled"))
        return session.view()

    async def close(self) -> None:
        """End every login and wait until its port is free."""
        self._closed = True
        async with self._starting:
            for session in tuple(self._sessions.values()):
                await self._stop(session, BrokerError(ErrorCode.STOPPING, "the login ended because the program stops"))

    # --- starting ---

    async def _make_room(self, provider: Provider, start: LoginStart) -> None:
        if start.callback and provider.redirect.port:
            for session in tuple(self._sessions.values()):
                if session.listener is not None and session.listener.port == provider.redirect.port:
                    await self._stop(session, BrokerError(ErrorCode.LOGIN_CANCELLED, "a newer login took its place"))
        if sum(not session.over for session in self._sessions.values()) >= MAX_LOGINS:
            raise BrokerError(ErrorCode.TOO_MANY, f"{MAX_LOGINS} logins are under way", hint="Finish or cancel one.")

    async def _begin(self, provider: Provider, client: Client, start: LoginStart) -> _Session:
        state, verifier = new_state(self._chance), new_verifier(self._chance)
        login = self._chance.token(16)
        listener: CallbackListener | None = None
        redirect_uri = self._manual_redirect(provider.redirect)
        if start.callback:

            async def answer(callback: Returned) -> Page:
                return await self._answer_browser(login, callback)

            listener = await CallbackListener.open(provider.redirect, state, answer)
            redirect_uri = listener.redirect_uri
        try:
            url = await self._url(provider, client, redirect_uri, state, verifier)
        except BaseException:
            if listener is not None:
                await listener.close()
            raise
        session = _Session(
            id=login,
            provider=provider,
            client=client,
            start=start,
            authorization=Authorization(url, redirect_uri, state, verifier),
            expires_wall=self._clock.now().wall + start.timeout,
            returned=asyncio.get_running_loop().create_future(),
            listener=listener,
        )
        self._sessions[login] = session
        session.task = spawn(self._run(session), name=f"login-{provider.name}-{login[:6]}")
        _log.info("login started", extra={"provider": provider.name, "callback": start.callback})
        return session

    async def _url(self, provider: Provider, client: Client, redirect_uri: str, state: Secret, verifier: Secret) -> str:
        endpoint = provider.endpoints.authorize_url or ""
        scopes, extra = provider.scopes, provider.extra_params
        if provider.google:
            # In a thread, for the import the first time.
            return await asyncio.to_thread(
                google.authorization_url, endpoint, client.id, redirect_uri, scopes, state, verifier, extra
            )
        return code.authorization_url(endpoint, client.id, redirect_uri, scopes, state, verifier, extra)

    def _manual_redirect(self, redirect: Redirect) -> str:
        if redirect.manual_uri:
            return redirect.manual_uri
        port = redirect.port or _PORT_FROM + int(self._chance.unit() * (_PORT_TO - _PORT_FROM))
        return f"http://{redirect.host}:{port}{redirect.path}"

    # --- running ---

    async def _run(self, session: _Session) -> None:
        try:
            session.become(await self._outcome(session))
        except BrokerError as error:
            session.become(Failed(error))
        except FlowFailedError as error:
            session.become(Failed(error_of(error.failure, setting_up=False)))
        except Exception as error:  # noqa: BLE001 - a fault of ours must end the login, not leave it waiting for ever
            _log.error("login failed by a fault of ours", extra={"error": type(error).__name__})
            session.become(Failed(BrokerError(ErrorCode.INTERNAL, f"a fault of ours ({type(error).__name__})")))
        finally:
            session.ended_boot = self._clock.now().boot
            _log.info("login ended", extra={"provider": session.provider.name, "state": name_of(session.state)})
            if session.listener is not None:
                await session.listener.close()

    async def _outcome(self, session: _Session) -> LoginState:
        if not await self._within(asyncio.shield(session.returned), session.start.timeout, "login-deadline"):
            minutes = session.start.timeout / 60
            raise BrokerError(ErrorCode.LOGIN_EXPIRED, f"nobody came back from the provider within {minutes:.0f} min")
        returned = session.returned.result()
        if isinstance(returned, Denied):
            raise BrokerError(ErrorCode.LOGIN_DENIED, returned.reason)
        return await self._redeem(session, returned)

    async def _redeem(self, session: _Session, approved: Approved) -> Done:
        provider, now = session.provider, self._clock.now()
        exchange = provider.exchange(session.authorization, approved.code, session.client, now)
        tokens = await run_flow(exchange, self._transport, self._clock)
        try:
            identify = provider.identify(tokens, self._clock.now(), session.start.project)
            identity = await run_flow(identify, self._transport, self._clock)
        except FlowFailedError as error:
            raise error_of(error.failure, setting_up=True) from None
        record = new_record(provider.name, tokens, identity, session.start.label)
        notes = (*identity.notes, *_missing_refresh(tokens))
        session.keeping = True  # from here on it is not cut off: half a write helps nobody
        kept = await self._keep(record, session.client, notes)
        return Done(kept.account, kept.file, notes)

    def _accept(self, session: _Session, callback: Returned) -> None:
        if not session.returned.done():
            session.returned.set_result(callback)
            session.become(Finishing())

    async def _answer_browser(self, login: str, callback: Returned) -> Page:
        session = self._sessions.get(login)
        if session is None or not isinstance(session.state, Waiting):
            return pages.ended()
        self._accept(session, callback)
        deadline = self._clock.now().boot + _PAGE_SECONDS
        while not session.over and (left := deadline - self._clock.now().boot) > 0:
            await self._within(session.changed.wait(), left, "login-page")
        match session.state:
            case Done(account, _, notes):
                return pages.succeeded(session.provider.title, str(account), notes)
            case Failed(error):
                return pages.failed(error.detail, error.hint)
            case _:
                return pages.pending()

    async def _within(self, work: Awaitable[object], seconds: float, name: str) -> bool:
        """Wait for `work` at most so long, on our clock; tell whether it was done. It is cancelled where it was not."""

        async def waited() -> None:
            await work

        task = spawn(waited(), name=name)
        timer = spawn(self._clock.sleep(seconds), name=f"{name}-timer")
        try:
            await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
            return task.done()
        finally:
            task.cancel()
            timer.cancel()

    # --- ending ---

    async def _stop(self, session: _Session, error: BrokerError) -> None:
        """End a login, unless it has ended or is being stored; return when its task is over and its port is free."""
        if session.task is None or session.task.done():
            return
        if not session.over and not session.keeping:
            session.become(Failed(error))
            session.task.cancel()
        await asyncio.wait({session.task})
        # A task cancelled before its first step has cleaned up nothing.
        session.ended_boot = self._clock.now().boot
        if session.listener is not None:
            await session.listener.close()

    def _get(self, login: str) -> _Session:
        self._forget_old()
        session = self._sessions.get(login)
        if session is None:
            raise BrokerError(ErrorCode.UNKNOWN_LOGIN, "there is no such login, or it ended a while ago")
        return session

    def _forget_old(self) -> None:
        now = self._clock.now().boot
        for session in tuple(self._sessions.values()):
            if session.ended_boot is not None and now - session.ended_boot > _KEPT_SECONDS:
                del self._sessions[session.id]


def _check(start: LoginStart, provider: Provider) -> None:
    if start.flow not in (None, LoginFlow.CODE.value) or LoginFlow.CODE not in provider.flows:
        offered = ", ".join(flow.value for flow in provider.flows) or "none, its key is put into a file"
        raise BrokerError(ErrorCode.UNSUPPORTED, f"{provider.name} offers these ways to log in: {offered}")
    if not _TIMEOUT_MIN_SECONDS <= start.timeout <= _TIMEOUT_MAX_SECONDS:
        raise BrokerError(ErrorCode.BAD_REQUEST, "timeout must be from 1 to 3600 seconds")
    if start.label is not None:
        AccountId(provider.name, start.label)
    if start.project is not None and not (start.project.isprintable() and 0 < len(start.project) <= 100):
        raise BrokerError(ErrorCode.BAD_REQUEST, "project is not a project id")


def _missing_refresh(tokens: Tokens) -> tuple[str, ...]:
    if tokens.refresh_token:
        return ()
    return ("The provider gave no refresh token: this login ends when its access token does.",)
