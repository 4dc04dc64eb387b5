"""What consuming, reserving and settling give, and how a stored reply holds the answer of its time.

Law: a repeated command returns the answer that the first one gave; what the catalog says of the feature is not
stored with it.
"""

from datetime import datetime
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from stigg_local.core.answer import ANSWERS, METERED, Entitlement
from stigg_local.core.hold import Hold
from stigg_local.core.period import to_datetime
from stigg_local.core.result import Result
from stigg_local.core.sources import Catalog
from stigg_local.core.words import AccessDeniedReason

CONSUME, RESERVE, SETTLE, RELEASE = "consume", "reserve", "settle", "release"
"""The operations that idempotency keys of these commands belong to."""

# Fields of an answer that are references into the catalog.
_REFS = ("feature", "currency")


class Kept(Struct, frozen=True, array_like=True):
    """An answer without what the catalog says of it; `item_id` is the feature or currency."""

    kind: str
    item_id: str
    values: tuple[Any, ...]


def keep(item_id: str, answer: Entitlement) -> Kept:
    """An answer as a reply stores it."""
    values = (None if name in _REFS else getattr(answer, name) for name in answer.__struct_fields__)
    return Kept(answer.type, item_id, tuple(values))


def kept_answer(kept: Kept, catalog: Catalog) -> Entitlement:
    """The answer that a reply stores."""
    made = ANSWERS[kept.kind]
    values = dict(zip(made.__struct_fields__, kept.values, strict=True))
    if kept.kind == METERED:
        values["feature"] = catalog.refs.get(kept.item_id)
    else:
        values["currency"] = catalog.currency_refs.get(kept.item_id)
    reason = values["access_denied_reason"]
    values["access_denied_reason"] = None if reason is None else AccessDeniedReason(reason)
    return made(**values)


class ConsumeReply(Struct, frozen=True, array_like=True):
    """What is stored of an admitted `consume` or a settlement."""

    measurement_id: str
    kept: Kept
    held: int = 0
    is_late: bool = False
    scale: int = 0


class ReserveReply(Struct, frozen=True, array_like=True):
    """What is stored of an admitted `reserve`: the hold can be made again from it."""

    customer_id: str
    hold: Hold
    kept: Kept


class ReleaseReply(Struct, frozen=True, array_like=True):
    """What is stored of a release that took something back."""

    hold_id: str


class ConsumeResult(Result, frozen=True, kw_only=True):
    """What `consume` did.

    Attributes:
        allowed: Whether it was admitted, and so recorded.
        access_denied_reason: Why not; None where it was.
        entitlement: As it stands after; the denial where it was refused.
        measurement_id: Id of the recorded measurement; None where nothing was recorded.
        durability: The level at which it was kept; None where nothing was recorded.
    """

    _nulls: ClassVar[tuple[str, ...]] = ("access_denied_reason", "measurement_id")

    allowed: bool
    access_denied_reason: AccessDeniedReason | None
    entitlement: Entitlement
    measurement_id: str | None
    durability: str | None


def refused_result(answer: Entitlement) -> ConsumeResult:
    """A refusal, from the denial that a getter would give."""
    return ConsumeResult(
        allowed=False,
        access_denied_reason=answer.access_denied_reason,
        entitlement=answer,
        measurement_id=None,
        durability=None,
    )


class ReserveResult(Result, frozen=True, kw_only=True):
    """What `reserve` did; `hold` is None where it was refused."""

    hold: Hold | None
    access_denied_reason: AccessDeniedReason | None
    entitlement: Entitlement


class SettleResult(Result, frozen=True, kw_only=True):
    """What settling a reservation did.

    Attributes:
        hold_id: The reservation.
        held: What was still held when it was settled; 0 after its end.
        is_late: Whether the reservation had ended: the amount was recorded like a report.
        entitlement: As it stands after.
        measurement_id: Id of the recorded measurement; None where nothing was used.
        durability: The level at which it was kept.
    """

    _nulls: ClassVar[tuple[str, ...]] = ("measurement_id",)

    hold_id: str
    held: int | float
    is_late: bool
    entitlement: Entitlement
    measurement_id: str | None
    durability: str


class ReservationRow(Result, frozen=True, kw_only=True):
    """Something that is held now; amounts in units of the feature, else in credits.

    Attributes:
        amount: The upper bound.
        credits: Credits held with it; None where there are none.
    """

    _dates: ClassVar[dict[str, str]] = {"start_ms": "started_at", "expire_ms": "expires_at"}

    id: str
    customer_id: str
    resource_id: str | None
    feature_id: str | None
    currency_id: str | None
    amount: int | float
    credits: int | float | None
    start_ms: int
    expire_ms: int

    @property
    def started_at(self) -> datetime | None:
        """From when it is held."""
        return to_datetime(self.start_ms)

    @property
    def expires_at(self) -> datetime | None:
        """When it is over by itself, exclusive."""
        return to_datetime(self.expire_ms)


class ReleaseResult(Result, frozen=True, kw_only=True):
    """What releasing a reservation did: `released` is False where it had been settled, released, or had ended."""

    hold_id: str
    customer_id: str
    released: bool


class ConsumeCreditsResult(Result, frozen=True, kw_only=True):
    """What `consume_credits` did: the wallet's balance after it, which may be a debt, and the whole answer."""

    consumed: int | float
    current_balance: int | float
    entitlement: Entitlement
    durability: str


stored_reservation = msgspec.msgpack.Decoder(ReserveReply).decode
"""The stored reply of a reservation."""
