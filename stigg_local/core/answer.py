"""The answers: one frozen record for each type of entitlement, as applications see them.

They are built by position and shared between calls, so they hold instants as integers; dates, `to_dict` and
`to_json` are made when asked for. The first fields are those that a request can change.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from msgspec import Struct

from stigg_local.core.period import to_datetime, to_text
from stigg_local.core.quantity import json_number
from stigg_local.core.reason import AccessDeniedReason
from stigg_local.core.sources import CurrencyRef, FeatureRef

BOOLEAN, NUMERIC, METERED, ENUM, CREDIT = "BOOLEAN", "NUMERIC", "METERED", "ENUM", "CREDIT"


class Entitlement(Struct, frozen=True, gc=False):
    """What every answer has.

    Attributes:
        type: "BOOLEAN", "NUMERIC", "METERED", "ENUM" or "CREDIT".
        has_access: The decision.
        is_fallback: True where nothing authoritative answered.
        access_denied_reason: None where access is given.
        feature: The feature, or None where it is unknown.
        source: "snapshot", "fallback" or "default".
        as_of: When the authority last changed what entitles the customer.
        valid_until: The next instant at which time alone may change the answer; never later than that.
    """

    type: ClassVar[str] = ""
    _keys: ClassVar[tuple[tuple[str, str], ...]] = ()

    has_access: bool
    access_denied_reason: AccessDeniedReason | None
    is_fallback: bool
    feature: FeatureRef | None
    source: str
    as_of_ms: int | None
    valid_until_ms: int | None

    @property
    def as_of(self) -> datetime | None:
        """When the authority last changed what entitles the customer."""
        return to_datetime(self.as_of_ms)

    @property
    def valid_until(self) -> datetime | None:
        """The next instant at which time alone may change the answer."""
        return to_datetime(self.valid_until_ms)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON can hold it, in the seed's camel case; unset keys are left out."""
        result: dict[str, Any] = {
            "type": self.type,
            "isFallback": self.is_fallback,
            "hasAccess": self.has_access,
        }
        if self.access_denied_reason is not None:
            result["accessDeniedReason"] = self.access_denied_reason.value
        for attribute, key in self._keys:
            value = getattr(self, attribute)
            if value is None:
                continue
            if attribute.endswith("_ms"):
                value = to_text(value)
                if value is None:
                    continue
            elif isinstance(value, tuple):
                value = list(value)
            elif attribute == "requested_usage":
                value = json_number(value)
            result[key] = value
        if self.feature is not None:
            result["feature"] = self.feature.to_dict()
        result["source"] = self.source
        for key, instant in (("asOf", self.as_of_ms), ("validUntil", self.valid_until_ms)):
            text = to_text(instant)
            if text is not None:
                result[key] = text
        return result

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self.to_dict()).decode()


class BooleanEntitlement(Entitlement, frozen=True, gc=False):
    """Access to a boolean feature."""

    type: ClassVar[str] = BOOLEAN


class NumericEntitlement(Entitlement, frozen=True, gc=False):
    """A number that the plan sets; it is never gated by usage.

    Attributes:
        value: The number; None where there is none or it is unlimited.
        is_unlimited: True where no number limits.
    """

    type: ClassVar[str] = NUMERIC
    _keys: ClassVar[tuple[tuple[str, str], ...]] = (("is_unlimited", "isUnlimited"), ("value", "value"))

    value: int | float | None = None
    is_unlimited: bool = False


class MeteredEntitlement(Entitlement, frozen=True, gc=False):
    """A counted feature: the limit and what is used of it.

    Attributes:
        usage_limit: The limit in the unit of the limit; None where there is none.
        is_unlimited: True where nothing limits.
        has_soft_limit: True where the limit informs and does not refuse.
        current_usage: Usage in the current window, in reported units.
        reset_period: HOUR, DAY, WEEK, MONTH, YEAR or None.
        usage_period_anchor, usage_period_start, usage_period_end: The window, end exclusive.
        next_reset_date: The same as `usage_period_end`.
        reserved_usage: Units held by reservations.
        transformed_usage: Usage in the unit of the limit, where the feature has a unit transformation.
        requested_usage: The argument of the call.
    """

    type: ClassVar[str] = METERED
    _keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("is_unlimited", "isUnlimited"),
        ("has_soft_limit", "hasSoftLimit"),
        ("usage_limit", "usageLimit"),
        ("current_usage", "currentUsage"),
        ("requested_usage", "requestedUsage"),
        ("reserved_usage", "reservedUsage"),
        ("transformed_usage", "transformedUsage"),
        ("reset_period", "resetPeriod"),
        ("usage_period_anchor_ms", "usagePeriodAnchor"),
        ("usage_period_start_ms", "usagePeriodStart"),
        ("usage_period_end_ms", "usagePeriodEnd"),
        ("usage_period_end_ms", "nextResetDate"),
    )

    usage_limit: int | float | None = None
    is_unlimited: bool = False
    has_soft_limit: bool = False
    current_usage: int | float = 0
    reset_period: str | None = None
    usage_period_anchor_ms: int | None = None
    usage_period_start_ms: int | None = None
    usage_period_end_ms: int | None = None
    reserved_usage: int | float = 0
    transformed_usage: int | None = None
    requested_usage: int | float | Decimal = 0

    @property
    def usage_period_anchor(self) -> datetime | None:
        """The instant that the windows are counted from."""
        return to_datetime(self.usage_period_anchor_ms)

    @property
    def usage_period_start(self) -> datetime | None:
        """Where the current window begins."""
        return to_datetime(self.usage_period_start_ms)

    @property
    def usage_period_end(self) -> datetime | None:
        """Where the current window ends, exclusive."""
        return to_datetime(self.usage_period_end_ms)

    next_reset_date = usage_period_end


class EnumEntitlement(Entitlement, frozen=True, gc=False):
    """The values of an enum feature that the customer may use.

    Attributes:
        enum_values: Allowed values, in the catalog's order.
        requested_values: The argument of the call.
    """

    type: ClassVar[str] = ENUM
    _keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("enum_values", "enumValues"),
        ("requested_values", "requestedValues"),
    )

    enum_values: tuple[str, ...] = ()
    requested_values: tuple[str, ...] = ()


class CreditEntitlement(Entitlement, frozen=True, gc=False):
    """A wallet of credits.

    Attributes:
        current_balance, remaining: Granted less consumed; negative in debt.
        total_granted, total_consumed: Over the grants that can be spent now.
        has_soft_limit: True where access goes on past zero.
        currency: `id`, `display_name`, `symbol`.
        next_reset_date: When the next recurring grant replaces one; None without recurring grants.
        requested_usage: The argument of the call.
    """

    type: ClassVar[str] = CREDIT
    _keys: ClassVar[tuple[tuple[str, str], ...]] = (
        ("current_balance", "currentBalance"),
        ("current_balance", "remaining"),
        ("total_granted", "totalGranted"),
        ("total_consumed", "totalConsumed"),
        ("has_soft_limit", "hasSoftLimit"),
        ("requested_usage", "requestedUsage"),
        ("next_reset_ms", "nextResetDate"),
    )

    current_balance: int | float = 0
    total_granted: int | float = 0
    total_consumed: int | float = 0
    has_soft_limit: bool = False
    currency: CurrencyRef | None = None
    next_reset_ms: int | None = None
    requested_usage: int | float | Decimal = 0

    @property
    def remaining(self) -> int | float:
        """The same as `current_balance`."""
        return self.current_balance

    @property
    def next_reset_date(self) -> datetime | None:
        """When the next recurring grant replaces one."""
        return to_datetime(self.next_reset_ms)

    def to_dict(self) -> dict[str, Any]:
        """As for every answer, with `currency`."""
        result = super().to_dict()
        if self.currency is not None:
            result["currency"] = self.currency.to_dict()
        return result


ANSWERS: dict[str, type[Entitlement]] = {
    answer.type: answer
    for answer in (
        BooleanEntitlement,
        NumericEntitlement,
        MeteredEntitlement,
        EnumEntitlement,
        CreditEntitlement,
    )
}


class EntitlementsState(Struct, frozen=True, gc=False):
    """All that a customer is entitled to, and why it is nothing where it is nothing."""

    entitlements: tuple[Entitlement, ...]
    access_denied_reason: AccessDeniedReason | None

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON can hold it."""
        result: dict[str, Any] = {"entitlements": [entitlement.to_dict() for entitlement in self.entitlements]}
        if self.access_denied_reason is not None:
            result["accessDeniedReason"] = self.access_denied_reason.value
        return result

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return msgspec.json.encode(self.to_dict()).decode()
