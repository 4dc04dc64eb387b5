"""Why access is denied, and what all enumerations of the field are; the others are in `core.words`."""

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
