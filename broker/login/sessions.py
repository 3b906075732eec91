"""Logins under way.

Owns: starting one, following it, finishing it by hand, cancelling it, and its deadline. It must never let a verifier or a code out, and never store a
login: the record goes to `keep`, which the daemon gives.

Each login is one task. It waits for the callback and exchanges the code, or polls with a device code; then it finds out who it is, hands over, and only then
tells the browser how it went.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from broker.ipc.schema import LoginStart, LoginView
from broker.login import device, google, pages
from broker.login.callback import CallbackListener, Returned
from broker.login.outcome import Done, Failed, Finishing, LoginState, Waiting, addressed, error_of, expired, name_of
from broker.login.pages import Page
from broker.login.runner import run_flow
from broker.login.session import ByCode, ByDevice, ByItself, Session, Way
from broker.login.waiting import within
from broker.model.account import AccountId, Record, Tokens
from broker.model.clock import Chance, Clock
from broker.model.errors import BrokerError, ErrorCode
from broker.model.secret import Secret
from broker.oauth.code import Authorization, Denied, Unreadable, read_callback, state_matches
from broker.oauth.device import DeviceCode
from broker.oauth.failures import FlowFailedError, refuses_client
from broker.oauth.pkce import new_state, new_verifier
from broker.oauth.transport import Transport
from broker.observe.tasks import spawn
from broker.providers.base import Client, Identity, LoginFlow, Provider, Redirect
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
    """Where a login was put: the account it became (the store may tell two of one name apart) and the file's name.

    `notes` are sentences for the person about what became of it there.
    """

    account: AccountId
    file: str
    notes: tuple[str, ...] = ()


Keep = Callable[[Record, Client, tuple[str, ...]], Awaitable[Kept]]
"""Stores a login. Raises BrokerError where it cannot."""

WayOut = Callable[[str, str], Secret | None]
"""Tells the `proxy_url` of an account that is logged in again, by provider and label; None where there is none."""


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

    async def resolve(self, provider: Provider, *, login: bool = False) -> Provider:
        """Return the provider with its endpoints known; raises FlowFailedError."""
        ...

    def forget(self, provider: str) -> None:
        """Look again next time: the provider refused the registration."""
        ...


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
        way_out: WayOut = lambda _provider, _label: None,
    ) -> None:
        """Start nothing yet."""
        self._way_out = way_out
        self._providers = providers
        self._clients = clients
        self._transport = transport
        self._clock = clock
        self._chance = chance
        self._keep = keep
        self._sessions: dict[str, Session] = {}
        self._starting = asyncio.Lock()
        self._closed = False

    async def start(self, start: LoginStart) -> LoginView:
        """Begin a login: the address to open is in the view, and the code to enter there where it is one by device code.

        Without a `flow` it is the provider's first. A newer login takes the fixed port of an older one of the same provider, which ends as cancelled.

        Raises:
            BrokerError: `unknown_provider`, `unsupported` flow, `bad_request` for a label or timeout that cannot be, `misconfigured` where there is no client
                registration, `login_failed` where the port is taken or the provider gives no device code, `too_many`, `stopping`.
        """
        provider = self._providers.get(start.provider)
        _check(start)
        try:
            provider = (await self._clients.resolve(provider, login=True)).for_login(
                start.options, new_verifier(self._chance)
            )
            flow = _flow(start, provider)
            client = await self._clients.find(provider)
            # Before the lock: a slow provider holds up its own login only.
            given = await self._device_code(provider, client, start) if flow is LoginFlow.DEVICE else None
        except FlowFailedError as error:
            raise _explained(provider, error) from None
        async with self._starting:
            self._forget_old()
            if self._closed:
                raise BrokerError(ErrorCode.STOPPING, "no new login is started while stopping")
            await self._make_room(provider, listens=start.callback and flow is LoginFlow.CODE)
            if flow is LoginFlow.CLIENT_CREDENTIALS:
                return self._launch(provider, client, start, ByItself()).view()
            if given is not None:
                return self._launch(provider, given.client or client, start, ByDevice(given)).view()
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
        if isinstance(session.way, ByItself):
            return session.view()
        if isinstance(session.way, ByDevice):
            raise BrokerError(
                ErrorCode.BAD_REQUEST,
                "this login is approved on the provider's page, with the code shown: there is nothing to hand in",
                hint="Open the address and enter the code there.",
            )
        callback = read_callback(text)
        if isinstance(callback, Unreadable):
            raise BrokerError(ErrorCode.BAD_REQUEST, callback.reason)
        if callback.state is not None and not state_matches(callback.state, session.way.authorization.state):
            raise BrokerError(
                ErrorCode.BAD_REQUEST,
                "this belongs to another login: paste what followed on the newest address",
                hint="Paste what followed on the newest address.",
            )
        _accept(session, session.way, callback)
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

    async def _make_room(self, provider: Provider, *, listens: bool) -> None:
        if listens and provider.redirect.port:
            for session in tuple(self._sessions.values()):
                if session.listener is not None and session.listener.port in provider.redirect.ports:
                    await self._stop(session, BrokerError(ErrorCode.LOGIN_CANCELLED, "a newer login took its place"))
        if sum(not session.over for session in self._sessions.values()) >= MAX_LOGINS:
            raise BrokerError(ErrorCode.TOO_MANY, f"{MAX_LOGINS} logins are under way", hint="Finish or cancel one.")

    async def _device_code(self, provider: Provider, client: Client, start: LoginStart) -> DeviceCode:
        try:
            return await device.ask(provider, client, self._network(provider, start), self._clock)
        except FlowFailedError as error:
            self._learn(provider, error)
            raise

    async def _begin(self, provider: Provider, client: Client, start: LoginStart) -> Session:
        """Open the callback and make the address of a login by code."""
        state, verifier = new_state(self._chance), new_verifier(self._chance)
        login = self._chance.token(16)
        listener: CallbackListener | None = None
        redirect_uri = self._manual_redirect(provider.redirect)
        if start.callback and provider.redirect.loopback:

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
        authorization = Authorization(url, redirect_uri, state, verifier)
        way = ByCode(authorization, asyncio.get_running_loop().create_future(), listener)
        return self._launch(provider, client, start, way, login)

    def _launch(self, provider: Provider, client: Client, start: LoginStart, way: Way, login: str = "") -> Session:
        login = login or self._chance.token(16)
        seconds = _seconds(start, way)
        session = Session(login, provider, client, start, way, expires_wall=self._clock.now().wall + seconds)
        self._sessions[login] = session
        session.task = spawn(self._run(session), name=f"login-{provider.name}-{login[:6]}")
        _log.info(
            "login started",
            extra={
                "provider": provider.name,
                "flow": session.view().flow,
                "callback": session.listener is not None,
            },
        )
        return session

    async def _url(self, provider: Provider, client: Client, redirect_uri: str, state: Secret, verifier: Secret) -> str:
        if provider.google:
            endpoint = provider.endpoints.authorize_url or ""
            scopes, extra = provider.scopes, provider.extra_params
            # In a thread, for the import the first time.
            return await asyncio.to_thread(
                google.authorization_url, endpoint, client.id, redirect_uri, scopes, state, verifier, extra
            )
        return provider.authorization_url(client, redirect_uri, state, verifier)

    def _manual_redirect(self, redirect: Redirect) -> str:
        if redirect.manual_uri:
            return redirect.manual_uri
        port = redirect.port or _PORT_FROM + int(self._chance.unit() * (_PORT_TO - _PORT_FROM))
        return f"http://{redirect.host}:{port}{redirect.path}"

    # --- running ---

    async def _run(self, session: Session) -> None:
        try:
            session.become(await self._outcome(session))
        except BrokerError as error:
            session.become(Failed(error))
        except FlowFailedError as error:
            self._learn(session.provider, error)
            session.become(Failed(_explained(session.provider, error)))
        except Exception as error:  # noqa: BLE001 - a fault of ours must end the login, not leave it waiting for ever
            _log.error("login failed by a fault of ours", extra={"error": type(error).__name__})
            session.become(Failed(BrokerError(ErrorCode.INTERNAL, f"a fault of ours ({type(error).__name__})")))
        finally:
            session.ended_boot = self._clock.now().boot
            _log.info("login ended", extra={"provider": session.provider.name, "state": name_of(session.state)})
            if session.listener is not None:
                await session.listener.close()

    def _learn(self, provider: Provider, error: FlowFailedError) -> None:
        if refuses_client(error.failure):
            self._clients.forget(provider.name)

    async def _outcome(self, session: Session) -> LoginState:
        match session.way:
            case ByCode() as way:
                return await self._set_up(session, await self._redeemed(session, way))
            case ByDevice(given) as way:
                seconds = _seconds(session.start, way)
                tokens = await device.approved(
                    session.provider,
                    session.client,
                    given,
                    seconds,
                    self._network(session.provider, session.start),
                    self._clock,
                )
                session.become(Finishing())
                return await self._set_up(session, tokens)
            case ByItself():
                session.become(Finishing())
                ask = session.provider.grant_to_client(session.client, self._clock.now())
                tokens, identity = await run_flow(ask, self._network(session.provider, session.start), self._clock)
                return await self._put_away(session, tokens, identity)
            case _ as never:
                assert_never(never)

    def _network(self, provider: Provider, start: LoginStart) -> Transport:
        own = self._way_out(provider.name, start.label) if start.label is not None else None
        return self._transport.on_behalf(provider.name, own)

    async def _redeemed(self, session: Session, way: ByCode) -> Tokens:
        if not await self._within(asyncio.shield(way.returned), session.start.timeout, "login-deadline"):
            raise expired("nobody came back from the provider", session.start.timeout)
        returned = way.returned.result()
        if isinstance(returned, Denied):
            raise BrokerError(ErrorCode.LOGIN_DENIED, returned.reason)
        exchange = session.provider.exchange(way.authorization, returned.code, session.client, self._clock.now())
        return await run_flow(exchange, self._network(session.provider, session.start), self._clock)

    async def _set_up(self, session: Session, tokens: Tokens) -> Done:
        provider = session.provider
        try:
            identify = provider.identify(tokens, self._clock.now(), session.start.project)
            identity = await run_flow(identify, self._network(session.provider, session.start), self._clock)
        except FlowFailedError as error:
            raise error_of(error.failure, setting_up=True) from None
        return await self._put_away(session, tokens, identity)

    async def _put_away(self, session: Session, tokens: Tokens, identity: Identity) -> Done:
        record = new_record(session.provider.name, tokens, identity, session.start.label)
        notes = (*identity.notes, *_missing_refresh(tokens))
        session.keeping = True  # from here on it is not cut off: half a write helps nobody
        kept = await self._keep(record, session.client, notes)
        return Done(kept.account, kept.file, (*notes, *kept.notes))

    async def _answer_browser(self, login: str, callback: Returned) -> Page:
        session = self._sessions.get(login)
        if session is None or not isinstance(session.state, Waiting) or not isinstance(session.way, ByCode):
            return pages.ended()
        _accept(session, session.way, callback)
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
        return await within(self._clock, work, seconds, name)

    # --- ending ---

    async def _stop(self, session: Session, error: BrokerError) -> None:
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

    def _get(self, login: str) -> Session:
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


def _explained(provider: Provider, error: FlowFailedError) -> BrokerError:
    """Return what a person is told of a login that failed, with what is known of the provider."""
    told = addressed(error_of(error.failure, setting_up=False), provider.name)
    if provider.notice:
        told.hint = provider.notice
    return told


def _accept(session: Session, way: ByCode, callback: Returned) -> None:
    if not way.returned.done():
        way.returned.set_result(callback)
        session.become(Finishing())


def _seconds(start: LoginStart, way: Way) -> float:
    """Return how long the person has: a device code may end before their patience."""
    return min(start.timeout, way.given.expires_in) if isinstance(way, ByDevice) else start.timeout


def _flow(start: LoginStart, provider: Provider) -> LoginFlow:
    """Return the way to log in: the one asked for, else the provider's first."""
    if not provider.flows:
        raise BrokerError(ErrorCode.UNSUPPORTED, f"there is no login at {provider.name}", hint=provider.notice or None)
    flow = next((each for each in provider.flows if start.flow in (None, each.value)), None)
    if flow is None:
        offered = ", ".join(each.value for each in provider.flows)
        raise BrokerError(ErrorCode.UNSUPPORTED, f"{provider.name} offers these ways to log in: {offered}")
    known = provider.endpoints
    if not known.token_url or (flow is LoginFlow.CODE and not known.authorize_url):
        missing = "authorize_url" if flow is LoginFlow.CODE else "device_url"
        raise BrokerError(ErrorCode.MISCONFIGURED, f"no {missing} and token_url are known for {provider.name}")
    return flow


def _check(start: LoginStart) -> None:
    if not _TIMEOUT_MIN_SECONDS <= start.timeout <= _TIMEOUT_MAX_SECONDS:
        raise BrokerError(ErrorCode.BAD_REQUEST, "timeout must be from 1 to 3600 seconds")
    if start.label is not None:
        AccountId(start.provider, start.label)
    if start.project is not None and not (start.project.isprintable() and 0 < len(start.project) <= 100):
        raise BrokerError(ErrorCode.BAD_REQUEST, "project is not a project id")


def _missing_refresh(tokens: Tokens) -> tuple[str, ...]:
    if tokens.refresh_token:
        return ()
    return ("The provider gave no refresh token: this login ends when its access token does.",)
