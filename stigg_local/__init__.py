"""An embedded, local-first entitlement engine: `Stigg` answers what a customer may do, in process."""

from typing import TYPE_CHECKING, Any

from stigg_local.client import Stigg
from stigg_local.core.answer import (
    BooleanEntitlement,
    CreditEntitlement,
    Entitlement,
    EntitlementsState,
    EnumEntitlement,
    MeteredEntitlement,
    NumericEntitlement,
)
from stigg_local.core.ids import UNSET
from stigg_local.core.reason import AccessDeniedReason
from stigg_local.errors import (
    AuthorityUnavailable,
    CatalogInvalid,
    ClientClosed,
    Conflict,
    FallbackFileError,
    IdempotencyConflict,
    InvalidInput,
    NotAllowed,
    NotAuthenticated,
    NotAvailableOffline,
    NotFound,
    ProtocolError,
    SchemaTooNew,
    StiggError,
    StorageFull,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    UsageQueueFull,
)

if TYPE_CHECKING:
    from stigg_local.core.catalog import Coupon
    from stigg_local.core.page import Page
    from stigg_local.core.payment import Invoice, PaymentOutcome, PaymentProvider
    from stigg_local.core.words import (
        BillingPeriod,
        CreditGrantType,
        FeatureType,
        MeterType,
        PaymentCollection,
        PricingType,
        PromotionalEntitlementPeriod,
        ResetPeriod,
        ResetPeriodConfiguration,
        ScheduleStrategy,
        SubscriptionBillingCycleAnchor,
        SubscriptionCancellationAction,
        SubscriptionCancellationTime,
        SubscriptionMigrationTime,
        SubscriptionScheduleStatus,
        SubscriptionStatus,
        TrialEndBehavior,
        UsageUpdateBehavior,
    )

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedReason",
    "AuthorityUnavailable",
    "BillingPeriod",
    "BooleanEntitlement",
    "CatalogInvalid",
    "ClientClosed",
    "Conflict",
    "Coupon",
    "CreditEntitlement",
    "CreditGrantType",
    "Entitlement",
    "EntitlementsState",
    "EnumEntitlement",
    "FallbackFileError",
    "FeatureType",
    "IdempotencyConflict",
    "InvalidInput",
    "Invoice",
    "MeterType",
    "MeteredEntitlement",
    "NotAllowed",
    "NotAuthenticated",
    "NotAvailableOffline",
    "NotFound",
    "NumericEntitlement",
    "Page",
    "PaymentCollection",
    "PaymentOutcome",
    "PaymentProvider",
    "PricingType",
    "PromotionalEntitlementPeriod",
    "ProtocolError",
    "ResetPeriod",
    "ResetPeriodConfiguration",
    "ScheduleStrategy",
    "SchemaTooNew",
    "Stigg",
    "StiggError",
    "StorageFull",
    "StoreBusy",
    "StoreCorrupt",
    "StoreError",
    "SubscriptionBillingCycleAnchor",
    "SubscriptionCancellationAction",
    "SubscriptionCancellationTime",
    "SubscriptionMigrationTime",
    "SubscriptionScheduleStatus",
    "SubscriptionStatus",
    "TrialEndBehavior",
    "UNSET",
    "UsageQueueFull",
    "UsageUpdateBehavior",
]

# What no check of an entitlement needs, nor opening a client, costs time and memory to import: it is imported when it
# is asked for. What is not named here is in `core.words`.
_LATER = {
    "Coupon": "catalog",
    "Invoice": "payment",
    "Page": "page",
    "PaymentOutcome": "payment",
    "PaymentProvider": "payment",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module `stigg_local` has no attribute `{name}`")
    from importlib import import_module

    module = import_module(f"stigg_local.core.{_LATER.get(name, 'words')}")
    found = globals()[name] = getattr(module, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
