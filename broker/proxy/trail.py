"""How a request was served that is likely to come again: what the next one with the same head need not work out anew.

Owns: `Trail`, which requests leave one, and whether it still holds. It decides nothing by itself: it keeps what the door, the names, the choice and the way
came to, and holds for these very objects only. It must never outlive the client's head it belongs to: it holds the account's token.
"""

from typing import final

import msgspec

from broker.ipc.schema import WatchAccount
from broker.proxy.choose import Candidate, usable
from broker.proxy.context import Context
from broker.proxy.gateway import Gateway
from broker.proxy.making import work_of
from broker.proxy.naming import Wanted
from broker.proxy.porter import Admission
from broker.proxy.routes import Route
from broker.proxy.shop import Shop
from broker.proxy.usage import Session
from broker.proxy.usage_table import Who
from broker.proxy.verdict import Asked
from broker.proxy.way import Straight
from broker.proxy.wire.heads import RequestHead
from broker.proxy.works import GeminiWork, Manner, TalkWork, Work
from broker.translate.codecs import Dialect
from broker.translate.passage import Peeked, says


class Track(msgspec.Struct, frozen=True):
    """How one account was asked; `who` is the row its usage is counted in.

    `passes` says that a good answer goes back as it comes: nothing has to be held or written anew.
    """

    straight: Straight
    manner: Manner
    who: Who
    passes: bool


@final
class Trail(msgspec.Struct, frozen=True):
    """The ordinary case: one model, asked at one host, with nothing of the user's to be written into what passes.

    `accounts` are all there were, `edition` is that of what was learnt of them; `context` is that of the request that left the trail. `said` is what its body
    told of model and streaming, None where the path tells both; `foreign` says that it has to be translated for whoever serves it. `tracks` are those of the
    accounts that were asked, by name; `alone` is the one there is to choose from, empty where there are several, or cool-downs to be looked at each time.
    """

    shop: Shop
    accounts: tuple[WatchAccount, ...]
    edition: int
    admission: Admission
    route: Route
    context: Context
    asked: Asked
    wanted: Wanted
    said: Peeked | None
    foreign: bool
    alone: tuple[Candidate, ...]
    tracks: dict[str, Track]

    def holds(self, gateway: Gateway, body: bytes) -> bool:
        """Tell whether a request with this body is meant for the same accounts and may go to them now."""
        return self.stands(gateway) and (self.said is None or says(body, self.said))

    def stands(self, gateway: Gateway) -> bool:
        """Tell whether all but the body is as it was; where it is not, it will not be again."""
        shop = self.shop
        if gateway.shop is not shop or shop.table.accounts() is not self.accounts:
            return False
        if gateway.discovery.learnt.edition != self.edition or gateway.request_log is not None:
            return False
        return gateway.porter.stands_by(self.admission)

    def chosen(self, session: Session) -> tuple[Candidate, ...]:
        """Return the accounts to try now, in order, as `Shop.chosen` does."""
        if not self.alone:
            return self.shop.chosen(self.wanted, session)
        return self.alone if usable(self.alone[0].lease, self.shop.clock.wall_seconds()) else ()

    def track(self, found: tuple[Candidate, ...]) -> Track | None:
        """Return how the first of the accounts was asked before, with the same token; None where that is not known."""
        first = found[0] if found else None
        track = self.tracks.get(first.account) if first is not None and not first.pause else None
        return track if track is not None and first is not None and track.straight.lease is first.lease else None

    def follows(self, other: "Trail") -> bool:
        """Tell whether another trail holds for the same requests."""
        same = self.shop is other.shop and self.accounts is other.accounts and self.edition == other.edition
        return same and self.admission is other.admission and self.said == other.said and self.wanted == other.wanted

    def work(self, head: RequestHead, body: bytes, request_id: str) -> Work:
        """Return the work of a request that was sent, or is to be, as this trail has it; raises BrokerError for a body that cannot be translated."""
        now = int(self.shop.clock.wall_seconds())
        context = msgspec.structs.replace(self.context, request_id=request_id, created=now)
        work = work_of(self.route.target, head, body, context)
        work.wanted = self.wanted
        return work


def left_by(
    straight: Straight | None,
    work: Work,
    gateway: Gateway,
    route: Route,
    context: Context,
    asked: Asked,
    head: RequestHead,
) -> Trail | None:
    """Return the trail of a request that is on its way as `straight` says, after the one the last left; None where the next is better looked at anew."""
    admission, former = head.made.get(Admission), head.made.get(Trail)
    if straight is None or not isinstance(work, GeminiWork | TalkWork) or not isinstance(admission, Admission):
        return None
    if admission.holder is not None and admission.holder.key.rpm is not None:
        return None  # each of its requests is counted at the door
    manner = work.manner(straight.upstream, straight.model)
    shop, edition = gateway.shop, gateway.discovery.learnt.edition
    if manner is None or len(work.wanted.goals) != 1:
        return None
    accounts, meant = shop.table.accounts(), shop.table.meant(work.wanted.goals)
    alone: tuple[Candidate, ...] = ()
    if len(meant) == 1 and not meant[0].view.cooldowns:
        view = meant[0].view
        alone = (Candidate(view.account, view.provider, straight.lease, straight.model),)
    trail = Trail(
        shop, accounts, edition, admission, route, context, asked, work.wanted, work.said, work.foreign, alone, {}
    )
    if isinstance(former, Trail) and trail.follows(former):
        trail = former
    account = straight.lease.account
    passes = manner is Manner.UNTOUCHED and straight.upstream.dialect is not Dialect.RESPONSES
    trail.tracks[account] = Track(straight, manner, (admission.name, account, straight.model), passes)
    return trail
