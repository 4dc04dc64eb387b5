"""The credit ledger: one entry for each grant that a transaction touched, with the grant as it stood after.

Law: the last entry of each grant is the grant, so a wallet can be rebuilt from the ledger alone.
"""

from collections.abc import Iterable

from msgspec import Struct

from stigg_local.core.credit import Grant

GRANTED = "CREDITS_GRANTED"
CONSUMED = "CREDITS_CONSUMED"
UPDATED = "CREDITS_UPDATED"
VOIDED = "CREDITS_VOIDED"
EXPIRED = "CREDITS_EXPIRED"
TRANSFERRED_FROM = "CREDITS_CONSUMPTION_TRANSFER_SOURCE"
TRANSFERRED = "CREDITS_CONSUMPTION_TRANSFER_TARGET"


class LedgerEntry(Struct, frozen=True, array_like=True, gc=False):
    """One entry. `amount` is what moved, raw and signed: granted above 0, consumed below."""

    type: str
    amount: int
    at_ms: int
    grant: Grant
    feature_id: str = ""
    measurement_id: str = ""


def rebuild(entries: Iterable[LedgerEntry]) -> dict[str, Grant]:
    """The grants that the ledger leaves, by id."""
    return {entry.grant.id: entry.grant for entry in entries}
