"""How a request was served that is likely to come again: what the next one with the same head need not work out anew.

Owns: `Trail`, which requests leave one, and whether it still holds. It decides nothing by itself: it keeps what the door, the names, the choice and the way
came to, and holds for these very objects only. It must never outlive the client's head it belongs to: it holds the account's token.
"""

from typing import final

import msgspec

from broker.ipc.schema import WatchAccount
from broker.proxy.choose import usable
from broker.proxy.gateway import Gateway
from broker.proxy.making import work_of
from broker.proxy.naming import Wanted
from broker.proxy.porter import Admission
from broker.proxy.routes import Route
from broker.proxy.shop import Shop
from broker.proxy.usage_table import Who
from broker.proxy.verdict import Asked
from broker.proxy.way import Straight
from broker.proxy.wire.heads import RequestHead
from broker.proxy.works import Context, GeminiWork, Manner, TalkWork, Work
from broker.translate.passage import Peeked, says


@final
class Trail(msgspec.Struct, frozen=True):
    """The ordinary case: one account for one model, asked at one host for a whole answer, with nothing of the user's to be written into what passes.

    `accounts` are all there were, `edition` is that of what was learnt of them; `context` is that of the request that left the trail. `said` is what its body
    told of model and streaming, None where the path tells both.
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
    manner: Manner
    straight: Straight
    who: Who
    free: bool

    def holds(self, gateway: Gateway, body: bytes) -> bool:
        """Tell whether a request with this body would be served the same way now."""
        shop = self.shop
        if gateway.shop is not shop or shop.table.accounts() is not self.accounts:
            return False
        if gateway.discovery.learnt.edition != self.edition or gateway.request_log is not None:
            return False
        if not usable(self.straight.lease, shop.clock.now().wall) or not gateway.porter.stands_by(self.admission):
            return False
        return self.said is None or says(body, self.said)

    def work(self, head: RequestHead, body: bytes, request_id: str) -> Work:
        """Return the work of a request that was sent, or is to be, as this trail has it; raises BrokerError for a body that cannot be translated."""
        now = int(self.shop.clock.now().wall)
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
    admission: object,
) -> Trail | None:
    """Return the trail of a request that is on its way as `straight` says; None where the next one is better looked at anew."""
    if straight is None or not isinstance(work, GeminiWork | TalkWork) or not isinstance(admission, Admission):
        return None
    if admission.holder is not None and admission.holder.key.rpm is not None:
        return None  # each of its requests is counted at the door
    manner = work.manner(straight.upstream, straight.candidate.model)
    if manner is None:
        return None
    shop, account, goals = gateway.shop, straight.candidate.account, work.wanted.goals
    accounts = shop.table.accounts()
    known = next((each for each in accounts if each.view.account == account), None)
    if len(goals) != 1 or known is None or known.view.cooldowns or known.lease is not straight.lease:
        return None
    edition, who = gateway.discovery.learnt.edition, (admission.name, account, straight.candidate.model)
    request = (route, context, asked, work.wanted, work.said, manner)
    return Trail(shop, accounts, edition, admission, *request, straight, who, route.free)
