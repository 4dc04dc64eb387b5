"""The enumerations of the field, in the seed's words; wire spellings are aliases of the same members."""

from enum import StrEnum
from typing import Any


class Word(StrEnum):
    """A `StrEnum` that also finds a member by its name and by any alias of it."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.__members__.get(value) if isinstance(value, str) else None


class AccessDeniedReason(Word):
    """Why access was denied; the order is the order in which reasons are looked for."""

    CustomerNotFound = "CustomerNotFound"
    CustomerIsArchived = "CustomerIsArchived"
    CustomerResourceNotFound = "CustomerResourceNotFound"
    FeatureNotFound = "FeatureNotFound"
    EntitlementNotFound = "EntitlementNotFound"
    FeatureTypeMismatch = "FeatureTypeMismatch"
    NoActiveSubscription = "NoActiveSubscription"
    CustomerNotEntitledForFeature = "CustomerNotEntitledForFeature"
    NoFeatureEntitlementInSubscription = "CustomerNotEntitledForFeature"
    Revoked = "Revoked"
    BudgetExceeded = "BudgetExceeded"
    RequestedValuesMismatch = "RequestedValuesMismatch"
    RequestedUsageExceedsLimit = "RequestedUsageExceedsLimit"
    RequestedUsageExceedingLimit = "RequestedUsageExceedsLimit"
    InsufficientCredits = "InsufficientCredits"
    Unknown = "Unknown"


class FeatureType(Word):
    """What a feature's entitlement holds."""

    Boolean = "Boolean"
    Numeric = "Numeric"
    Enum = "Enum"
    BOOLEAN = "Boolean"
    NUMBER = "Numeric"
    ENUM = "Enum"


class MeterType(Word):
    """How usage of a numeric feature behaves; `None_` is a plain configuration value."""

    None_ = "None"
    Incremental = "Incremental"
    Fluctuating = "Fluctuating"
    INCREMENTAL = "Incremental"
    FLUCTUATING = "Fluctuating"


class ResetPeriod(Word):
    """How often usage starts again at zero."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"
    YEAR = "YEAR"


class ResetPeriodConfiguration(Word):
    """Where reset periods begin."""

    SubscriptionStart = "SubscriptionStart"
    StartOfTheMonth = "StartOfTheMonth"
    EverySunday = "EverySunday"
    EveryMonday = "EveryMonday"
    EveryTuesday = "EveryTuesday"
    EveryWednesday = "EveryWednesday"
    EveryThursday = "EveryThursday"
    EveryFriday = "EveryFriday"
    EverySaturday = "EverySaturday"


class BillingPeriod(Word):
    """How often a paid subscription renews."""

    MONTHLY = "MONTHLY"
    ANNUALLY = "ANNUALLY"
    Monthly = "MONTHLY"
    Annually = "ANNUALLY"


class SubscriptionBillingCycleAnchor(Word):
    """Whether a subscription that takes another's place keeps its cycle."""

    UNCHANGED = "UNCHANGED"
    NOW = "NOW"


class UsageUpdateBehavior(Word):
    """Whether a reported value changes usage or replaces it."""

    DELTA = "DELTA"
    SET = "SET"
    Delta = "DELTA"
    Set = "SET"


class PricingType(Word):
    """What a plan costs."""

    FREE = "FREE"
    PAID = "PAID"
    CUSTOM = "CUSTOM"


class SubscriptionStatus(Word):
    """Where a subscription is in its life."""

    NOT_STARTED = "NOT_STARTED"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    IN_TRIAL = "IN_TRIAL"
    ACTIVE = "ACTIVE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"


class PromotionalEntitlementPeriod(Word):
    """How long a promotional entitlement lasts."""

    ONE_WEEK = "ONE_WEEK"
    ONE_MONTH = "ONE_MONTH"
    SIX_MONTH = "SIX_MONTH"
    SIX_MONTHS = "SIX_MONTH"
    ONE_YEAR = "ONE_YEAR"
    LIFETIME = "LIFETIME"
    CUSTOM = "CUSTOM"


class CreditGrantType(Word):
    """Where a credit grant comes from."""

    PAID = "PAID"
    PROMOTIONAL = "PROMOTIONAL"
    RECURRING = "RECURRING"
    OVERDRAFT = "OVERDRAFT"


class Source(Word):
    """Where an answer comes from."""

    SNAPSHOT = "snapshot"
    FALLBACK = "fallback"
    DEFAULT = "default"
