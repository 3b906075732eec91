"""By which way things are reached, shown and tried.

Owns: the routes of all accounts and providers as anybody on the socket may see them, and a connection on trial. It must never send a byte through one, nor
show a user name or password.
"""

from collections.abc import Iterator

import msgspec

from broker.daemon.accounts import Accounts
from broker.daemon.outbound import Outbound
from broker.ipc.network_schema import NetworkRoute, NetworkTest, NetworkTestAnswer, NetworkView
from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.model.network import Level, ProxyServer, Route, Target, Unusable, is_loopback_host, read
from broker.oauth.transport import NotSentError
from broker.providers.base import Provider
from broker.store.base import Entry

_SOMEWHERE = Target("", 443)  # of whom nothing is known: https, and no host that a list of exceptions could name


class Ways(msgspec.Struct, frozen=True):
    """Shows and tries."""

    accounts: Accounts
    outbound: Outbound

    def view(self) -> NetworkView:
        """Return every route."""
        return NetworkView(tuple(self._routes()))

    async def test(self, asked: NetworkTest) -> NetworkTestAnswer:
        """Connect, and hang up.

        Raises:
            BrokerError: `unknown_provider`, `unknown_account`; `bad_request` where more than one way is asked for, a URL is none, or there is no target.
        """
        route, usual = self._asked(asked)
        url = asked.target or usual
        if url is None:
            text = "target is missing, and nothing tells which is meant"
            raise BrokerError(
                ErrorCode.BAD_REQUEST, text, hint="Say whom to reach, as: ccs-broker network test --to URL"
            )
        target = _target(url)
        route = route or self.outbound.network.route(None, None, target)
        clock = self.accounts.clock
        begun, error = clock.now().boot, None
        try:
            await self.outbound.probe(url, route)
        except NotSentError as failed:
            error = str(failed)
        return NetworkTestAnswer(
            target=f"{target.host}:{target.port}",
            level=route.level.value,
            source=route.source,
            ok=error is None,
            seconds=round(clock.now().boot - begun, 3),
            proxy=_shown(route),
            error=error,
        )

    def _asked(self, asked: NetworkTest) -> tuple[Route | None, str | None]:
        """Return the route that is asked for, where it does not depend on the target alone, and the usual target."""
        named = [each for each in (asked.account, asked.provider, asked.proxy_url) if each is not None]
        if len(named) > 1:
            raise BrokerError(ErrorCode.BAD_REQUEST, "account, provider and proxy_url exclude one another")
        if asked.proxy_url is not None:
            setting = read(asked.proxy_url)
            if isinstance(setting, Unusable):
                raise BrokerError(ErrorCode.BAD_REQUEST, f"proxy_url {setting.why}")
            return Route(Level.GIVEN, "the URL that was given", setting), None
        if asked.account is not None:
            wanted = AccountId.parse(asked.account)
            entry = self.accounts.entry(self.accounts.named(wanted.provider, wanted.label))
            usual = self._usual(wanted.provider, entry)
            return self._route(wanted.provider, entry, asked.target or usual), usual
        if asked.provider is not None:
            usual = self._usual(self.accounts.registry.get(asked.provider).name, None)
            return self._route(asked.provider, None, asked.target or usual), usual
        return None, None

    def _routes(self) -> Iterator[NetworkRoute]:
        network = self.outbound.network
        yield _view(network.route(None, None, _SOMEWHERE), None, None)
        entries = self.accounts.store.entries()
        used = {account.provider for account in entries}
        for provider in sorted(used | set(network.providers)):
            yield _view(self._route(provider, None, self._usual(provider, None)), provider, None)
        for account in sorted(entries):
            entry = entries[account]
            route = self._route(account.provider, entry, self._usual(account.provider, entry))
            yield _view(route, account.provider, str(account))

    def _route(self, provider: str, entry: Entry | None, url: str | None) -> Route:
        own = entry.record.routing.proxy_url if entry is not None else None
        target = _target(url) if url is not None else _SOMEWHERE
        return self.outbound.network.route(provider, own, target)

    def _usual(self, provider: str, entry: Entry | None) -> str | None:
        """Return whom a provider's requests mostly go to, as far as this program knows; None where it does not."""
        if provider not in self.accounts.registry:
            return None
        known = self.accounts.registry.get(provider)
        own = entry.record.facts.get("base_url") if entry is not None else None
        url = known.endpoints.token_url or own or _discovered_at(known)
        return url if url and _possible(url) else None


def _discovered_at(provider: Provider) -> str | None:
    """Return where a provider's endpoints are asked for first."""
    flow = provider.endpoints_needed()
    if flow is None:
        return None
    request = next(flow)
    flow.close()
    return request.url


def _target(url: str) -> Target:
    try:
        target = Target.of(url)
    except ValueError:
        raise BrokerError(ErrorCode.BAD_REQUEST, "target is no https URL with a host") from None
    if not target.secure and not is_loopback_host(target.host):
        raise BrokerError(ErrorCode.BAD_REQUEST, "target: plain http is accepted for loopback hosts only")
    return target


def _possible(url: str) -> bool:
    try:
        _target(url)
    except BrokerError:
        return False
    return True


def _view(route: Route, provider: str | None, account: str | None) -> NetworkRoute:
    fault = route.setting.why if isinstance(route.setting, Unusable) else None
    return NetworkRoute(
        level=route.level.value,
        source=route.source,
        provider=provider,
        account=account,
        proxy=_shown(route),
        fault=fault,
    )


def _shown(route: Route) -> str | None:
    return route.setting.shown if isinstance(route.setting, ProxyServer) else None
