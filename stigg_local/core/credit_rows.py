"""Lists about credits: a grant and a line of the ledger as calls return them.

Law: the amounts of a wallet's lines up to an instant sum up to its balance then, reservations apart: what is held is
no line before it is settled.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar

from msgspec.structs import replace

from stigg_local.core.credit import Grant
from stigg_local.core.ledger import EXPIRED, GRANTED, LedgerEntry, rebuild
from stigg_local.core.period import FOREVER_MS, to_datetime
from stigg_local.core.quantity import from_raw
from stigg_local.core.result import Result, grant_result


class CreditGrantRow(Result, frozen=True, kw_only=True):
    """A credit grant; amounts in credits. What reservations hold of it counts as consumed.

    Attributes:
        consumed_amount: Consumed, with `reserved_amount`.
        reserved_amount: Held by reservations.
        status: SCHEDULED, ACTIVE, EXPIRED or VOIDED.
    """

    _nulls: ClassVar[tuple[str, ...]] = ("expire_at",)
    _dates: ClassVar[dict[str, str]] = {
        "effective_ms": "effective_at",
        "expire_ms": "expire_at",
        "created_ms": "created_at",
        "voided_ms": "voided_at",
    }

    id: str
    customer_id: str
    currency_id: str
    resource_id: str | None
    amount: int | float
    consumed_amount: int | float
    reserved_amount: int | float
    grant_type: str
    status: str
    priority: int
    cost: str | None
    subscription_id: str | None
    effective_ms: int
    expire_ms: int | None
    created_ms: int
    voided_ms: int | None

    @property
    def effective_at(self) -> datetime | None:
        """From when it can be spent."""
        return to_datetime(self.effective_ms)

    @property
    def expire_at(self) -> datetime | None:
        """When it expires, exclusive; None for never."""
        return to_datetime(self.expire_ms)

    @property
    def created_at(self) -> datetime | None:
        """When it was made."""
        return to_datetime(self.created_ms)

    @property
    def voided_at(self) -> datetime | None:
        """When its rest was taken away."""
        return to_datetime(self.voided_ms)


def grant_row(grant: Grant, *, customer_id: str, scale: int, held: int, now_ms: int) -> CreditGrantRow:
    """A grant as lists show it."""
    shown = grant_result(grant, customer_id=customer_id, scale=scale, now_ms=now_ms)
    return CreditGrantRow(
        id=grant.id,
        customer_id=customer_id,
        currency_id=grant.currency_id,
        resource_id=grant.resource_id or None,
        amount=shown.amount,
        consumed_amount=from_raw(grant.consumed + held, scale),
        reserved_amount=from_raw(held, scale),
        grant_type=grant.grant_type,
        status=shown.status,
        priority=grant.priority,
        cost=grant.cost,
        subscription_id=grant.source or None,
        effective_ms=grant.effective_ms,
        expire_ms=None if grant.expire_ms == FOREVER_MS else grant.expire_ms,
        created_ms=grant.created_ms,
        voided_ms=grant.voided_ms,
    )


class CreditLedgerRow(Result, frozen=True, kw_only=True):
    """One line of the ledger: what a grant gained (above 0) or lost, when and through what.

    Attributes:
        type: CREDITS_GRANTED, CREDITS_CONSUMED, CREDITS_EXPIRED, CREDITS_VOIDED, CREDITS_UPDATED, or
            CREDITS_CONSUMPTION_TRANSFER_SOURCE and _TARGET where a debt moved to a grant.
        event_id: The measurement that consumed.
    """

    _dates: ClassVar[dict[str, str]] = {"timestamp_ms": "timestamp"}

    id: str
    customer_id: str
    currency_id: str
    resource_id: str | None
    type: str
    amount: int | float
    grant_id: str
    feature_id: str | None
    event_id: str | None
    timestamp_ms: int

    @property
    def timestamp(self) -> datetime | None:
        """When it happened."""
        return to_datetime(self.timestamp_ms)


def ledger_rows(
    entries: Iterable[tuple[str, LedgerEntry]], *, customer_id: str, scales: Mapping[str, int], now_ms: int
) -> list[CreditLedgerRow]:
    """The lines of a ledger, newest first.

    That a grant expired is no entry, and is worked out from what was left; one that is scheduled is granted when it is
    effective.
    """
    listed = [(key, entry) for key, entry in entries if entry.grant.currency_id in scales]
    grants = rebuild(entry for _, entry in listed)
    expired = [
        (f"{grant.id}-expired", LedgerEntry(EXPIRED, -grant.remaining, grant.expire_ms, grant))
        for grant in grants.values()
        if grant.expire_ms <= now_ms and grant.voided_ms is None and grant.remaining > 0
    ]
    dated = [(key, _when_it_counts(entry, grants[entry.grant.id])) for key, entry in listed]
    # The order of arrival stays where instants are equal.
    rows = sorted([row for row in [*dated, *expired] if row[1].at_ms <= now_ms], key=lambda row: row[1].at_ms)
    return [
        CreditLedgerRow(
            id=key,
            customer_id=customer_id,
            currency_id=entry.grant.currency_id,
            resource_id=entry.grant.resource_id or None,
            type=entry.type,
            amount=from_raw(entry.amount, scales[entry.grant.currency_id]),
            grant_id=entry.grant.id,
            feature_id=entry.feature_id or None,
            event_id=entry.measurement_id or None,
            timestamp_ms=entry.at_ms,
        )
        for key, entry in reversed(rows)
    ]


def _when_it_counts(entry: LedgerEntry, grant: Grant) -> LedgerEntry:
    """The entry at the instant from which the balance has it; `grant` is as it stands in the end."""
    if entry.type != GRANTED:
        return entry
    effective_ms = grant.effective_ms if grant.voided_ms is None else min(grant.effective_ms, grant.voided_ms)
    return replace(entry, at_ms=effective_ms) if effective_ms > entry.at_ms else entry
