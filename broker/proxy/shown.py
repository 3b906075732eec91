"""Which models are listed: the table's and the config's, and what accounts said they have.

Owns: that choice, and under which names. Pure. `models` writes the list in a client's shape, `codex_models` in Codex's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from broker.ipc.schema import WatchAccount
from broker.proxy.catalog import Catalog
from broker.proxy.learnt import Found, Learnt
from broker.proxy.models import OWN, Model
from broker.proxy.upstreams.base import Kind


def shown(
    accounts: Sequence[WatchAccount], kinds: Mapping[str, Kind], catalog: Catalog, learnt: Learnt
) -> tuple[Model, ...]:
    """Return the models there are accounts for, whether or not they can serve at this moment.

    Those of keys of one's own are named `provider/model`, as they are reached whatever else there is.
    """
    present = {each.view.provider for each in accounts} & kinds.keys()
    listed = {model.id: model for model in catalog.served(present, kinds)}
    for account, found in _told(accounts, learnt):
        provider = account.view.provider
        name = f"{provider}/{found.model.id}" if provider in OWN else found.model.id
        listed.setdefault(name, msgspec.structs.replace(found.model, id=name))
    return tuple(listed[name] for name in sorted(listed))


def codex_entries(accounts: Iterable[WatchAccount], learnt: Learnt) -> dict[str, bytes]:
    """Return what Codex reads of models, as upstreams of Codex wrote it, by name."""
    return {found.model.id: found.codex for _, found in _told(accounts, learnt) if found.codex}


def _told(accounts: Iterable[WatchAccount], learnt: Learnt) -> Iterator[tuple[WatchAccount, Found]]:
    lists = learnt.models()
    for account in accounts:
        for found in lists.get(account.view.account, ()):
            if not any(fnmatchcase(found.model.id, glob) for glob in account.view.excluded_models):
                yield account, found
