"""Giving an account another label.

Owns: which labels may be given, and the file's text with it. It must never write.
"""

from collections.abc import Iterable, Sequence

from broker.model.account import AccountId
from broker.model.errors import BrokerError, ErrorCode
from broker.providers.naming import relabelled
from broker.store.merge import Document
from broker.store.reading import Reading
from broker.store.table import Place
from broker.store.write import Build


def refuse(wanted: AccountId, old: AccountId, there: Iterable[AccountId], copies: Sequence[Place]) -> None:
    """Raise `bad_request` where `old` cannot be called `wanted`: the name is taken, or the login is in several files."""
    # Labels that differ in case only would be told apart by nobody but us.
    taken = next((each for each in there if each != old and _folded(each) == _folded(wanted)), None)
    if taken is not None:
        raise BrokerError(ErrorCode.BAD_REQUEST, f"there is an account {taken} already", account=str(old))
    if len(copies) > 1:
        names = ", ".join(sorted(place.name for place in copies))
        raise BrokerError(
            ErrorCode.BAD_REQUEST,
            f"{old} is in {len(copies)} files: {names}",
            hint="Remove the older copy; ccs-broker status says which one is used.",
            account=str(old),
        )


def naming(wanted: AccountId, place: Place) -> Build:
    """Return what makes a file read as `wanted`; it raises `unsupported` where the file's format has no place for a label."""

    def named(reading: Reading, document: Document) -> Document:
        made = relabelled(document, wanted.label)
        if reading.provider.read(made, place.name).account != wanted:
            detail = f"a file of {wanted.provider} has no place for the label {wanted.label!r}"
            raise BrokerError(ErrorCode.UNSUPPORTED, detail, account=str(reading.source.record.account))
        return made

    return named


def _folded(account: AccountId) -> tuple[str, str]:
    return account.provider, account.label.casefold()
