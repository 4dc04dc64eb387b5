"""The enumerations of the field, in the seed's words; wire spellings are aliases of the same members."""

from stigg_local.core.reason import AccessDeniedReason as AccessDeniedReason  # noqa: PLC0414 - it is one of them
from stigg_local.core.reason import Word as Word  # noqa: PLC0414 - what they all are


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
    Unchanged = "UNCHANGED"
    Now = "NOW"


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
    Free = "FREE"
    Paid = "PAID"
    Custom = "CUSTOM"


class SubscriptionStatus(Word):
    """Where a subscription is in its life."""

    NOT_STARTED = "NOT_STARTED"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    IN_TRIAL = "IN_TRIAL"
    ACTIVE = "ACTIVE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    NotStarted = "NOT_STARTED"
    PaymentPending = "PAYMENT_PENDING"
    InTrial = "IN_TRIAL"
    Active = "ACTIVE"
    Canceled = "CANCELED"
    Expired = "EXPIRED"


class PromotionalEntitlementPeriod(Word):
    """How long a promotional entitlement lasts."""

    ONE_WEEK = "ONE_WEEK"
    ONE_MONTH = "ONE_MONTH"
    SIX_MONTH = "SIX_MONTH"
    SIX_MONTHS = "SIX_MONTH"
    ONE_YEAR = "ONE_YEAR"
    LIFETIME = "LIFETIME"
    CUSTOM = "CUSTOM"
    OneWeek = "ONE_WEEK"
    OneMonth = "ONE_MONTH"
    SixMonth = "SIX_MONTH"
    OneYear = "ONE_YEAR"
    Lifetime = "LIFETIME"
    Custom = "CUSTOM"


class CreditGrantType(Word):
    """Where a credit grant comes from."""

    PAID = "PAID"
    PROMOTIONAL = "PROMOTIONAL"
    RECURRING = "RECURRING"
    OVERDRAFT = "OVERDRAFT"
    Paid = "PAID"
    Promotional = "PROMOTIONAL"
    Recurring = "RECURRING"
    Overdraft = "OVERDRAFT"


class Source(Word):
    """Where an answer comes from."""

    SNAPSHOT = "snapshot"
    FALLBACK = "fallback"
    DEFAULT = "default"


class ScheduleStrategy(Word):
    """When a change of a subscription takes effect."""

    IMMEDIATE = "IMMEDIATE"
    END_OF_BILLING_PERIOD = "END_OF_BILLING_PERIOD"
    END_OF_BILLING_MONTH = "END_OF_BILLING_MONTH"
    Immediate = "IMMEDIATE"
    EndOfBillingPeriod = "END_OF_BILLING_PERIOD"
    EndOfBillingMonth = "END_OF_BILLING_MONTH"


class SubscriptionCancellationTime(Word):
    """When a cancellation takes effect."""

    IMMEDIATE = "IMMEDIATE"
    END_OF_BILLING_PERIOD = "END_OF_BILLING_PERIOD"
    SPECIFIC_DATE = "SPECIFIC_DATE"
    Immediate = "IMMEDIATE"
    EndOfBillingPeriod = "END_OF_BILLING_PERIOD"
    SpecificDate = "SPECIFIC_DATE"


class SubscriptionCancellationAction(Word):
    """What follows a cancellation: what the product says, or nothing."""

    DEFAULT = "DEFAULT"
    REVOKE_ENTITLEMENTS = "REVOKE_ENTITLEMENTS"
    Default = "DEFAULT"
    RevokeEntitlements = "REVOKE_ENTITLEMENTS"


class SubscriptionMigrationTime(Word):
    """When a migration to the latest version takes effect."""

    END_OF_BILLING_PERIOD = "END_OF_BILLING_PERIOD"
    IMMEDIATE = "IMMEDIATE"
    EndOfBillingPeriod = "END_OF_BILLING_PERIOD"
    Immediate = "IMMEDIATE"


class SubscriptionScheduleStatus(Word):
    """What has become of a scheduled update."""

    Scheduled = "Scheduled"
    PendingPayment = "PendingPayment"
    Done = "Done"
    Canceled = "Canceled"
    Failed = "Failed"


class UsageMarkerType(Word):
    """Why usage began anew."""

    PERIODIC_RESET = "PERIODIC_RESET"
    SUBSCRIPTION_CHANGE_RESET = "SUBSCRIPTION_CHANGE_RESET"


class TrialEndBehavior(Word):
    """What a trial becomes when it ends."""

    CONVERT_TO_PAID = "CONVERT_TO_PAID"
    CANCEL_SUBSCRIPTION = "CANCEL_SUBSCRIPTION"
    ConvertToPaid = "CONVERT_TO_PAID"
    CancelSubscription = "CANCEL_SUBSCRIPTION"


class PaymentCollection(Word):
    """How the payment of a subscription stands."""

    NOT_REQUIRED = "NOT_REQUIRED"
    PROCESSING = "PROCESSING"
    ACTION_REQUIRED = "ACTION_REQUIRED"
    FAILED = "FAILED"
    NotRequired = "NOT_REQUIRED"
    Processing = "PROCESSING"
    ActionRequired = "ACTION_REQUIRED"
    Failed = "FAILED"
