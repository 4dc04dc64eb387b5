"""What the calls that change something return, in the seed's shapes.

Instants are integers inside and aware datetimes outside; `to_dict` prints the seed's camel case, with its nulls.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from stigg_local.core.credit import Grant
from stigg_local.core.customer import PromotionalEntitlement
from stigg_local.core.period import FOREVER_MS, to_datetime, to_text
from stigg_local.core.quantity import from_raw, shown


class Result(Struct, frozen=True):
    """Base of all results.

    A field named `*_ms` reads as an aware datetime under the name that `_dates` gives it.
    """

    _nulls: ClassVar[tuple[str, ...]] = ()
    _dates: ClassVar[dict[str, str]] = {}

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON can hold it; unset keys are absent, but those that the seed prints as null."""
        result: dict[str, Any] = {}
        for name in self.__struct_fields__:
            value = plain(getattr(self, name))
            shown_name = self._dates.get(name, name)
            if shown_name != name:
                value = to_text(value)
            if value is not None or shown_name in self._nulls:
                result[_camel(shown_name)] = value
        return result

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self.to_dict()).decode()


def plain(value: Any) -> Any:
    """A field's value as JSON can hold it: money and quantities are numbers, records are mappings."""
    if isinstance(value, Decimal):
        return shown(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class PromotionalResult(Result, frozen=True, kw_only=True):
    """A promotional entitlement as calls return it."""

    _dates: ClassVar[dict[str, str]] = {"start_ms": "start_date", "end_ms": "end_date"}

    feature_id: str
    period: str
    start_ms: int
    end_ms: int | None
    usage_limit: int | float | None
    is_unlimited: bool
    has_soft_limit: bool
    enum_values: tuple[str, ...] | None
    reset_period: str | None
    reset_period_configuration: str | None
    is_visible: bool
    feature_group_ids: tuple[str, ...] | None = None

    @property
    def start_date(self) -> datetime | None:
        """When it begins."""
        return to_datetime(self.start_ms)

    @property
    def end_date(self) -> datetime | None:
        """When it ends, exclusive; None for a lifetime."""
        return to_datetime(self.end_ms)


def promotional_result(promotion: PromotionalEntitlement) -> PromotionalResult:
    """The record of a promotional entitlement as calls return it."""
    entitlement = promotion.entitlement
    return PromotionalResult(
        feature_id=entitlement.feature_id,
        period=promotion.period,
        start_ms=promotion.start_ms,
        end_ms=promotion.end_ms,
        usage_limit=entitlement.limit,
        is_unlimited=entitlement.is_unlimited,
        has_soft_limit=entitlement.has_soft_limit,
        enum_values=entitlement.enum_values,
        reset_period=entitlement.reset_period,
        reset_period_configuration=entitlement.reset_period_configuration,
        is_visible=promotion.is_visible,
        feature_group_ids=promotion.group_ids or None,
    )


class CreditGrantResult(Result, frozen=True, kw_only=True):
    """A credit grant as calls return it; amounts in credits."""

    _nulls: ClassVar[tuple[str, ...]] = ("expire_at",)
    _dates: ClassVar[dict[str, str]] = {"effective_ms": "effective_at", "expire_ms": "expire_at"}

    id: str
    customer_id: str
    currency_id: str
    resource_id: str | None
    amount: int | float
    consumed_amount: int | float
    grant_type: str
    status: str
    priority: int
    effective_ms: int
    expire_ms: int | None

    @property
    def effective_at(self) -> datetime | None:
        """From when it can be spent."""
        return to_datetime(self.effective_ms)

    @property
    def expire_at(self) -> datetime | None:
        """When it expires, exclusive; None for never."""
        return to_datetime(self.expire_ms)


def grant_result(grant: Grant, *, customer_id: str, scale: int, now_ms: int) -> CreditGrantResult:
    """The record of a grant as calls return it."""
    status = "VOIDED" if grant.voided_ms is not None else "SCHEDULED" if grant.effective_ms > now_ms else "ACTIVE"
    if grant.voided_ms is None and grant.expire_ms <= now_ms:
        status = "EXPIRED"
    return CreditGrantResult(
        id=grant.id,
        customer_id=customer_id,
        currency_id=grant.currency_id,
        resource_id=grant.resource_id or None,
        amount=from_raw(grant.amount, scale),
        consumed_amount=from_raw(grant.consumed, scale),
        grant_type=grant.grant_type,
        status=status,
        priority=grant.priority,
        effective_ms=grant.effective_ms,
        expire_ms=None if grant.expire_ms == FOREVER_MS else grant.expire_ms,
    )


class ReportUsageResult(Result, frozen=True, kw_only=True):
    """What reporting usage gives.

    Attributes:
        measurement_id: Id of the recorded measurement.
        current_usage: Usage in the current window, in reported units, after the report.
        usage_period_start, usage_period_end, next_reset_date: The current window; None without a reset period.
        durability: The level at which the report was kept when the call returned.
    """

    _dates: ClassVar[dict[str, str]] = {
        "usage_period_start_ms": "usage_period_start",
        "usage_period_end_ms": "usage_period_end",
    }

    measurement_id: str
    current_usage: int | float
    usage_period_start_ms: int | None
    usage_period_end_ms: int | None
    durability: str

    @property
    def usage_period_start(self) -> datetime | None:
        """Where the current window begins."""
        return to_datetime(self.usage_period_start_ms)

    @property
    def usage_period_end(self) -> datetime | None:
        """Where the current window ends, exclusive."""
        return to_datetime(self.usage_period_end_ms)

    next_reset_date = usage_period_end

    def to_dict(self) -> dict[str, Any]:
        """As for every result, with `nextResetDate`."""
        result = super().to_dict()
        if "usagePeriodEnd" in result:
            result["nextResetDate"] = result["usagePeriodEnd"]
        return result
